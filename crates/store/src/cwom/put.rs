//! Objects as somebody wants them: new, changed, gone.

use std::collections::BTreeMap;

use super::columns::unique_key;
use super::entries;
use super::links::{Join, Linked, issue_of_packet, links_of};
use super::model::{
    DeleteObject, FailRun, ObjectOrigin, ObjectRow, PatchObject, Patched, Put, PutObject, RefProblem, Unique,
    Unresolved,
};
use super::resolve::{Resolved, Whose, key, resolve};
use super::view::{LinkFate, ObjectChanges, Objects};
use crate::Result;
use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, View};
use crate::ops::noted;
use crate::rows::stored;
use jct_domain::cwom::{self, Failure, Kind, Mode, Object, Run, Spec, Status, Target, check_update};
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
        let whose = Whose {
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
fn gone(row: &ObjectRow, actor: Actor, note: Option<&str>, at: jiff::Timestamp) -> (ObjectRow, Option<Change>) {
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

impl Operation for PatchObject {
    type Output = Patched;

    fn needs(&self, needs: &mut Needs) {
        needs.objects.whole(self.kind, self.id);
        references_in(&self.change, &mut |kind, id| needs.objects.reference(kind, id));
    }

    fn decide(&self, view: &View) -> Result<(Patched, Changes)> {
        let objects = &view.objects;
        let Some(before) = objects.row(self.kind, self.id)? else {
            return Ok((Patched::Unknown, Changes::default()));
        };
        if let Some(origin) = &before.origin {
            return Ok((Patched::OfCustomResource(origin.clone()), Changes::default()));
        }
        let (spec, findings) = cwom::patch(&before.object.spec, &self.change);
        let Some(spec) = spec else { return Ok((Patched::Refused(findings), Changes::default())) };
        if let Some(task_id) = before.task_id
            && (self.kind == Kind::Run || spec.status() != before.object.spec.status())
        {
            return Ok((Patched::OfTask(task_id), Changes::default()));
        }
        let findings = check_update(&before.object.spec, &spec, Naming::Rest);
        if !findings.is_empty() {
            return Ok((Patched::Refused(findings), Changes::default()));
        }
        let whose = Whose { id: self.id, namespace: &before.namespace, origin: None, names: &BTreeMap::new() };
        let resolved = resolve_changes(objects, before, &spec, &whose)?;
        if !resolved.is_empty() {
            return Ok((Patched::Unresolved(resolved), Changes::default()));
        }
        let after = ObjectRow { object: Object { spec, ..before.object.clone() }, ..before.clone() };
        let (row, changes) = update(objects, before, after, &[], &self.actor, None, self.at);
        Ok((Patched::Patched(Box::new(row)), changes))
    }
}

impl Operation for DeleteObject {
    type Output = Option<ObjectRow>;

    fn needs(&self, needs: &mut Needs) {
        needs.objects.row(self.kind, self.id);
        needs.objects.uid(self.kind, &self.uid);
    }

    fn decide(&self, view: &View) -> Result<(Option<ObjectRow>, Changes)> {
        let objects = &view.objects;
        let is_its_own = |row: &&ObjectRow| row.origin.as_ref().is_some_and(|origin| origin.uid == self.uid);
        let by_uid = objects.of_uid(self.kind, &self.uid).map(|id| objects.known(self.kind, id)).transpose()?;
        let Some(before) = objects.row(self.kind, self.id)?.filter(is_its_own).or(by_uid) else {
            return Ok((None, Changes::default()));
        };
        if before.deleted_at.is_some() {
            return Ok((Some(before.clone()), Changes::default()));
        }
        let (after, entry) = gone(before, self.actor.clone(), self.note.as_deref(), self.at);
        let changes = Changes {
            objects: ObjectChanges { rows: vec![after.clone()], ..ObjectChanges::default() },
            deleted_uid: Some(self.uid.clone()),
            entries: entry.into_iter().collect(),
            ..Changes::default()
        };
        Ok((Some(after), changes))
    }
}

impl Operation for FailRun {
    type Output = Option<ObjectRow>;

    fn needs(&self, needs: &mut Needs) {
        needs.objects.row(Kind::Run, self.id);
    }

    fn decide(&self, view: &View) -> Result<(Option<ObjectRow>, Changes)> {
        let Some(before) = view.objects.row(Kind::Run, self.id)? else { return Ok((None, Changes::default())) };
        let Spec::Run(run) = &before.object.spec else { return Ok((None, Changes::default())) };
        if run.status.is_terminal(Kind::Run) {
            return Ok((Some(before.clone()), Changes::default()));
        }
        let message: String = self.message.chars().take(4000).collect();
        let failure = Some(Failure { category: self.category, message });
        let run = Run { status: Status::Failed, failure, ..(**run).clone() };
        let after = ObjectRow { object: Object { spec: run.into(), ..before.object.clone() }, ..before.clone() };
        let (row, changes) = update_fields(before, after, &self.actor, None, self.at);
        Ok((Some(row), changes))
    }
}

/// Adds a new row with its links, and with that of a ContextPacket to its Issue.
pub(super) fn create(changes: &mut Changes, objects: &Objects, row: &ObjectRow, left_out: &[String], actor: &Actor) {
    let trace_id = &row.object.trace_id;
    let mut links = links_of(row, left_out);
    let issue = issue_of_packet(&row.object.spec);
    links.extend(issue.map(|from| Linked { join: Join::IssueContextPackets, from, to: row.object.id }));
    links.retain(|link| {
        let is_there = matches!(objects.links.get(link), Some(LinkFate::Kept | LinkFate::Added(_)));
        !is_there && !changes.objects.linked.iter().any(|(other, _)| other == link)
    });
    // What follows from a Task is told in one entry.
    let is_told = |link: &Linked| entries::is_made_for_a_task(row) && link.from == row.object.id;
    let (told, others): (Vec<Linked>, Vec<Linked>) = links.iter().partition(|link| is_told(link));
    changes.entries.push(entries::created(row, &told, actor.clone()));
    let others: Vec<Linked> =
        others.into_iter().filter(|link| !entries::tell_with(&mut changes.entries, link)).collect();
    changes.entries.extend(others.iter().map(|link| entries::link(*link, true, trace_id, actor.clone())));
    changes.objects.linked.extend(links.into_iter().map(|link| (link, trace_id.clone())));
    changes.objects.rows.push(row.clone());
}

/// What becomes of a row: itself, if nothing has changed.
pub(super) fn update(
    objects: &Objects,
    before: &ObjectRow,
    mut after: ObjectRow,
    left_out: &[String],
    actor: &Actor,
    note: Option<String>,
    at: jiff::Timestamp,
) -> (ObjectRow, Changes) {
    let trace_id = &before.object.trace_id;
    let mut changes = Changes::default();
    let wanted = links_of(&after, left_out);
    let there: Vec<Linked> = objects.links_of(before.object.id).collect();
    for link in wanted.iter().filter(|link| !there.contains(link)) {
        changes.entries.push(entries::link(*link, true, trace_id, actor.clone()));
        changes.objects.linked.push((*link, trace_id.clone()));
    }
    // A ContextPacket stays with the Issue that it is for.
    let is_for = |link: &Linked| objects.packets.contains(&(link.from, link.to));
    for link in there.iter().filter(|link| !wanted.contains(link) && !is_for(link)) {
        changes.entries.push(entries::link(*link, false, trace_id, actor.clone()));
        changes.objects.unlinked.push(*link);
    }
    changes.entries.extend(entries::changed(before, &after, actor.clone(), note));
    let differs = after != *before;
    if !changes.entries.is_empty() {
        after.object.updated_at = stored(at).max(before.object.updated_at);
    }
    if differs || !changes.entries.is_empty() {
        changes.objects.rows.push(after.clone());
    }
    (after, changes)
}

/// The same for a row whose links stay as they are.
pub(super) fn update_fields(
    before: &ObjectRow,
    mut after: ObjectRow,
    actor: &Actor,
    note: Option<String>,
    at: jiff::Timestamp,
) -> (ObjectRow, Changes) {
    let mut changes = Changes::default();
    changes.entries.extend(entries::changed(before, &after, actor.clone(), note));
    if after != *before {
        after.object.updated_at = stored(at).max(before.object.updated_at);
        changes.objects.rows.push(after.clone());
    }
    (after, changes)
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

/// Whether a Run that is still to be carried out, by its author's account, was found to be impossible: see [`FailRun`].
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

/// What is wrong with the references that a change brings. Those that were there before were looked at then.
fn resolve_changes(objects: &Objects, before: &ObjectRow, spec: &Spec, whose: &Whose<'_>) -> Result<Vec<Unresolved>> {
    let old: Vec<_> = before.object.spec.refs().into_iter().map(|(_, reference)| reference.target.clone()).collect();
    let mut unresolved = resolve(objects, spec, whose)?.unresolved;
    unresolved.retain(|left| left.problem != RefProblem::Missing || !old.contains(&left.target));
    Ok(unresolved)
}

/// The references by id within a body that may say anything.
fn references_in(value: &serde_json::Value, look: &mut impl FnMut(Kind, Id)) {
    match value {
        serde_json::Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
            if let Some(id) = text("id").and_then(|id| id.parse().ok()) {
                match text("kind").and_then(Kind::parse) {
                    Some(kind) => look(kind, id),
                    // The kind is that of the reference that was there.
                    None => Kind::ALL.iter().for_each(|kind| look(*kind, id)),
                }
            }
            fields.values().for_each(|value| references_in(value, look));
        }
        serde_json::Value::Array(entries) => entries.iter().for_each(|value| references_in(value, look)),
        _ => {}
    }
}
