//! Objects as somebody wants them, new or changed as a whole.

use std::collections::BTreeMap;

use super::columns::unique_key;
use super::entries;
use super::model::{ObjectOrigin, ObjectRow, Put, PutObject, Unique};
use super::resolve::{Referrer, Resolved, key, resolve};
use super::update::{create, update};
use super::view::Objects;
use crate::Result;
use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, View};
use crate::ops::noted;
use crate::rows::stored;
use jct_domain::cwom::{Kind, Mode, Object, Run, Spec, Status, Target, check_update};
use jct_domain::{Actor, Code, Finding, Id, Naming};

impl Operation for PutObject {
    type Output = Put;

    fn needs(&self, needs: &mut Needs) {
        needs.objects.put(self);
    }

    fn decide(&self, view: &View) -> Result<(Put, Changes)> {
        let objects = &view.objects;
        let kind = self.spec.kind();
        let before = match self.find(objects)? {
            Found::Row(row) => Some(row),
            Found::Nothing => None,
            Found::Taken(by, what) => return Ok((Put::Taken { by, what }, Changes::default())),
            Found::Repinned(id) => return Ok((Put::Refused(vec![repinned(id)]), Changes::default())),
        };
        let id = before.map_or(self.id, |row| row.object.id);
        let nothing = BTreeMap::new();
        let whose = Referrer {
            id,
            namespace: &self.namespace,
            origin: self.origin.as_ref(),
            names: before.map_or(&nothing, |row| &row.names),
        };
        let mut resolved = resolve(objects, &self.spec, &whose)?;
        let is_strict = self.origin.is_none() && !resolved.unresolved.is_empty();
        if resolved.lacks_required() || is_strict {
            return Ok((Put::Unresolved(resolved.unresolved), Changes::default()));
        }
        let Some(before) = before else {
            let object = Object {
                id,
                created_at: stored(self.created_at),
                updated_at: stored(self.created_at),
                trace_id: self.trace_id.clone(),
                spec: resolved.spec.clone().settled(stored(self.created_at)),
            };
            let row = ObjectRow {
                object,
                namespace: self.namespace.clone(),
                origin: self.origin.clone(),
                submitted_by: self.submitted_by.clone(),
                task_id: None,
                names: std::mem::take(&mut resolved.names),
                recorded_at: stored(self.at),
                deleted_at: None,
                spec_sha256: self.spec_sha256.clone(),
            };
            let mut changes = Changes::default();
            create(&mut changes, objects, &row, &resolved.left_out(), &self.actor);
            self.retire_namesake(objects, kind, id, &mut changes)?;
            let recorded = Put::Recorded { row: Box::new(row), changed: true, unresolved: resolved.unresolved };
            return Ok((recorded, changes));
        };
        let old = renamed(&before.object.spec, &resolved);
        if !self.may_have(before) && old != resolved.spec.clone().settled(before.object.created_at) {
            return Ok((Put::Taken { by: self.id, what: Unique::Id }, Changes::default()));
        }
        let spec = resolved.spec.clone().settled(before.object.created_at);
        let is_for_us_to_say = before.task_id.is_some() || is_ended_by_us(&spec, &before.object.spec);
        let spec = if is_for_us_to_say { as_the_task_says(spec, &before.object.spec) } else { spec };
        let findings = check_update(&old, &spec, Naming::CustomResource);
        if !findings.is_empty() {
            return Ok((Put::Refused(findings), Changes::default()));
        }
        let after = ObjectRow {
            object: Object { spec, ..before.object.clone() },
            origin: self.origin.clone(),
            names: resolved.names.clone(),
            deleted_at: None,
            spec_sha256: self.spec_sha256.clone(),
            ..before.clone()
        };
        let note = self.note(before);
        let (row, changes) = update(objects, before, after, &resolved.left_out(), &self.actor, note, self.at);
        let changed = !changes.entries.is_empty();
        Ok((Put::Recorded { row: Box::new(row), changed, unresolved: resolved.unresolved }, changes))
    }
}

/// The row that an object is to be written to.
enum Found<'v> {
    Row(&'v ObjectRow),
    Nothing,
    Taken(Id, Unique),
    /// The object has this id, and pins another one.
    Repinned(Id),
}

