//! `jct audit`: reads the audit log from the database.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::trust::{Anchors, KeyArgs, checkpoints_in_file, checkpoints_in_statements};
use crate::checkpoint::Found;
use crate::domain::TraceId;
use crate::domain::audit::{EntityKind, Entry};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::shown::{plain, plain_json};
use crate::store::{AnchoredCheck, AuditCheck, AuditQuery, DatabaseUrl, Order, Page, Store, StoreSettings};

/// Arguments of `jct audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Where the record is kept
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:///var/lib/jct/jct.db", hide_env_values = true)]
    pub database_url: String,

    /// Only entries of this trace
    #[arg(long, value_name = "TRACE_ID")]
    pub trace: Option<TraceId>,

    /// Only entries of this entity, such as a task id
    #[arg(long, value_name = "ID")]
    pub entity: Option<String>,

    /// Only entries about this kind of entity, such as Task or AdmissionDenial
    #[arg(long, value_name = "KIND", value_parser = entity_kind)]
    pub kind: Option<EntityKind>,

    /// Only entries by this actor, such as a user name
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,

    /// The most entries, from the first on
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,

    /// Instead of showing entries, check that none was changed, added or removed behind the application's back
    #[arg(long)]
    pub verify: bool,

    /// With --verify: a file with a signed checkpoint, or one a line, that the log must go through; can be repeated. Those in the
    /// ConfigMap, on the trace volume and beside the database are found without
    #[arg(long = "checkpoint", value_name = "FILE", requires = "verify")]
    pub checkpoints: Vec<PathBuf>,

    /// With --verify: a folder of traces; the checkpoints that their signed statements name count too
    #[arg(long, value_name = "DIR", requires = "verify")]
    pub statements: Option<PathBuf>,

    /// Whose checkpoints are believed.
    #[command(flatten)]
    pub trust: KeyArgs,

    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line for each entry.
    Table,
    /// One JSON object for each entry.
    Json,
}

/// Shows entries, or verifies the log.
///
/// # Errors
/// If the database cannot be read, or the log is broken.
pub async fn run(args: AuditArgs) -> anyhow::Result<()> {
    let url: DatabaseUrl = args.database_url.parse().context("--database-url (DATABASE_URL)")?;
    let store = Store::open(&StoreSettings::new(url.clone())).await.context("cannot open the database")?;
    let result = if args.verify { verify(&store, &url, &args).await } else { show(&store, args).await };
    store.close().await;
    result
}

async fn verify(store: &Store, database: &DatabaseUrl, args: &AuditArgs) -> anyhow::Result<()> {
    let mut anchors = args.trust.anchors(database).await?;
    for file in &args.checkpoints {
        let named = checkpoints_in_file(file, &anchors.keys)?;
        anchors.places.push(format!("{}: {} checkpoints", file.display(), named.len()));
        anchors.checkpoints.extend(named);
    }
    if let Some(folder) = &args.statements {
        let Found { checkpoints, others, problem } = checkpoints_in_statements(folder, &anchors.keys)?;
        anchors.places.push(format!("statements in {}: {} checkpoints", folder.display(), checkpoints.len()));
        if let Some(problem) = problem {
            anchors.doubts.push(format!("{others} statements are not believed: {problem}"));
        }
        anchors.checkpoints.extend(checkpoints);
    }
    let AnchoredCheck { check, anchor } = store.verify_audit_against(&anchors.checkpoints).await?;
    let out = &mut io::stdout().lock();
    match check {
        AuditCheck::Intact { entries, head } => {
            writeln!(out, "intact: {entries} entries, head {head}")?;
            told(out, &anchors, anchor.as_ref(), entries)?;
            Ok(())
        }
        AuditCheck::Broken { seq, id, problem } => {
            told(out, &anchors, anchor.as_ref(), 0)?;
            let id = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
            anyhow::bail!("broken at entry {seq} (id {id}): {problem}")
        }
    }
}

