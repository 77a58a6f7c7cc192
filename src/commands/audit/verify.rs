//! `jct audit --verify`.

use std::io::{self, Write};

use anyhow::bail;
use serde::Serialize;
use serde_json::json;

use super::{AuditArgs, Output};
use crate::checkpoint::Found;
use crate::commands::output;
use crate::commands::trust::{Anchors, checkpoints_in_file, checkpoints_in_statements};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::shown::plain;
use crate::store::{AnchoredCheck, AuditCheck, DatabaseUrl, Store};

/// The result, for programs.
#[derive(Serialize)]
struct Verified<'a> {
    intact: bool,
    /// How many entries there are, if it is.
    entries: Option<u64>,
    /// The hash of the last one.
    head: Option<&'a str>,
    /// The newest checkpoint that it goes through.
    anchor: Option<serde_json::Value>,
    /// Where the keys come from that were believed.
    keys: Option<&'a str>,
    /// Where checkpoints were, and how many.
    checkpoints: &'a [String],
    /// What could not be read or is not believed.
    not_believed: &'a [String],
    /// The first entry that is not as it was written.
    broken: Option<serde_json::Value>,
}

/// Holds the log against its chain and every checkpoint that is found.
///
/// # Errors
/// If it is broken, or cannot be read.
pub(super) async fn verify(store: &Store, database: &DatabaseUrl, args: &AuditArgs) -> anyhow::Result<()> {
    let anchors = anchors(database, args).await?;
    let AnchoredCheck { check, anchor } = store.verify_audit_against(&anchors.checkpoints).await?;
    let out = &mut io::stdout().lock();
    if args.output == Output::Json {
        as_json(out, &anchors, anchor.as_ref(), &check)?;
    }
    match check {
        AuditCheck::Intact { entries, head } => {
            if args.output == Output::Table {
                writeln!(out, "intact: {entries} entries, head {head}")?;
                print_anchors(out, &anchors, anchor.as_ref(), entries)?;
            }
            Ok(())
        }
        AuditCheck::Broken { seq, id, problem } => {
            if args.output == Output::Table {
                print_anchors(out, &anchors, anchor.as_ref(), 0)?;
            }
            let id = id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
            bail!("broken at entry {seq} (id {id}): {problem}")
        }
    }
}

async fn anchors(database: &DatabaseUrl, args: &AuditArgs) -> anyhow::Result<Anchors> {
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
    Ok(anchors)
}

fn as_json(
    out: &mut impl Write,
    anchors: &Anchors,
    anchor: Option<&Checkpoint>,
    check: &AuditCheck,
) -> anyhow::Result<()> {
    let (entries, head, broken) = match check {
        AuditCheck::Intact { entries, head } => (Some(*entries), Some(head.as_str()), None),
        AuditCheck::Broken { seq, id, problem } => {
            (None, None, Some(json!({"entry": seq, "id": id, "problem": problem})))
        }
    };
    let result = Verified {
        intact: broken.is_none(),
        entries,
        head,
        anchor: anchor.map(|Checkpoint { seq, time, hash, .. }| json!({"entry": seq, "time": time, "hash": hash})),
        keys: anchors.from.as_deref(),
        checkpoints: &anchors.places,
        not_believed: &anchors.doubts,
        broken,
    };
    Ok(output::json(out, &result)?)
}

/// How far back the log is anchored, and by what.
fn print_anchors(out: &mut impl Write, anchors: &Anchors, anchor: Option<&Checkpoint>, entries: u64) -> io::Result<()> {
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