impl PutObject {
    /// The row of the object: its own, by the uid of its custom resource; one that it is restored to; or one made for a
    /// Task that it describes.
    fn find<'v>(&self, objects: &'v Objects) -> Result<Found<'v>> {
        let kind = self.spec.kind();
        let by_uid = self.uid().and_then(|uid| objects.of_uid(kind, uid));
        let own = match by_uid.map(|id| objects.known(kind, id)).transpose()? {
            Some(row) if self.pin.is_some_and(|pin| pin != row.object.id) => return Ok(Found::Repinned(row.object.id)),
            Some(row) => Some(row),
            None => match objects.row(kind, self.id)? {
                Some(row) if self.may_be(row) => Some(row),
                Some(_) => return Ok(Found::Taken(self.id, Unique::Id)),
                None if objects.holders.contains_key(&self.id) => return Ok(Found::Taken(self.id, Unique::Id)),
                None => None,
            },
        };
        let holder = unique_key(&self.spec).and_then(|key| objects.unique(kind, &self.namespace, key));
        let Some(holder) = holder.filter(|holder| own.is_none_or(|row| row.object.id != *holder)) else {
            return Ok(own.map_or(Found::Nothing, Found::Row));
        };
        let row = objects.known(kind, holder)?;
        // A Repo that was made for a Task, and that nobody has described yet, is what the custom resource is about.
        if own.is_none() && self.origin.is_some() && is_undescribed(row) {
            return Ok(Found::Row(row));
        }
        let what = if kind == Kind::Repo { Unique::Slug } else { Unique::Doctrine };
        Ok(Found::Taken(holder, what))
    }

    fn uid(&self) -> Option<&String> {
        self.origin.as_ref().map(|origin| &origin.uid)
    }

    /// Whether the row with the id can be that of this object: by its uid, or restored under its old name, or pinned to one
    /// that came by REST. What a Task recorded is nobody else's, and nobody can say that it is. See
    /// [`PutObject::may_have`] for whose the row must be.
    fn may_be(&self, row: &ObjectRow) -> bool {
        let Some(wanted) = &self.origin else { return false };
        let is_same = |origin: &ObjectOrigin| origin.uid == wanted.uid || origin.name == wanted.name;
        row.namespace == self.namespace
            && match &row.origin {
                Some(origin) => is_same(origin),
                None => row.task_id.is_none() && self.is_by_submitter_of(row),
            }
    }

    /// Whether the row is this object's, whatever it says: by its uid, or since the same user submits it. Somebody else may
    /// restore it only as it was.
    fn may_have(&self, row: &ObjectRow) -> bool {
        let has_uid = row.origin.as_ref().map(|origin| &origin.uid) == self.uid();
        has_uid || is_undescribed(row) || self.is_by_submitter_of(row)
    }

    /// Whether a webhook vouches for the same user here and there.
    fn is_by_submitter_of(&self, row: &ObjectRow) -> bool {
        self.submitted_by.is_some() && self.submitted_by == row.submitted_by
    }

    fn note(&self, before: &ObjectRow) -> Option<String> {
        match &before.origin {
            None if is_undescribed(before) => Some("a custom resource describes the repository of a Task".into()),
            None => Some("a custom resource took the object over".into()),
            Some(_) if before.origin != self.origin => Some("the custom resource was restored under its id".into()),
            Some(_) => None,
        }
    }

    /// The custom resource that had the name before is gone, and nobody saw it go.
    fn retire_namesake(&self, objects: &Objects, kind: Kind, id: Id, changes: &mut Changes) -> Result<()> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let Some(other) = objects.named(kind, &self.namespace, &origin.name).filter(|other| *other != id) else {
            return Ok(());
        };
        let row = objects.known(kind, other)?;
        let (after, entry) = gone(row, Actor::controller(), None, self.at);
        changes.entries.extend(entry);
        changes.objects.rows.push(after);
        Ok(())
    }
}

/// Whether the row is a Repo that a Task has made, of which no custom resource tells more. Its slug is what the Task
/// recorded; the rest is assumed, and whoever may create Repos in the namespace may say it.
fn is_undescribed(row: &ObjectRow) -> bool {
    row.object.kind() == Kind::Repo && row.task_id.is_some() && row.origin.is_none()
}

/// What becomes of the row when its custom resource is gone, and the entry about it. What Tasks refer to stays theirs, and
/// can be described anew.
pub(super) fn gone(
    row: &ObjectRow,
    actor: Actor,
    note: Option<&str>,
    at: jiff::Timestamp,
) -> (ObjectRow, Option<Change>) {
    if row.object.kind() == Kind::Repo && row.task_id.is_some() {
        let after = ObjectRow { origin: None, spec_sha256: None, names: BTreeMap::new(), ..row.clone() };
        let note = noted("the custom resource was deleted; the repository of the Task stays", note);
        let entry = entries::changed(row, &after, actor, Some(note));
        return (after, entry);
    }
    (ObjectRow { deleted_at: Some(stored(at)), ..row.clone() }, Some(entries::deleted(row, actor, note)))
}

/// The finding about an object that has `id` and pins another.
fn repinned(id: Id) -> Finding {
    let message = format!("pins another id, but the id of an object never changes: put {id} there, or leave it out");
    Finding::new(Code::InvalidSpec, "metadata.annotations[jct.dev/id]", message)
}

/// The recorded spec in the words of the new one: a name that is known by now is an id there too.
fn renamed(old: &Spec, resolved: &Resolved) -> Spec {
    let mut old = old.clone();
    old.each_ref_mut(&mut |_, reference| {
        if let Target::Name(name) = &reference.target
            && let Some(id) = resolved.names.get(&key(reference.kind, name))
        {
            reference.target = Target::Id(*id);
        }
    });
    old
}

/// Whether a Run that is still to be carried out, by its author's account, was found to be impossible: see [`FailRun`](super::model::FailRun).
fn is_ended_by_us(spec: &Spec, before: &Spec) -> bool {
    let (Spec::Run(run), Spec::Run(before)) = (spec, before) else { return false };
    let is_to_be_run =
        matches!(run.mode, Mode::Agent | Mode::System) && matches!(run.status, Status::Planned | Status::Ready);
    is_to_be_run && before.status == Status::Failed
}

/// Of a Run that a Task carries out, how it goes is for the Task to say.
fn as_the_task_says(spec: Spec, before: &Spec) -> Spec {
    match (spec, before) {
        (Spec::Run(run), Spec::Run(before)) => {
            let Run { status, telemetry, cost, outputs, failure, executor, .. } = (**before).clone();
            Run { status, telemetry, cost, outputs, failure, executor, ..*run }.into()
        }
        (spec, _) => spec,
    }
}
