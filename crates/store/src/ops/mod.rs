//! The writes: each looks at the rows, asks [`transition`](super::transition) what becomes of them, and says so in the
//! audit log.

mod attempt;
mod deletion;
mod deny;
mod lost;
mod record;
mod refuse;
mod retention;
mod spec_change;
mod task_end;

use serde_json::{Map, Value};

pub(super) use deletion::NoteDeletions;
pub(super) use deny::Denied;
pub(super) use task_end::noted;

use super::audit::Change;
use super::cwom::{Advance, advance_objects};
use super::operation::{Changes, Needs, Operation, View};
use super::rows::task_state;
use super::{Result, TaskRow};
use jct_domain::Actor;
use jct_domain::audit::{Action, EntityKind};

/// Writes into a row that nothing else uses: whether writing works.
pub(super) struct Probe;

impl Operation for Probe {
    type Output = ();

    fn needs(&self, _: &mut Needs) {}

    fn decide(&self, _: &View) -> Result<((), Changes)> {
        Ok(((), Changes { probe: true, ..Changes::default() }))
    }
}

/// Adds what a step of a Task makes of its work objects.
fn with_objects(view: &View, step: &Advance<'_>, mut changes: Changes) -> Result<Changes> {
    let of_objects = advance_objects(&view.objects, step)?;
    changes.entries.extend(of_objects.entries);
    changes.objects = of_objects.objects;
    Ok(changes)
}

/// The entry for a Task that has become another: what differs.
fn task_changed(before: &TaskRow, after: &TaskRow, actor: Actor, note: Option<String>) -> Change {
    let action = if before.phase == after.phase { Action::Updated } else { Action::StatusChanged };
    let (old, new) = difference(task_state(before), task_state(after));
    Change {
        actor,
        action,
        entity_kind: EntityKind::Task,
        entity_id: after.id.to_string(),
        before: Some(old),
        after: Some(new),
        note,
        trace_id: after.trace_id.clone(),
    }
}

/// Of two states the fields that differ.
pub(super) fn difference(mut before: Map<String, Value>, mut after: Map<String, Value>) -> (Value, Value) {
    before.retain(|field, old| {
        let same = after.get(field) == Some(old);
        if same {
            after.remove(field);
        }
        !same
    });
    (Value::Object(before), Value::Object(after))
}
