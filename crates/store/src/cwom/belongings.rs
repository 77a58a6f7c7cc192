//! The work objects that belong to one Task alone: they go with its record.
//!
//! They are those that were made for it: its Issue, its ContextPacket, its Runs and their Artifacts. They go together or not
//! at all: as soon as anything else refers to one of them, all stay. The Repo is shared, and so may be the
//! ConstraintSnapshot, which Runs and ContextPackets name in their JSON alone: both always stay.

use crate::conn::{Conn, execute, fetch};
use crate::rows::parsed;
use crate::{Result, TaskRow};
use jct_domain::Id;
use jct_domain::cwom::Kind;

/// An Issue, its ContextPackets, Runs and Artifacts, if all were made for one Task.
pub(super) const MADE: &str = "SELECT 'Issue', id FROM cwom_issues WHERE id = $1 AND task_id = $2 AND name IS NULL \
     UNION ALL SELECT 'ContextPacket', id FROM cwom_context_packets WHERE issue_id = $1 AND task_id = $2 \
     UNION ALL SELECT 'Run', id FROM cwom_runs WHERE issue_id = $1 AND task_id = $2 \
     UNION ALL SELECT 'Artifact', id FROM cwom_artifacts WHERE issue_id = $1 AND task_id = $2";

/// What others have made of them.
pub(super) const USED: [&str; 8] = [
    "SELECT 1 FROM cwom_context_packets WHERE issue_id = $1 AND (task_id IS NULL OR task_id <> $2 OR name IS NOT NULL)",
    "SELECT 1 FROM cwom_runs WHERE issue_id = $1 AND (task_id IS NULL OR task_id <> $2 OR name IS NOT NULL)",
    "SELECT 1 FROM cwom_artifacts WHERE issue_id = $1 AND (task_id IS NULL OR task_id <> $2 OR name IS NOT NULL)",
    "SELECT 1 FROM cwom_runs r CROSS JOIN cwom_artifacts a WHERE r.issue_id = $1 AND a.run_id = r.id \
     AND (a.task_id IS NULL OR a.task_id <> $2)",
    "SELECT 1 FROM cwom_context_packets p CROSS JOIN cwom_issue_context_packets l WHERE p.issue_id = $1 \
     AND l.context_packet_id = p.id AND l.issue_id <> $1 AND $2 <> ''",
    "SELECT 1 FROM cwom_context_packets p CROSS JOIN cwom_run_context_packets l CROSS JOIN cwom_runs r \
     WHERE p.issue_id = $1 AND l.context_packet_id = p.id AND r.id = l.run_id AND r.issue_id <> $1 AND $2 <> ''",
    "SELECT 1 FROM cwom_issue_relations WHERE issue_id = $1 AND $2 <> ''",
    "SELECT 1 FROM cwom_issue_relations WHERE other_id = $1 AND $2 <> ''",
];

/// In the order in which rows refer to each other. `$1` is the Issue.
pub(super) const DELETE: [&str; 10] = [
    "DELETE FROM cwom_artifacts WHERE issue_id = $1",
    "DELETE FROM cwom_run_context_packets WHERE run_id IN (SELECT id FROM cwom_runs WHERE issue_id = $1)",
    "DELETE FROM cwom_run_doctrine_refs WHERE run_id IN (SELECT id FROM cwom_runs WHERE issue_id = $1)",
    "DELETE FROM cwom_runs WHERE issue_id = $1",
    "DELETE FROM cwom_issue_context_packets WHERE issue_id = $1",
    "DELETE FROM cwom_issue_doctrine_refs WHERE issue_id = $1",
    "DELETE FROM cwom_issue_constraint_snapshots WHERE issue_id = $1",
    "DELETE FROM cwom_context_packet_doctrine_refs WHERE context_packet_id IN \
     (SELECT id FROM cwom_context_packets WHERE issue_id = $1)",
    "DELETE FROM cwom_context_packets WHERE issue_id = $1",
    "DELETE FROM cwom_issues WHERE id = $1",
];

/// The objects that go with the record of this Task; none if something else refers to one of them.
pub(crate) async fn belongings(conn: &mut Conn<'_>, task: &TaskRow) -> Result<Vec<(Kind, Id)>> {
    // The Issue of a Task that carries out a Run is its author's.
    let Some(ids) = task.cwom_ids() else { return Ok(Vec::new()) };
    let (issue, task_id) = (ids.issue.to_string(), task.id.to_string());
    let made = fetch!((String, String), conn, MADE, &issue, &task_id)?;
    if !made.iter().any(|(kind, _)| kind == Kind::Issue.as_str()) {
        return Ok(Vec::new());
    }
    for used in USED {
        if !fetch!((i32,), conn, used, &issue, &task_id)?.is_empty() {
            return Ok(Vec::new());
        }
    }
    made.into_iter()
        .filter_map(|(kind, id)| Kind::parse(&kind).map(|kind| parsed("cwom", &id, &id).map(|id| (kind, id))))
        .collect()
}

/// Deletes an Issue with all that belongs to it.
pub(crate) async fn remove_objects(conn: &mut Conn<'_>, issue: Id) -> Result<()> {
    for delete in DELETE {
        execute!(conn, delete, issue.to_string())?;
    }
    Ok(())
}
