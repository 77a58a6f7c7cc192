//! Retention at work: traces and records that may go by the rules are removed, a few at a time, by the replica that leads.
//!
//! A trace is marked as removed, with an audit entry, before its folder is deleted; a record goes when no trace of its Task is
//! left and its object is gone. So a crash anywhere leaves what the next sweep goes on with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::queue::cache::{Present, Tasks};
use super::task::{Object, blocking};
use super::{Context, Error};
use crate::crd::names::ID;
use crate::domain::Id;
use crate::domain::retention::{Retention, Rules};
use crate::store::{DueRecord, DueTrace, RemoveRecord, RemoveTrace, TraceGone};

/// Before the first sweep of a term: the start has more urgent things to do.
const FIRST: Duration = Duration::from_secs(60);
/// How often it is asked whether a sweep is due: the interval may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// After a sweep that failed, unless the interval is shorter.
const AFTER_FAILURE: Duration = Duration::from_secs(300);
/// How many are planned at once: a bound of memory.
const ROUND: usize = 2000;
/// How many are removed at once, in one transaction or a few.
const BATCH: usize = 32;

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub traces: u64,
    /// Folders deleted, also such that were marked earlier.
    pub folders: u64,
    /// Bytes of their files.
    pub bytes: u64,
    pub records: u64,
    /// Folders that could not be deleted; the next sweep tries again.
    pub failures: u64,
}

/// Sweeps from time to time until `stop`. The cache of Tasks has to be filled.
pub async fn watch(context: Arc<Context>, objects: Arc<Tasks>, stop: CancellationToken) {
    let (mut last, mut wait) = (Instant::now(), Some(FIRST));
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_some() {
        let retention = context.retention.borrow().clone();
        if last.elapsed() < wait.unwrap_or(retention.interval) {
            continue;
        }
        let began = Instant::now();
        let swept = sweep(&context, &retention, &objects, context.clock.now(), &stop).await;
        (last, wait) = (began, None);
        match swept {
            Ok(swept) if swept == Swept::default() => {}
            Ok(Swept { traces, folders, bytes, records, failures }) => {
                let seconds = began.elapsed().as_secs_f64();
                info!(traces, folders, bytes, records, failures, seconds, "retention has swept");
            }
            Err(error) => {
                context.metrics.retention_failures.inc();
                wait = Some(retention.interval.min(AFTER_FAILURE));
                warn!(%error, category = error.category(), "retention could not finish its sweep; it goes on later");
            }
        }
    }
}

/// Removes what may go at `now`. Ends early, between two batches, once `stop` is cancelled. Database, volume, API server.
///
/// # Errors
/// If one of them does not answer. What was removed by then stays so, and is counted.
pub async fn sweep(
    context: &Context,
    retention: &Retention,
    objects: &Tasks,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    if !context.traces.is_mounted() {
        // Or every folder would look like one that is gone.
        let error = std::io::Error::other("the trace volume is not there");
        return Err(Error::volume("remove traces")(error));
    }
    finish_earlier(context, &mut swept, stop).await?;
    remove_traces(context, &retention.traces, now, &mut swept, stop).await?;
    remove_records(context, &retention.records, objects, now, &mut swept, stop).await?;
    Ok(swept)
}

/// Deletes the folders of traces that were marked, and no further, by a sweep before this one.
async fn finish_earlier(context: &Context, swept: &mut Swept, stop: &CancellationToken) -> Result<(), Error> {
    let mut after = None;
    while !stop.is_cancelled() {
        let page = context.store.unpurged_traces(after).await.map_err(Error::store("list removed traces"))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.job_id);
        let folders = page.into_iter().map(|left| Folder {
            namespace: left.namespace,
            task_id: left.task_id,
            attempt: left.attempt,
        });
        let folders: Vec<Folder> = folders.collect();
        for batch in folders.chunks(BATCH) {
            if stop.is_cancelled() {
                break;
            }
            delete(context, batch, swept).await?;
        }
    }
    Ok(())
}

async fn remove_traces(
    context: &Context,
    rules: &Rules,
    now: Timestamp,
    swept: &mut Swept,
    stop: &CancellationToken,
) -> Result<(), Error> {
    loop {
        let (due, left_out) =
            context.store.due_traces(rules, now, ROUND).await.map_err(Error::store("look for traces that may go"))?;
        let before = swept.traces;
        for batch in due.chunks(BATCH) {
            if stop.is_cancelled() {
                return Ok(());
            }
            let folders = mark(context, batch, now).await?;
            swept.traces += folders.len() as u64;
            delete(context, &folders, swept).await?;
        }
        if left_out == 0 || swept.traces == before {
            return Ok(());
        }
    }
}

