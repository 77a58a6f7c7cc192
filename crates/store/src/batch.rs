//! Loading what a batch of operations needs, and writing what they decided: few statements, however many operations.

use jiff::Timestamp;
use ulid::Generator;

use super::audit::{append, denials_among, lock_head, refusals_of, removals_of};
use super::conn::{Conn, execute};
use super::cwom::{belongings, load_objects, objects_of_tasks, remove_objects, save_objects};
use super::operation::{Fate, Needs, Slot, View};
use super::rows::{insert_artifacts, insert_jobs, insert_tasks, load_jobs, load_tasks, load_tasks_by_key};
use super::rows::{load_tasks_by_uid, remove_task, update_jobs, update_tasks};
use super::{Result, StoreError, console as kept, contents, deletion_notes as notes, ledger, outbox, review};
use jct_domain::notification::Notifications;

/// Gives pages that are free back to the file system, at most 1 MiB at a time: whoever waits for the next batch waits for this too.
/// Nothing where the file was made by an earlier version.
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(256)";

/// Loads what is needed. The Tasks, and with them their attempts, can't be changed by others until the transaction ends.
pub(super) async fn load(conn: &mut Conn<'_>, needs: Needs) -> Result<View> {
    if !needs.is_empty() {
        // Every batch begins with the end of the chain, so that replicas that write wait for each other here, and never in
        // the midst of things. What has no row to lock, such as a refusal or a name that is free, holds still too.
        lock_head(conn).await?;
    }
    let Needs {
        tasks,
        uids,
        keys,
        jobs_of,
        mut refusals,
        denials,
        belongings: belongings_of,
        mut objects,
        ledger,
        reviews,
        console,
    } = needs;
    let mut view = View::default();
    for (key, id, row) in load_tasks_by_key(conn, keys).await? {
        view.keys.insert(key, id);
        view.tasks.insert(id, Slot::loaded(row));
    }
    for (uid, id, row) in load_tasks_by_uid(conn, uids).await? {
        view.uids.insert(uid, id);
        view.tasks.insert(id, Slot::loaded(row));
    }
    for (id, row) in load_tasks(conn, tasks).await? {
        view.tasks.insert(id, Slot::loaded(row));
    }
    for (key, row) in load_jobs(conn, jobs_of).await? {
        view.jobs.insert(key, Slot::loaded(row));
    }
    refusals.retain(|id| !view.tasks.contains_key(id));
    view.removed.extend(removals_of(conn, refusals.iter().copied()).await?);
    view.refusals.extend(refusals_of(conn, refusals).await?);
    view.denials.extend(denials_among(conn, denials).await?);
    for id in belongings_of {
        if let Some(Ok(task)) = view.tasks.get(&id).map(Slot::get) {
            view.belongings.insert(id, belongings(conn, task).await?);
        }
    }
    objects_of_tasks(view.tasks.values(), &mut objects);
    if !objects.is_empty() {
        view.objects = load_objects(conn, objects).await?;
    }
    if !ledger.is_empty() {
        view.ledger = ledger::load(conn, ledger).await?;
    }
    if !reviews.is_empty() {
        view.reviews = review::load(conn, reviews).await?;
    }
    view.console = kept::load(conn, console).await?;
    Ok(view)
}

/// How much was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saved {
    /// Audit entries.
    pub(super) entries: u64,
    /// What receivers of notifications are to be told.
    pub(super) notifications: u64,
}

/// Writes what was decided, and what of it `whom` are to be told.
pub(super) async fn save(conn: &mut Conn<'_>, view: View, ids: &mut Generator, whom: &Notifications) -> Result<Saved> {
    let View {
        tasks,
        uids: _,
        keys: _,
        jobs,
        refusals: _,
        removed: _,
        belongings: _,
        removals,
        deletion_notes,
        deleted_uids,
        denials: _,
        artifacts,
        objects,
        ledger,
        reviews,
        events,
        settled,
        console,
        entries,
        probe,
    } = view;
    // First, so that what is free by it can be taken. Whoever has come to refer to what goes fails, and is tried again alone.
    let frees = !removals.is_empty();
    for removal in removals {
        let issue = removal.issue.map(|issue| issue.to_string());
        contents::remove(conn, &removal.task_id.to_string(), issue.as_deref()).await?;
        if let Some(issue) = removal.issue {
            remove_objects(conn, issue).await?;
        }
        remove_task(conn, removal.task_id).await?;
        ledger::remove(conn, removal.task_id).await?;
        review::remove(conn, removal.task_id).await?;
    }
    let new: Vec<_> = rows(tasks.values(), Fate::Inserted).collect();
    let wanted = new.len() as u64;
    if insert_tasks(conn, new).await? != wanted {
        return Err(StoreError::Unavailable("another replica recorded the same task at the same time".into()));
    }
    update_tasks(conn, rows(tasks.values(), Fate::Updated)).await?;
    insert_jobs(conn, rows(jobs.values(), Fate::Inserted)).await?;
    update_jobs(conn, rows(jobs.values(), Fate::Updated)).await?;
    insert_artifacts(conn, artifacts).await?;
    save_objects(conn, &objects).await?;
    ledger::save(conn, ledger).await?;
    review::save(conn, reviews).await?;
    kept::save(conn, console).await?;
    notes::insert(conn, deletion_notes).await?;
    notes::forget(conn, deleted_uids).await?;
    let notifications = outbox::insert(conn, events, whom).await?;
    outbox::settle(conn, settled).await?;
    if probe {
        let now = Timestamp::now().as_microsecond();
        execute!(conn, "UPDATE store_probe SET probed_at = $1 WHERE id = 1", now)?;
    }
    if frees && matches!(conn, Conn::Sqlite(_)) {
        execute!(conn, GIVE_BACK)?;
    }
    let written = entries.len() as u64;
    append(conn, entries, ids).await?;
    Ok(Saved { entries: written, notifications })
}

fn rows<'v, Row: 'v>(slots: impl Iterator<Item = &'v Slot<Row>>, fate: Fate) -> impl Iterator<Item = &'v Row> {
    slots.filter(move |slot| slot.fate == fate).filter_map(|slot| slot.row.as_ref().ok())
}
