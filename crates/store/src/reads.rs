//! What the store is asked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    AnchoredCheck, ArtifactRow, AuditCheck, AuditHead, AuditQuery, JobRow, ObjectFilter, ObjectRow, OpenTask, Page,
    PresentObject, Result, Store, StoreError, TaskFilter, TaskRow, TracePlace, TraceVisibility, audit, cwom,
    deletion_notes, recorded, rows, story,
};
use jct_domain::audit::Entry;
use jct_domain::checkpoint::Checkpoint;
use jct_domain::cwom::Kind;
use jct_domain::{DeletionNote, Finding, Id, Phase, TraceId};

impl Store {
    /// Who asked for the deletion of the object with this uid, the first ones; those that are vouched for before others.
    pub async fn deletion_notes(&self, uid: &str) -> Result<Vec<DeletionNote>> {
        deletion_notes::of(&mut self.inner.readers.acquire().await?.borrow(), uid).await
    }

    /// For what the Task was refused; none if it was not.
    pub async fn refusal(&self, id: Id) -> Result<Option<Vec<Finding>>> {
        let found = audit::refusals_of(&mut self.inner.readers.acquire().await?.borrow(), [id]).await?;
        Ok(found.into_iter().next().map(|(_, findings)| findings))
    }

    /// When retention removed the record of the Task; none if it did not.
    pub async fn removed(&self, id: Id) -> Result<Option<Timestamp>> {
        let found = audit::removals_of(&mut self.inner.readers.acquire().await?.borrow(), [id]).await?;
        Ok(found.into_iter().next().map(|(_, at)| at))
    }

    /// The Task with this id.
    pub async fn task(&self, id: Id) -> Result<Option<TaskRow>> {
        rows::task_by_id(&mut self.inner.readers.acquire().await?.borrow(), id).await
    }

    /// The Task of the object with this uid: the live row, or else that of an object that went. An id plays no part.
    pub async fn task_by_uid(&self, uid: &str) -> Result<Option<TaskRow>> {
        rows::task_by_uid(&mut self.inner.readers.acquire().await?.borrow(), uid).await
    }

    /// The Task of `namespace` with this idempotency key.
    pub async fn task_by_key(&self, namespace: &str, key: &str) -> Result<Option<TaskRow>> {
        rows::task_by_key(&mut self.inner.readers.acquire().await?.borrow(), namespace, key).await
    }

    /// Tasks, the newest first.
    pub async fn tasks(&self, filter: &TaskFilter, page: Page) -> Result<Vec<TaskRow>> {
        rows::tasks_of(&mut self.inner.readers.acquire().await?.borrow(), filter, page).await
    }

    /// Tasks that have not ended and whose object was not seen to go, by id, after `after`; at most [`MAX_PAGE`](crate::request::MAX_PAGE).
    pub async fn unfinished(&self, after: Option<Id>) -> Result<Vec<OpenTask>> {
        rows::open_tasks(&mut self.inner.readers.acquire().await?.borrow(), after).await
    }

    /// How many Tasks of each namespace have not ended, but for those of the `lost` objects with these uids.
    pub async fn open_by_namespace(&self, lost: &BTreeSet<String>) -> Result<BTreeMap<String, u64>> {
        rows::open_by_namespace(&mut self.inner.readers.acquire().await?.borrow(), lost).await
    }

    /// How many Tasks, and work objects that no Task made, were recorded since then: by namespace and minute since 1970.
    pub async fn recorded_by_minute(&self, since: Timestamp) -> Result<Vec<(String, i64, u64)>> {
        recorded::by_minute(&mut self.inner.readers.acquire().await?.borrow(), since).await
    }

    /// How many Tasks of each namespace have not ended, by phase.
    pub async fn open_by_phase(&self) -> Result<Vec<(String, Phase, u64)>> {
        rows::open_by_phase(&mut self.inner.readers.acquire().await?.borrow()).await
    }

