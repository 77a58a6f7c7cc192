//! What the audit log says about work objects.

use serde_json::{Map, Value, json};

use super::links::{Join, Linked};
use super::model::ObjectRow;
use crate::domain::audit::Action;
use crate::domain::cwom::Kind;
use crate::domain::{Actor, TraceId};
use crate::store::audit::Change;
use crate::store::ops::{difference, noted};

/// An object is new.
pub(super) fn created(row: &ObjectRow, actor: Actor) -> Change {
    entry(row, actor, Action::Created, None, Some(Value::Object(state(row))), None)
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

/// A link has come, or has gone.
pub(super) fn link(link: Linked, is_new: bool, trace_id: &TraceId, actor: Actor) -> Change {
    let (of, field, kind) = link.join.field();
    let what = Some(json!({"field": field, "kind": kind, "id": link.to}));
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