/// How far back the log is anchored, and by what.
fn told(out: &mut impl Write, anchors: &Anchors, anchor: Option<&Checkpoint>, entries: u64) -> io::Result<()> {
    let Anchors { keys: _, from, checkpoints: _, places, doubts } = anchors;
    match anchor {
        Some(Checkpoint { seq, time, .. }) if entries >= *seq => {
            let since = entries - seq;
            writeln!(out, "anchored by the checkpoint of {time:.0} at entry {seq}; {since} entries since are not")?;
        }
        Some(Checkpoint { seq, time, .. }) => {
            writeln!(out, "up to entry {seq} it is as the checkpoint of {time:.0} has it")?;
        }
        None => writeln!(
            out,
            "no checkpoint was found that it goes through: the log is consistent in itself at most, and who owns the \
             database can have made it so"
        )?,
    }
    let from = from.as_deref().unwrap_or("none: give the installation's public keys with --keys");
    writeln!(out, "keys: {}", plain(from))?;
    places.iter().try_for_each(|place| writeln!(out, "{}", plain(place)))?;
    doubts.iter().try_for_each(|doubt| writeln!(out, "NOT BELIEVED {}", plain(doubt)))
}

async fn show(store: &Store, args: AuditArgs) -> anyhow::Result<()> {
    let query = AuditQuery {
        trace_id: args.trace,
        entity_kind: args.kind,
        entity_id: args.entity,
        actor_id: args.actor,
        order: Order::OldestFirst,
        page: Page { limit: args.limit, ..Page::default() },
        ..AuditQuery::default()
    };
    let entries = store.audit(&query).await?;
    let mut out = io::stdout().lock();
    for entry in &entries {
        match args.output {
            Output::Json => writeln!(out, "{}", json(entry)?)?,
            Output::Table => writeln!(out, "{}", line(entry))?,
        }
    }
    Ok(())
}

fn entity_kind(text: &str) -> Result<EntityKind, String> {
    EntityKind::parse(text)
        .ok_or_else(|| format!("must be one of {}", EntityKind::ALL.map(EntityKind::as_str).join(", ")))
}

/// One object, harmless to a terminal.
fn json(entry: &Entry) -> serde_json::Result<String> {
    Ok(plain_json(&serde_json::to_string(entry)?))
}

/// Where the entity was and is; of a denial, the codes. Harmless to a terminal, and one line: what it says may be anybody's.
fn line(entry: &Entry) -> String {
    let state = |value: &Option<serde_json::Value>| {
        value.as_ref().and_then(|value| value.get("status")).and_then(|status| status.as_str().map(str::to_owned))
    };
    let change = match (state(&entry.before), state(&entry.after)) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (None, Some(after)) => after,
        _ => codes(entry),
    };
    let line = format!(
        "{:.6}  {:<14} {:<5} {}  {} {}  {}  {}",
        entry.ts,
        entry.action,
        entry.entity_kind,
        entry.entity_id,
        entry.actor.kind,
        entry.actor.id,
        change,
        entry.note.as_deref().unwrap_or_default()
    );
    plain(line.trim_end())
}

fn codes(entry: &Entry) -> String {
    let codes = entry.after.as_ref().and_then(|after| after.get("codes")).and_then(serde_json::Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(serde_json::Value::as_str);
    codes.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn nothing_in_an_entry_acts_on_the_terminal() {
        let evil = "a\u{1b}[2J\u{9b}\u{202e}b\nintact: 1 entries";
        let entry: Entry = serde_json::from_value(serde_json::json!({
            "id": "01KJMMA2G027CE4HT1RZKZBW4A", "ts": "2026-03-01T12:00:00Z", "actor_kind": "human", "actor_id": evil,
            "action": "created", "entity_kind": "AdmissionDenial", "entity_id": evil, "before": null,
            "after": {"codes": [evil], "status": evil}, "note": evil, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        }))
        .unwrap();
        let acts = |text: &str| text.chars().any(|c| c.is_control() || c == '\u{202e}');
        assert!(acts(&serde_json::to_string(&entry).unwrap()), "a control");
        assert!(!acts(&line(&entry)), "{:?}", line(&entry));
        assert!(line(&entry).contains(r"a\u{1b}[2J\u{9b}\u{202e}b intact"), "{}", line(&entry));
        let shown = json(&entry).unwrap();
        assert!(!acts(&shown), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["note"], evil);
    }
}
