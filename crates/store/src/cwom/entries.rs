//! What the audit log says about work objects.

use serde_json::{Map, Value, json};

use super::links::{Join, Linked};
use super::model::ObjectRow;
use crate::audit::Change;
use crate::contents::take_out;
use crate::ops::{difference, noted};
use crate::rows::plain;
use jct_domain::audit::Action;
use jct_domain::cwom::{Kind, Spec};
use jct_domain::id::sha256_hex;
use jct_domain::{Actor, Id, TraceId};

/// The Task that an object is made for, in the entry about its creation; the digest of all that it was then; its links.
pub(crate) const MADE_FOR: &str = "made_for";
pub(crate) const STATE_SHA256: &str = "state_sha256";
pub(crate) const LINKS: &str = "links";

/// An object is new. With `links` that it has from the beginning, and that have no entry of their own.
pub(super) fn created(row: &ObjectRow, links: &[Linked], actor: Actor) -> Change {
    let mut after = match row.task_id.filter(|_| is_made_for_a_task(row)) {
        Some(task_id) => made_for(row, task_id),
        None => state(row),
    };
    if !links.is_empty() {
        after.insert(LINKS.into(), links.iter().map(link_json).collect());
    }
    entry(row, actor, Action::Created, None, Some(after.into()), None)
}

/// Tells of a link with the creation of the object that it is of, if that is made for a Task and told in one of these entries.
pub(super) fn add_to_creation(entries: &mut [Change], link: &Linked) -> bool {
    let of = link.from.to_string();
    let creation = entries.iter_mut().find(|entry| entry.action == Action::Created && entry.entity_id == of);
    let after = creation.and_then(|entry| entry.after.as_mut()).and_then(Value::as_object_mut);
    let Some(after) = after.filter(|after| after.contains_key(STATE_SHA256)) else { return false };
    match after.get_mut(LINKS) {
        Some(Value::Array(links)) => links.push(link_json(link)),
        _ => drop(after.insert(LINKS.into(), vec![link_json(link)].into())),
    }
    true
}

/// Whether everything in the row follows from a Task and its attempts, which have entries of their own. A Repo is made for the
/// first of its Tasks, and may be described by others.
pub(super) fn is_made_for_a_task(row: &ObjectRow) -> bool {
    row.task_id.is_some() && row.origin.is_none() && row.object.kind() != Kind::Repo
}

/// What is said of an object that is made for a Task: its digest, and of an Artifact what it is, which outlives its row.
fn made_for(row: &ObjectRow, task_id: Id) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert(MADE_FOR.into(), json!(task_id));
    fields.insert(STATE_SHA256.into(), state_digest(row.object.kind(), without_links(row)).into());
    if let Spec::Artifact(artifact) = &row.object.spec {
        fields.insert("type".into(), json!(artifact.r#type));
        fields.insert("uri".into(), json!(artifact.uri));
        fields.insert("digest".into(), json!(artifact.digest));
    }
    fields
}

/// The digest of an object's state, large parts by their digests, keys sorted, without what is null or empty: a field that a later
/// version adds is so in all that are older.
pub(crate) fn state_digest(kind: Kind, state: Map<String, Value>) -> String {
    let mut state = Value::Object(state);
    take_out(kind.into(), &mut state);
    sha256_hex(plain(state).to_string().as_bytes())
}

/// An object has become another; none if nothing but its links has. Links have entries of their own.
pub(super) fn changed(before: &ObjectRow, after: &ObjectRow, actor: Actor, note: Option<String>) -> Option<Change> {
    let is_new_status = before.object.spec.status() != after.object.spec.status();
    let action = if is_new_status { Action::StatusChanged } else { Action::Updated };
    let (old, new) = difference(without_links(before), without_links(after));
    let differs =
        old.as_object().is_some_and(|old| !old.is_empty()) || new.as_object().is_some_and(|new| !new.is_empty());
    differs.then(|| entry(after, actor, action, Some(old), Some(new), note))
}

/// An object's custom resource is gone.
pub(super) fn deleted(row: &ObjectRow, actor: Actor, note: Option<&str>) -> Change {
    let before = json!({"namespace": row.namespace, "name": row.origin.as_ref().map(|origin| &origin.name),
        "uid": row.origin.as_ref().map(|origin| &origin.uid)});
    let note = noted("the custom resource was deleted; its record stays", note);
    entry(row, actor, Action::Deleted, Some(before), None, Some(note))
}

/// What an entry says of a link.
fn link_json(link: &Linked) -> Value {
    let (_, field, kind) = link.join.field();
    json!({"field": field, "kind": kind, "id": link.to})
}

/// A link has come, or has gone.
pub(super) fn link(link: Linked, is_new: bool, trace_id: &TraceId, actor: Actor) -> Change {
    let (of, ..) = link.join.field();
    let what = Some(link_json(&link));
    let (action, before, after) = if is_new { (Action::Linked, None, what) } else { (Action::Unlinked, what, None) };
    Change {
        actor,
        action,
        entity_kind: of.into(),
        entity_id: link.from.to_string(),
        before,
        after,
        note: None,
        trace_id: trace_id.clone(),
    }
}

fn entry(
    row: &ObjectRow,
    actor: Actor,
    action: Action,
    before: Option<Value>,
    after: Option<Value>,
    note: Option<String>,
) -> Change {
    Change {
        actor,
        action,
        entity_kind: row.object.kind().into(),
        entity_id: row.object.id.to_string(),
        before,
        after,
        note,
        trace_id: row.object.trace_id.clone(),
    }
}

/// The object, and what the record knows besides.
pub(super) fn state(row: &ObjectRow) -> Map<String, Value> {
    let ObjectRow {
        object,
        namespace,
        origin,
        submitted_by,
        task_id,
        names: _,
        recorded_at: _,
        deleted_at,
        spec_sha256,
    } = row;
    let mut state = match object.to_json() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    state.remove("updated_at");
    let mut about = json!({
        "namespace": namespace,
        "name": origin.as_ref().map(|origin| &origin.name),
        "uid": origin.as_ref().map(|origin| &origin.uid),
        "submitted_by": submitted_by,
        "task_id": task_id,
        "deleted_at": deleted_at,
    });
    if let (Value::Object(about), Some(sha256)) = (&mut about, spec_sha256) {
        about.insert("spec_sha256".into(), sha256.as_str().into());
    }
    state.insert("record".into(), about);
    state
}

fn without_links(row: &ObjectRow) -> Map<String, Value> {
    let mut state = state(row);
    strip_links(row.object.kind(), &mut state);
    state
}

/// Takes the fields out whose entries are links.
pub(super) fn strip_links(kind: Kind, state: &mut Map<String, Value>) {
    for join in Join::ALL {
        let (of, field, _) = join.field();
        if of != kind {
            continue;
        }
        match field.split_once('.') {
            Some((record, field)) => {
                if let Some(Value::Object(record)) = state.get_mut(record) {
                    record.remove(field);
                }
            }
            None => {
                state.remove(field);
            }
        }
    }
}
