//! A write: what it needs to know, and what it makes of it.
//!
//! Operations are pure. The writer loads what a batch of them needs with few statements, lets them decide one after the
//! other, each seeing what those before it decided, and writes all of it with few statements again. An operation that
//! fails has changed nothing, since only a decision changes anything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::audit::Change;
use super::console::{ConsoleChanges, ConsoleView};
use super::cwom::{ObjectChanges, ObjectNeeds, Objects};
use super::ledger::{LedgerChanges, LedgerNeeds, LedgerView};
use super::outbox::Settled;
use super::review::{ReviewChanges, ReviewNeeds, ReviewView};
use super::{ArtifactRow, Conflict, JobRow, Result, StoreError, TaskRow};
use jct_domain::cwom::Kind;
use jct_domain::notification::Event;
use jct_domain::{DeletionNote, Finding, Id};

/// What a write does. It may be asked more than once: a batch that could not be committed is tried again.
pub(super) trait Operation: Send + Sync + 'static {
    /// What the caller gets once the changes are committed.
    type Output: Send + 'static;

    /// Names what [`Operation::decide`] looks at.
    fn needs(&self, needs: &mut Needs);

    /// The answer, and what is to be written.
    fn decide(&self, view: &View) -> Result<(Self::Output, Changes)>;
}

/// What the operations of a batch look at.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) tasks: BTreeSet<Id>,
    /// Live Tasks by the uid of their object.
    pub(super) uids: BTreeSet<String>,
    /// Tasks by namespace and idempotency key.
    pub(super) keys: BTreeSet<(String, String)>,
    /// The attempts of these Tasks.
    pub(super) jobs_of: BTreeSet<Id>,
    /// What these Tasks were refused for, and whether their records were removed.
    pub(super) refusals: BTreeSet<Id>,
    /// Of these denied requests, which are written down already.
    pub(super) denials: BTreeSet<String>,
    /// The work objects that go with the records of these Tasks.
    pub(super) belongings: BTreeSet<Id>,
    pub(super) objects: ObjectNeeds,
    pub(super) ledger: LedgerNeeds,
    pub(super) reviews: ReviewNeeds,
    /// What is sealed for the console.
    pub(super) console: BTreeSet<String>,
}

impl Needs {
    /// Whether nothing is looked at.
    pub(super) fn is_empty(&self) -> bool {
        let Self { tasks, uids, keys, jobs_of, refusals, denials, belongings, objects, ledger, reviews, console } =
            self;
        let nothing_of_tasks =
            tasks.is_empty() && uids.is_empty() && keys.is_empty() && jobs_of.is_empty() && refusals.is_empty();
        let nothing_else = belongings.is_empty() && objects.is_empty() && ledger.is_empty() && console.is_empty();
        nothing_of_tasks && denials.is_empty() && reviews.is_empty() && nothing_else
    }
}

/// What an operation has written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// A Task as it will be.
    pub(super) task: Option<TaskRow>,
    /// An attempt as it will be.
    pub(super) job: Option<JobRow>,
    /// An attempt before that one, which was left open.
    pub(super) earlier_job: Option<JobRow>,
    pub(super) artifacts: Vec<ArtifactRow>,
    pub(super) objects: ObjectChanges,
    /// What models have used up.
    pub(super) ledger: LedgerChanges,
    /// What is shown for attempts, and decided about it.
    pub(super) reviews: ReviewChanges,
    /// What is sealed for the console.
    pub(super) console: ConsoleChanges,
    /// Why a Task is refused.
    pub(super) refusal: Option<(Id, Vec<Finding>)>,
    /// Requests whose denial is written down.
    pub(super) denials: Vec<String>,
    /// The record of a Task that is to be removed.
    pub(super) removal: Option<Removal>,
    pub(super) deletion_notes: Vec<DeletionNote>,
    /// The uid of an object of which nobody needs to know that any more.
    pub(super) deleted_uid: Option<String>,
    /// What others are told of it.
    pub(super) event: Option<Event>,
    /// What somebody need not be told any more.
    pub(super) settled: Option<Settled>,
    /// What the audit log says about all of this.
    pub(super) entries: Vec<Change>,
    /// Write into the row that is there to see whether writing works.
    pub(super) probe: bool,
}

/// What the operations of a batch see: rows as loaded, and as decided since.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) tasks: BTreeMap<Id, Slot<TaskRow>>,
    pub(super) uids: BTreeMap<String, Id>,
    pub(super) keys: BTreeMap<(String, String), Id>,
    pub(super) jobs: BTreeMap<(Id, u32), Slot<JobRow>>,
    pub(super) refusals: BTreeMap<Id, Vec<Finding>>,
    /// Tasks whose record was removed, and when.
    pub(super) removed: BTreeMap<Id, Timestamp>,
    pub(super) belongings: BTreeMap<Id, Vec<(Kind, Id)>>,
    pub(super) removals: Vec<Removal>,
    pub(super) deletion_notes: Vec<DeletionNote>,
    pub(super) deleted_uids: Vec<String>,
    pub(super) denials: BTreeSet<String>,
    pub(super) artifacts: Vec<ArtifactRow>,
    pub(super) objects: Objects,
    pub(super) ledger: LedgerView,
    pub(super) reviews: ReviewView,
    pub(super) events: Vec<Event>,
    pub(super) settled: Vec<Settled>,
    pub(super) console: ConsoleView,
    pub(super) entries: Vec<Change>,
    pub(super) probe: bool,
}