/// The folder of an attempt.
struct Folder {
    namespace: String,
    task_id: Id,
    attempt: u32,
}

/// Marks traces as removed; those that are. Database.
async fn mark(context: &Context, due: &[DueTrace], at: Timestamp) -> Result<Vec<Folder>, Error> {
    let marked = due.iter().map(async |trace| {
        let remove = RemoveTrace { task_id: trace.task_id, attempt: trace.attempt, rule: trace.rule.clone(), at };
        let folder = Folder { namespace: trace.namespace.clone(), task_id: trace.task_id, attempt: trace.attempt };
        Ok((context.store.remove_trace(remove).await?, folder))
    });
    let marked = try_join_all(marked).await.map_err(Error::store("mark traces as removed"))?;
    let folders: Vec<Folder> =
        marked.into_iter().filter(|(is_marked, _)| *is_marked).map(|(_, folder)| folder).collect();
    context.metrics.retention_traces_removed.inc_by(folders.len() as u64);
    Ok(folders)
}

/// Deletes the folders of traces that are marked. One that can't be deleted is told, and left to the next sweep. Volume, then
/// database.
async fn delete(context: &Context, folders: &[Folder], swept: &mut Swept) -> Result<(), Error> {
    let mut gone = Vec::new();
    for Folder { namespace, task_id, attempt } in folders {
        let (traces, space, task_id, attempt) = (context.traces.clone(), namespace.clone(), *task_id, *attempt);
        match blocking(move || traces.remove(&space, task_id, attempt)).await {
            Ok(freed) => {
                swept.folders += 1;
                swept.bytes += freed.bytes;
                context.metrics.retention_removed_bytes.inc_by(freed.bytes);
                gone.push(TraceGone { task_id, attempt, at: context.clock.now() });
            }
            Err(error) => {
                swept.failures += 1;
                context.metrics.retention_failures.inc();
                warn!(%task_id, namespace, attempt, %error, "the folder of a removed trace could not be deleted");
            }
        }
    }
    let noted = gone.into_iter().map(|gone| context.store.trace_gone(gone));
    try_join_all(noted).await.map_err(Error::store("note that folders are gone")).map(drop)
}

async fn remove_records(
    context: &Context,
    rules: &Rules,
    objects: &Tasks,
    now: Timestamp,
    swept: &mut Swept,
    stop: &CancellationToken,
) -> Result<(), Error> {
    while !rules.is_empty() {
        let present = objects.present();
        let wanted = |record: &DueRecord| record.traces_left == 0 && !is_held(&present, record);
        let due = context.store.due_records(rules, now, ROUND, wanted).await;
        let (due, left_out) = due.map_err(Error::store("look for records that may go"))?;
        let before = swept.records;
        for batch in due.chunks(BATCH) {
            if stop.is_cancelled() {
                return Ok(());
            }
            // As it is now: a Task that came meanwhile with the same key shows the outcome that is about to go.
            let present = objects.present();
            let batch = batch.iter().filter(|record| !is_held(&present, record));
            let removed = join_all(batch.map(|record| remove_record(context, record, now))).await;
            // All are asked, so that one that fails does not hide what the others did.
            for removed in &removed {
                swept.records += u64::from(matches!(removed, Ok(true)));
            }
            removed.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        if left_out == 0 || swept.records == before {
            return Ok(());
        }
    }
    Ok(())
}

/// Removes a record, if the API server says that its object is gone. API server, then database.
async fn remove_record(context: &Context, record: &DueRecord, at: Timestamp) -> Result<bool, Error> {
    let api: Api<Object> = Api::namespaced(context.client.clone(), &record.namespace);
    let found = api.get_metadata_opt(&record.name).await.map_err(Error::api("look for the object of a record"))?;
    let is_there = found.is_some_and(|object| {
        let is_restored =
            object.annotations().get(ID).is_some_and(|id| id.parse::<Id>().is_ok_and(|id| id == record.task_id));
        object.uid().as_deref() == Some(&record.uid) || is_restored
    });
    if is_there {
        return Ok(false);
    }
    let remove = RemoveRecord { task_id: record.task_id, uid: record.uid.clone(), rule: record.rule.clone(), at };
    let removed = context.store.remove_record(remove).await.map_err(Error::store("remove a record"))?;
    if removed {
        context.metrics.retention_records_removed.inc();
        context.signed.forget(&record.uid);
    }
    Ok(removed)
}

/// Whether the object of a record is there, as far as the cache knows, or another one with its idempotency key: that one would
/// take the free key, and run.
fn is_held(present: &Present, record: &DueRecord) -> bool {
    let key = record.idempotency_key.clone().map(|key| (record.namespace.clone(), key));
    present.uids.contains(&record.uid) || key.is_some_and(|key| present.keys.contains(&key))
}
