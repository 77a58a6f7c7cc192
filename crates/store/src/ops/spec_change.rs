//! Changes of a Task's spec: who made them.
//!
//! They change no column but the one that says up to which generation they are noted. Whoever notes them again, after a crash
//! or in another replica, finds that.

use serde_json::{Map, Value};

use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, View};
use crate::request::noted_generation;
use crate::{NoteSpecChanges, Result, TaskRow};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::{Actor, SpecChange};

impl Operation for NoteSpecChanges {
    type Output = TaskRow;

    fn needs(&self, needs: &mut Needs) {
        needs.tasks.insert(self.task_id);
    }

    fn decide(&self, view: &View) -> Result<(TaskRow, Changes)> {
        let before = view.known_task(self.task_id)?;
        if !self.are_news(before) {
            return Ok((before.clone(), Changes::default()));
        }
        let mut after = before.clone();
        let mut entries = Vec::new();
        for change in &self.changes {
            let next = noted_generation(&after) + 1;
            if change.generation < next {
                continue;
            }
            let is_news = !self.since_sealed || after.spec_generation > 0;
            if change.generation > next && is_news {
                entries.push(unseen(&mut after, change.generation - 1));
            }
            entries.push(changed(&mut after, change));
        }
        Ok((after.clone(), Changes { task: Some(after), entries, ..Changes::default() }))
    }
}

/// The entry for one change, after which it is noted in `row`.
fn changed(row: &mut TaskRow, change: &SpecChange) -> Change {
    let Some((user, at)) = change.by.as_deref().zip(change.at) else { return unseen(row, change.generation) };
    let flags = [("suspend", change.suspend), ("cancel", change.cancel)];
    let flags = flags.into_iter().filter_map(|(name, now)| Some((name.to_owned(), Value::Bool(now?)))).collect();
    let note = format!("the spec was changed at {at}, which made generation {}", change.generation);
    entry(row, change.generation, Actor::authenticated(user), flags, note)
}

/// The entry for changes up to a generation that nobody saw.
fn unseen(row: &mut TaskRow, up_to: i64) -> Change {
    let first = noted_generation(row) + 1;
    let which = if first == up_to { format!("generation {up_to}") } else { format!("generations {first} to {up_to}") };
    let note = format!("the spec was changed, which made {which}; nobody vouches for who did it, or how");
    entry(row, up_to, Actor::unknown(), Map::new(), note)
}

/// `flags` are what they became: they were the opposite.
fn entry(row: &mut TaskRow, generation: i64, actor: Actor, flags: Map<String, Value>, note: String) -> Change {
    let state = |generation: i64, mut flags: Map<String, Value>| {
        flags.insert("spec_generation".into(), generation.into());
        Some(Value::Object(flags))
    };
    let opposite = flags.iter().map(|(name, now)| (name.clone(), Value::Bool(*now != Value::Bool(true)))).collect();
    let before = state(row.spec_generation, opposite);
    row.spec_generation = generation;
    Change {
        actor,
        action: Action::Updated,
        entity_kind: EntityKind::Task,
        entity_id: row.id.to_string(),
        before,
        after: state(generation, flags),
        note: Some(note),
        trace_id: row.trace_id.clone(),
    }
}