/// The record of a Task that is to be removed, with its attempts and the list of its files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal {
    pub(super) task_id: Id,
    /// Its Issue, if that goes with it, and all that belongs to that one.
    pub(super) issue: Option<Id>,
    pub(super) removed_at: Timestamp,
}

/// A row, or why it can't be read, and what is to be done with it.
#[derive(Debug)]
pub(super) struct Slot<Row> {
    pub(super) row: Result<Row>,
    pub(super) fate: Fate,
}

/// What is to be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Inserted,
    Updated,
}

impl<Row> Slot<Row> {
    pub(super) fn loaded(row: Result<Row>) -> Self {
        Self { row, fate: Fate::Kept }
    }

    pub(super) fn get(&self) -> Result<&Row> {
        self.row.as_ref().map_err(Clone::clone)
    }
}

impl View {
    /// The Task with this id.
    pub(super) fn task(&self, id: Id) -> Result<Option<&TaskRow>> {
        self.tasks.get(&id).map(Slot::get).transpose()
    }

    /// The Task with this id, which must be there.
    pub(super) fn known_task(&self, id: Id) -> Result<&TaskRow> {
        self.task(id)?.ok_or(StoreError::UnknownTask(id))
    }

    /// The live Task of the object with this uid.
    pub(super) fn task_by_uid(&self, uid: &str) -> Result<Option<&TaskRow>> {
        let Some(id) = self.uids.get(uid) else { return Ok(None) };
        Ok(self.task(*id)?.filter(|row| row.uid == uid && row.deleted_at.is_none()))
    }

    /// The Task of the namespace with this idempotency key.
    pub(super) fn task_by_key(&self, namespace: &str, key: &str) -> Result<Option<&TaskRow>> {
        match self.keys.get(&(namespace.to_owned(), key.to_owned())) {
            Some(id) => self.task(*id),
            None => Ok(None),
        }
    }

    /// One attempt of a Task.
    pub(super) fn job(&self, task_id: Id, attempt: u32) -> Result<Option<&JobRow>> {
        self.jobs.get(&(task_id, attempt)).map(Slot::get).transpose()
    }

    /// One attempt of a Task, which must be there.
    pub(super) fn known_job(&self, task_id: Id, attempt: u32) -> Result<&JobRow> {
        let unknown = || StoreError::conflict(task_id, Conflict::UnknownAttempt(attempt));
        self.job(task_id, attempt)?.ok_or_else(unknown)
    }

    /// What the Task was refused for.
    pub(super) fn refusal(&self, id: Id) -> Option<&Vec<Finding>> {
        self.refusals.get(&id)
    }

    /// Takes over what was decided.
    pub(super) fn stage(&mut self, changes: Changes) {
        let Changes {
            task,
            job,
            earlier_job,
            artifacts,
            objects,
            ledger,
            reviews,
            console,
            refusal,
            denials,
            removal,
            deletion_notes,
            deleted_uid,
            event,
            settled,
            entries,
            probe,
        } = changes;
        if let Some(row) = task {
            if row.deleted_at.is_none() {
                self.uids.insert(row.uid.clone(), row.id);
            }
            if let Some(key) = &row.task.idempotency_key {
                self.keys.insert((row.namespace.clone(), key.clone()), row.id);
            }
            put(&mut self.tasks, row.id, row);
        }
        for row in earlier_job.into_iter().chain(job) {
            put(&mut self.jobs, (row.task_id, row.attempt), row);
        }
        self.refusals.extend(refusal);
        self.denials.extend(denials);
        self.objects.stage(objects);
        self.ledger.stage(ledger);
        self.reviews.stage(reviews);
        self.console.stage(console);
        self.artifacts.extend(artifacts);
        if let Some(removal) = removal {
            self.remove(removal);
        }
        self.deletion_notes.extend(deletion_notes);
        self.deleted_uids.extend(deleted_uid);
        self.events.extend(event);
        self.settled.extend(settled);
        self.entries.extend(entries);
        self.probe |= probe;
    }
}

impl View {
    /// From here on the Task is one that was.
    fn remove(&mut self, removal: Removal) {
        let id = removal.task_id;
        self.tasks.remove(&id);
        self.keys.retain(|_, holder| *holder != id);
        self.jobs.retain(|(task_id, _), _| *task_id != id);
        self.removed.insert(id, removal.removed_at);
        self.removals.push(removal);
    }
}

/// Puts a row as it will be into its place.
pub(super) fn put<Key: Ord, Row>(rows: &mut BTreeMap<Key, Slot<Row>>, key: Key, row: Row) {
    let fate = match rows.get(&key).map(|slot| slot.fate) {
        None | Some(Fate::Inserted) => Fate::Inserted,
        Some(Fate::Kept | Fate::Updated) => Fate::Updated,
    };
    rows.insert(key, Slot { row: Ok(row), fate });
}
