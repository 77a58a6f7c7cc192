//! Objects that somebody changes in part, deletes, or can't run.

use std::collections::BTreeMap;

use super::model::{DeleteObject, FailRun, ObjectRow, PatchObject, Patched, RefProblem, Unresolved};
use super::put::gone;
use super::resolve::{Referrer, resolve};
use super::update::{update, update_fields};
use super::view::{ObjectChanges, Objects};
use crate::Result;
use crate::operation::{Changes, Needs, Operation, View};
use jct_domain::cwom::{self, Failure, Kind, Object, Run, Spec, Status, check_update};
use jct_domain::{Id, Naming};

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
        let whose = Referrer { id: self.id, namespace: &before.namespace, origin: None, names: &BTreeMap::new() };
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

/// What is wrong with the references that a change brings. Those that were there before were looked at then.
fn resolve_changes(
    objects: &Objects,
    before: &ObjectRow,
    spec: &Spec,
    whose: &Referrer<'_>,
) -> Result<Vec<Unresolved>> {
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
