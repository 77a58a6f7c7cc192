//! `jct audit`: reads the audit log from the database.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::domain::TraceId;
use crate::domain::audit::{EntityKind, Entry};
use crate::domain::shown::{plain, plain_json};
use crate::store::{AuditCheck, AuditQuery, Order, Page, Store, StoreSettings};

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
    let url = args.database_url.parse().context("--database-url (DATABASE_URL)")?;
    let store = Store::open(&StoreSettings::new(url)).await.context("cannot open the database")?;
    let result = if args.verify { verify(&store).await } else { show(&store, args).await };
    store.close().await;
    result
}

async fn verify(store: &Store) -> anyhow::Result<()> {
    match store.verify_audit().await? {
        AuditCheck::Intact { entries, head } => {
            writeln!(io::stdout(), "intact: {entries} entries, head {head}")?;
            Ok(())
        }
        AuditCheck::Broken { seq, id, problem } => {
            let id = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
            anyhow::bail!("broken at entry {seq} (id {id}): {problem}")
        }
    }
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
            Output::Json => writeln!(out, "{}", plain_json(&serde_json::to_string(entry)?))?,
            Output::Table => writeln!(out, "{}", plain(&line(entry)))?,
        }
    }
    Ok(())
}

fn entity_kind(text: &str) -> Result<EntityKind, String> {
    EntityKind::parse(text)
        .ok_or_else(|| format!("must be one of {}", EntityKind::ALL.map(EntityKind::as_str).join(", ")))
}

/// Where the entity was and is; of a denial, the codes.
fn line(entry: &Entry) -> String {
    let state = |value: &Option<serde_json::Value>| {
        value.as_ref().and_then(|value| value.get("status")).and_then(|status| status.as_str().map(str::to_owned))
    };
    let change = match (state(&entry.before), state(&entry.after)) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (None, Some(after)) => after,
        _ => codes(entry),
    };
    format!(
        "{:.6}  {:<14} {:<5} {}  {} {}  {}  {}",
        entry.ts,
        entry.action,
        entry.entity_kind,
        entry.entity_id,
        entry.actor.kind,
        entry.actor.id,
        change,
        entry.note.as_deref().unwrap_or_default()
    )
    .trim_end()
    .to_owned()
}

fn codes(entry: &Entry) -> String {
    let codes = entry.after.as_ref().and_then(|after| after.get("codes")).and_then(serde_json::Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(serde_json::Value::as_str);
    codes.collect::<Vec<_>>().join(",")
}
