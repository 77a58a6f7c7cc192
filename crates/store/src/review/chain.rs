//! Who has a part in how a Task came about: by its row, and by the audit log.

use super::rows;
use crate::conn::{Conn, Select};
use crate::{Result, Store, TaskRow};
use jct_domain::Id;
use jct_domain::audit::EntityKind;
use jct_domain::cwom::{Kind, Spec};
use jct_domain::review::{Chain, Part};

/// Of entries about an object, or of a trace.
const ACTORS: &str = "SELECT DISTINCT actor_id, entity_kind FROM audit_log";
/// To have looked at what came of it, or to have given it more of its budget, is no part in it.
const COUNTS: &str = "entity_kind NOT IN ('ReviewDecision', 'EvidencePack', 'AdmissionDenial', 'Database') \
                      AND (note IS NULL OR note NOT LIKE 'the budget of models was %')";

pub(super) async fn of(store: &Store, task_id: Id) -> Result<Chain> {
    let mut chain = Chain::default();
    let Some(task) = store.task(task_id).await? else { return Ok(chain) };
    let TaskRow { submitted_by, restored_by, adopted_by, .. } = &task;
    submitted_by.iter().for_each(|user| chain.add(user, Part::Submitted));
    restored_by.iter().chain(adopted_by).for_each(|user| chain.add(user, Part::Restored));
    chain.add(&task.task.requested_by.id, Part::AskedFor);
    let objects = objects(store, &task).await?;
    let mut conn = store.inner.readers.acquire().await?;
    for user in rows::askers(&mut conn.borrow(), task_id).await? {
        chain.add(user, Part::Submitted);
    }
    let mut found = actors(&mut conn.borrow(), "trace_id = ?", task.trace_id.as_str().to_owned()).await?;
    for id in std::iter::once(task.id).chain(objects) {
        found.extend(actors(&mut conn.borrow(), "entity_id = ?", id.to_string()).await?);
    }
    for (user, kind) in found {
        let is_task = kind == EntityKind::Task.as_str() || kind == EntityKind::Job.as_str();
        chain.add(user, if is_task { Part::Changed } else { Part::WroteObjects });
    }
    Ok(chain)
}

/// The Task's Run, its Issue, and what one had to know for that.
async fn objects(store: &Store, task: &TaskRow) -> Result<Vec<Id>> {
    let mut ids: Vec<Id> = task.cwom_run_id.into_iter().chain(task.cwom_issue_id).collect();
    ids.extend((1..=task.attempt).filter_map(|attempt| task.run_id(attempt)));
    let Some(issue) = task.cwom_issue_id else { return Ok(ids) };
    if let Some(row) = store.object(Kind::Issue, issue).await?
        && let Spec::Issue(issue) = &row.object.spec
    {
        ids.extend(issue.context_packets.iter().filter_map(|reference| reference.id()));
    }
    if let Some(run) = task.cwom_run_id
        && let Some(row) = store.object(Kind::Run, run).await?
        && let Spec::Run(run) = &row.object.spec
    {
        ids.extend(run.inputs.context_packets.iter().filter_map(|reference| reference.id()));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

async fn actors(conn: &mut Conn<'_>, condition: &'static str, value: String) -> Result<Vec<(String, String)>> {
    let mut select = Select::new(ACTORS);
    select.filter(condition, value);
    select.filter_all(COUNTS, Vec::new());
    select.fetch(conn).await
}
