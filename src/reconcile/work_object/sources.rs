//! What the Task of a Run is made from: what the Run's author named, and what JCT made. Nothing else, for whoever may write
//! work objects would decide what runs under the author's name.

use serde_json::{Value, json};

use crate::domain::Id;
use crate::domain::cwom::adapter::{CwomIds, IssueView, MadeByJct, Origin};
use crate::domain::cwom::{ConstraintSnapshot, ContextPacket, Issue, Kind, Ref, Repo, Run, Spec};
use crate::domain::spec_digest;
use crate::reconcile::{Context, Error};
use crate::store::ObjectRow;

/// What a Task is made from.
pub(super) struct Sources {
    repo: Source<Repo>,
    issue: Source<Issue>,
    context_packet: Option<Source<ContextPacket>>,
    constraint_snapshot: Option<Source<ConstraintSnapshot>>,
}

/// One object of the record.
struct Source<T> {
    id: Id,
    spec: T,
    sha256: String,
    by_jct: bool,
}

impl Sources {
    pub(super) fn view<'a>(&'a self, run: &'a Run) -> IssueView<'a> {
        let by_jct = |is: Option<bool>| is.unwrap_or_default();
        IssueView {
            repo: &self.repo.spec,
            issue: &self.issue.spec,
            context_packet: self.context_packet.as_ref().map(|source| &source.spec),
            constraint_snapshot: self.constraint_snapshot.as_ref().map(|source| &source.spec),
            made_by_jct: MadeByJct {
                issue: self.issue.by_jct,
                context_packet: by_jct(self.context_packet.as_ref().map(|source| source.by_jct)),
                constraint_snapshot: by_jct(self.constraint_snapshot.as_ref().map(|source| source.by_jct)),
            },
            requester: Some(&run.executor.actor),
        }
    }

    /// The ids and digests of all of it, as they are in the moment in which the Run is accepted: what changes later shows.
    pub(super) fn digests(&self, run: Id) -> Value {
        let mut digests = json!({
            "run": run,
            "repo": {"id": self.repo.id, "sha256": self.repo.sha256},
            "issue": {"id": self.issue.id, "sha256": self.issue.sha256},
        });
        if let Some(Source { id, sha256, .. }) = &self.context_packet {
            digests["context_packet"] = json!({"id": id, "sha256": sha256});
        }
        if let Some(Source { id, sha256, .. }) = &self.constraint_snapshot {
            digests["constraint_snapshot"] = json!({"id": id, "sha256": sha256});
        }
        digests
    }
}

macro_rules! source {
    ($row:expr, $kind:ident) => {{
        let row: ObjectRow = $row;
        let (id, by_jct) = (row.object.id, is_by_jct(&row));
        let sha256 = spec_digest(&row.object.spec.to_json());
        match row.object.spec {
            Spec::$kind(spec) => Some(Source { id, spec: *spec, sha256, by_jct }),
            _ => None,
        }
    }};
}

/// Reads what the Run is about from the record: its Issue and Repo, its first ContextPacket and its ConstraintSnapshot;
/// where it names none, those that JCT made together with the Issue, for a Task. `Err` names what is not there yet.
/// Database.
pub(super) async fn gather(context: &Context, run: &Run) -> Result<Result<Sources, Ref>, Error> {
    macro_rules! named {
        ($reference:expr, $kind:ident) => {{
            let reference: &Ref = $reference;
            match object(context, reference).await?.and_then(|row| source!(row, $kind)) {
                Some(source) => source,
                None => return Ok(Err(reference.clone())),
            }
        }};
    }
    let Some(row) = object(context, &run.for_issue).await? else { return Ok(Err(run.for_issue.clone())) };
    let made = created_with(&row);
    let Some(issue) = source!(row, Issue) else { return Ok(Err(run.for_issue.clone())) };
    let repo = named!(&run.repo, Repo);
    let context_packet = match (run.inputs.context_packets.first(), &made) {
        (Some(reference), _) => Some(named!(reference, ContextPacket)),
        (None, Some(made)) => {
            let row = object(context, &Ref::to(Kind::ContextPacket, made.context_packet)).await?;
            row.filter(is_by_jct).and_then(|row| source!(row, ContextPacket))
        }
        (None, None) => None,
    };
    let of_packet = context_packet.as_ref().and_then(|packet| packet.spec.constraint_snapshot.as_ref());
    let constraint_snapshot = match (run.inputs.constraint_snapshot.as_ref().or(of_packet), &made) {
        (Some(reference), _) => Some(named!(reference, ConstraintSnapshot)),
        (None, Some(made)) => {
            let row = object(context, &Ref::to(Kind::ConstraintSnapshot, made.constraint_snapshot)).await?;
            row.filter(is_by_jct).and_then(|row| source!(row, ConstraintSnapshot))
        }
        (None, None) => None,
    };
    Ok(Ok(Sources { repo, issue, context_packet, constraint_snapshot }))
}

/// What JCT made together with an Issue, if it made that. No list is searched, which others can add to, and no order looked at:
/// the ids follow from the Task's.
fn created_with(issue: &ObjectRow) -> Option<CwomIds> {
    let task_id = issue.task_id.filter(|_| is_by_jct(issue))?;
    let origin = Origin { task_id, created_at: issue.object.created_at, trace_id: &issue.object.trace_id };
    let ids = CwomIds::of(&origin, None);
    (ids.issue == issue.object.id).then_some(ids)
}

/// Whether JCT made the object for a Task: it has no custom resource behind it, and REST can't make one that is a Task's.
fn is_by_jct(row: &ObjectRow) -> bool {
    row.origin.is_none() && row.task_id.is_some()
}

async fn object(context: &Context, reference: &Ref) -> Result<Option<ObjectRow>, Error> {
    let Some(id) = reference.id() else { return Ok(None) };
    context.store.object(reference.kind, id).await.map_err(Error::store("read a work object"))
}
