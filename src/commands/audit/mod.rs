//! `jct audit`: reads the audit log from the database.

mod shown;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use self::shown::{json, line};
use super::trust::KeyArgs;
use crate::domain::audit::{EntityKind, Entry};
use crate::domain::shown::plain_lines;
use crate::domain::{Id, TraceId};
use crate::store::{AuditQuery, DatabaseUrl, MAX_PAGE, Order, Page, Store, StoreSettings};

/// How often it is looked for new entries.
const FOLLOWING: Duration = Duration::from_secs(1);

/// Arguments of `jct audit`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The newest entries that fit are shown, the newest last; what is left out is told on standard error. Nothing is \
                        written: a database that is not there is an error."
)]
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

    /// Only entries since then: a time such as 2026-03-01T12:00:00Z, or how long ago, such as 90m, 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,

    /// Only entries before then, in the same form
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,

    /// The most entries
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// The page before: the newest of the entries that came before the one with this id
    #[arg(long, value_name = "ID", conflicts_with = "after")]
    pub before: Option<Id>,

    /// The page after: the oldest of the entries that came after the one with this id
    #[arg(long, value_name = "ID")]
    pub after: Option<Id>,

    /// Go on with new entries as they are written, until it is interrupted
    #[arg(short, long, conflicts_with_all = ["before", "until", "verify"])]
    pub follow: bool,

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
    /// One JSON object for each entry; with --verify one for the result.
    Json,
}

/// Shows entries, or verifies the log.
///
/// # Errors
/// If the database cannot be read, or the log is broken.
pub async fn run(args: AuditArgs) -> anyhow::Result<()> {
    let url: DatabaseUrl = args.database_url.parse().context("--database-url (DATABASE_URL)")?;
    let record = Record { settings: StoreSettings::new(url) };
    if args.verify {
        return record.read(async |store| verify::verify(store, &record.settings.url, &args).await).await;
    }
    let shown = record.read(async |store| show(store, &args).await).await?;
    if args.follow { follow(&record, &args, shown).await } else { Ok(()) }
}

/// Where the record is. It is opened for each reading, and never written to.
struct Record {
    settings: StoreSettings,
}

impl Record {
    async fn read<T>(&self, reading: impl AsyncFnOnce(&Store) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let url = &self.settings.url;
        let was_at_rest = url.is_at_rest();
        let place = || format!("cannot open the database {} (DATABASE_URL)", url.to_safe_string());
        let store = Store::open_to_read(&self.settings, true).await.with_context(place)?;
        let read = reading(&store).await;
        store.close().await;
        if was_at_rest && !url.is_at_rest() {
            // It was read as a file that nobody changes.
            bail!(
                "the database was opened by another process meanwhile: what was shown may not be one state of it; repeat"
            );
        }
        read
    }
}

impl AuditArgs {
    fn query(&self, order: Order, after: Option<Id>) -> AuditQuery {
        AuditQuery {
            trace_id: self.trace.clone(),
            entity_kind: self.kind,
            entity_id: self.entity.clone(),
            actor_id: self.actor.clone(),
            since: self.since,
            until: self.until,
            order,
            page: Page { after, ..Page::default() },
            ..AuditQuery::default()
        }
    }

    fn write(&self, out: &mut impl Write, entries: &[Entry]) -> anyhow::Result<()> {
        for entry in entries {
            match self.output {
                Output::Json => writeln!(out, "{}", json(entry)?)?,
                Output::Table => writeln!(out, "{}", line(entry))?,
            }
        }
        Ok(out.flush()?)
    }
}

/// Shows a page, and says what is left out. Gives the id of the last one.
async fn show(store: &Store, args: &AuditArgs) -> anyhow::Result<Option<Id>> {
    let (order, from) = match args.after {
        Some(id) => (Order::OldestFirst, Some(id)),
        None => (Order::NewestFirst, args.before),
    };
    // An empty page would say that there is nothing.
    if let Some(id) = from
        && !store.has_audit_entry(id).await?
    {
        bail!("there is no entry {id} in the log");
    }
    let mut query = args.query(order, from);
    let mut entries: Vec<Entry> = Vec::new();
    let mut rest = args.limit;
    while rest > 0 {
        query.page.limit = rest.min(MAX_PAGE);
        let page = store.audit(&query).await?;
        let is_last = page.len() < query.page.limit as usize;
        rest -= u32::try_from(page.len()).unwrap_or(rest);
        query.page.after = page.last().map(|entry| entry.id).or(query.page.after);
        entries.extend(page);
        if is_last {
            break;
        }
    }
    let left_out = if entries.is_empty() { 0 } else { store.audit_count(&query).await? };
    if order == Order::NewestFirst {
        entries.reverse();
    }
    args.write(&mut io::stdout().lock(), &entries)?;
    match (order, left_out, entries.first(), entries.last()) {
        (_, _, None, _) => say("no entry of the log fits"),
        (Order::NewestFirst, 1.., Some(first), _) => say(&format!(
            "{left_out} earlier entries that fit are not shown: --limit {} shows all, --before {} the page before",
            entries.len() as u64 + left_out,
            first.id
        )),
        (Order::OldestFirst, 1.., _, Some(last)) => say(&format!(
            "{left_out} later entries that fit are not shown: --limit {} shows all, --after {} the page after",
            entries.len() as u64 + left_out,
            last.id
        )),
        _ => {}
    }
    Ok(entries.last().map(|entry| entry.id).or(from))
}

/// Shows what is written after the entry `last`, until it is interrupted.
async fn follow(record: &Record, args: &AuditArgs, mut last: Option<Id>) -> anyhow::Result<()> {
    loop {
        let after = last;
        let found = record.read(async |store| {
            let mut query = args.query(Order::OldestFirst, after);
            query.page.limit = MAX_PAGE;
            Ok(store.audit(&query).await?)
        });
        let entries = match found.await {
            Ok(entries) => entries,
            Err(error) => {
                say(&format!("{error:#}"));
                Vec::new()
            }
        };
        args.write(&mut io::stdout().lock(), &entries)?;
        last = entries.last().map(|entry| entry.id).or(last);
        if entries.len() < MAX_PAGE as usize {
            tokio::time::sleep(FOLLOWING).await;
        }
    }
}

/// On standard error: entries are on standard output.
fn say(text: &str) {
    eprintln!("jct audit: {}", plain_lines(text));
}

fn entity_kind(text: &str) -> Result<EntityKind, String> {
    EntityKind::parse(text)
        .ok_or_else(|| format!("must be one of {}", EntityKind::ALL.map(EntityKind::as_str).join(", ")))
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = || "must be a time such as 2026-03-01T12:00:00Z, or how long ago, such as 90m, 12h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let ago = number.checked_mul(seconds).filter(|seconds| *seconds >= 0).ok_or_else(wrong)?;
    Timestamp::now().checked_sub(SignedDuration::from_secs(ago)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        assert_eq!(moment("2026-03-01T12:00:00Z").unwrap().as_second(), 1_772_366_400);
        for (text, seconds) in [("90m", 5400), ("0s", 0), ("2h", 7200), ("7d", 604_800)] {
            let ago = Timestamp::now().duration_since(moment(text).unwrap()).as_secs();
            assert!((ago - seconds).abs() < 60, "{text}: {ago}");
        }
        for wrong in ["", "h", "-1h", "1w", "yesterday", "9223372036854775807d", "1é"] {
            moment(wrong).unwrap_err();
        }
    }
}