    /// How many Tasks are in each phase. Every phase is there.
    pub async fn counts(&self) -> Result<BTreeMap<&'static str, u64>> {
        rows::tasks_by_phase(&mut self.inner.readers.acquire().await?.borrow()).await
    }

    /// The attempts of a Task, the first one first.
    pub async fn jobs(&self, task_id: Id) -> Result<Vec<JobRow>> {
        rows::jobs_of(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }

    /// The files of a Task's traces, by attempt and uri.
    pub async fn artifacts(&self, task_id: Id) -> Result<Vec<ArtifactRow>> {
        rows::artifacts_of(&mut self.inner.readers.acquire().await?.borrow(), task_id).await
    }

    /// The files of the trace of one attempt.
    pub async fn artifacts_of_job(&self, job_id: Id) -> Result<Vec<ArtifactRow>> {
        rows::artifacts_of_job(&mut self.inner.readers.acquire().await?.borrow(), job_id).await
    }

    /// The file of an attempt with this uri, if its trace has one.
    pub async fn artifact_of_job(&self, job_id: Id, uri: &str) -> Result<Option<ArtifactRow>> {
        rows::artifact_of_job(&mut self.inner.readers.acquire().await?.borrow(), job_id, uri).await
    }

    /// The work object of this kind with this id. An Issue comes with its Runs and with the ContextPackets that are for it.
    pub async fn object(&self, kind: Kind, id: Id) -> Result<Option<ObjectRow>> {
        cwom::object_by_id(&mut self.inner.readers.acquire().await?.borrow(), kind, id).await
    }

    /// Work objects of a kind, the newest first.
    pub async fn objects(&self, kind: Kind, filter: &ObjectFilter, page: Page) -> Result<Vec<ObjectRow>> {
        cwom::objects_of(&mut self.inner.readers.acquire().await?.borrow(), kind, filter, page).await
    }

    /// Of the object of this kind behind the custom resource with this uid, unless that was seen to go: its id, and the digest
    /// of the spec that is recorded of it.
    pub async fn recorded_spec(&self, kind: Kind, uid: &str) -> Result<Option<(Id, Option<String>)>> {
        cwom::recorded_spec(&mut self.inner.readers.acquire().await?.borrow(), kind, uid).await
    }

    /// The work objects of a kind whose custom resource was not seen to go, by namespace and name, after `after`; at most
    /// [`MAX_PAGE`](crate::request::MAX_PAGE).
    pub async fn present_objects(&self, kind: Kind, after: Option<&PresentObject>) -> Result<Vec<PresentObject>> {
        cwom::present_objects(&mut self.inner.readers.acquire().await?.borrow(), kind, after).await
    }

    /// Where the Tasks and the work objects of a trace are.
    pub async fn places_of_trace(&self, trace_id: &TraceId) -> Result<Vec<TracePlace>> {
        story::places(&mut self.inner.readers.acquire().await?.borrow(), trace_id).await
    }

    /// The work objects of a trace, causes before effects; of each kind at most [`MAX_PAGE`](crate::request::MAX_PAGE), the oldest.
    pub async fn objects_of_trace(&self, trace_id: &TraceId, sight: &TraceVisibility) -> Result<Vec<ObjectRow>> {
        story::objects(&mut self.inner.readers.acquire().await?.borrow(), trace_id, sight).await
    }

    /// The Tasks of a trace, the oldest first, after the one with the id `after`.
    pub async fn tasks_of_trace(
        &self,
        trace_id: &TraceId,
        sight: &TraceVisibility,
        after: Option<Id>,
        limit: u32,
    ) -> Result<Vec<TaskRow>> {
        story::tasks(&mut self.inner.readers.acquire().await?.borrow(), trace_id, sight, after, limit).await
    }

    /// Audit entries of the trace that `query` names.
    pub async fn audit_of_trace(&self, query: &AuditQuery, sight: &TraceVisibility) -> Result<Vec<Entry>> {
        story::entries(&mut self.inner.readers.acquire().await?.borrow(), query, sight).await
    }

    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<Entry>> {
        audit::list(&mut self.inner.readers.acquire().await?.borrow(), query).await
    }

    /// Whether there is an audit entry with this id.
    pub async fn has_audit_entry(&self, id: Id) -> Result<bool> {
        audit::has(&mut self.inner.readers.acquire().await?.borrow(), id).await
    }

    /// How many audit entries fit `query`, beyond the one that its page begins after.
    pub async fn audit_count(&self, query: &AuditQuery) -> Result<u64> {
        audit::count(&mut self.inner.readers.acquire().await?.borrow(), query).await
    }

    /// Walks over the whole audit log and holds every entry against the chain of hashes.
    pub async fn verify_audit(&self) -> Result<AuditCheck> {
        Ok(self.verify_audit_against(&[]).await?.check)
    }

    /// The same, and against `checkpoints`, whose signatures the caller has checked.
    pub async fn verify_audit_against(&self, checkpoints: &[Checkpoint]) -> Result<AnchoredCheck> {
        audit::verify(&self.inner.readers, checkpoints).await
    }

    /// The end of the audit log.
    pub async fn audit_head(&self) -> Result<AuditHead> {
        let head = audit::head(&mut self.inner.readers.acquire().await?.borrow()).await?;
        let head = head.ok_or_else(|| StoreError::corrupt("audit_head", "", "the chain has no head"))?;
        Ok(AuditHead { seq: head.seq.unsigned_abs(), hash: head.hash })
    }

    /// The end of the audit log, if every entry since `last` follows from it; else what does not.
    pub async fn audit_since(&self, last: &Checkpoint) -> Result<std::result::Result<AuditHead, AuditCheck>> {
        audit::verify_since(&self.inner.readers, last).await
    }
}
