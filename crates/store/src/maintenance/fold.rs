//! What the audit log says of one entity, entry after entry: the state that its row must have. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::contents::taken_out as in_digests;
use crate::cwom::{LINKS, MADE_FOR, STATE_SHA256, state_digest};
use crate::rows::plain;
use jct_domain::audit::Action;
use jct_domain::cwom::Kind;
use jct_domain::id::sha256_hex;

/// Where a large part was, with its digest, in place of the part itself.
const CONTENTS: &str = "contents";
/// Of a Task that was created: what the record has besides what REST shows.
const RECORD: &str = "record";
/// In place of a time that an entry does not name.
const SOME_TIME: &str = "some time";

/// The state of an entity as far as the log has told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fold {
    state: Map<String, Value>,
    contents: Map<String, Value>,
    /// An entry says that it was created.
    pub(super) is_created: bool,
    /// That entry tells every column.
    is_complete: bool,
    /// Retention has removed it.
    pub(super) is_removed: bool,
    /// That entry tells a digest of it.
    made: Option<Made>,
}

/// An object that was told by the digest of what it was at first.
#[derive(Clone, Debug, PartialEq)]
struct Made {
    sha256: String,
    /// The fields that have changed since, and the large parts within them, as they were at first.
    first: Map<String, Value>,
    first_contents: Map<String, Value>,
    /// Their names, also of those that were not there.
    changed: BTreeSet<String>,
}

impl Made {
    /// Takes a change of it, which tells what was before.
    fn change(&mut self, before: &Map<String, Value>, after: &Map<String, Value>) {
        let names: BTreeSet<String> = [before, after].into_iter().flat_map(names).collect();
        for name in names {
            if !self.changed.insert(name.clone()) {
                continue;
            }
            self.first.extend(before.get(&name).map(|value| (name.clone(), value.clone())));
            let parts = before.get(CONTENTS).and_then(Value::as_object).into_iter().flatten();
            let of_it = parts.filter(|(at, _)| first(at) == name);
            self.first_contents.extend(of_it.map(|(at, digest)| (at.clone(), digest.clone())));
        }
    }

    /// Whether `row` is what it was at first, but for what has changed.
    fn is(self, row: &Value, kind: Kind) -> bool {
        let Value::Object(mut state) = in_digests(kind.into(), row.clone()) else { return false };
        let mut contents = match state.remove(CONTENTS) {
            Some(Value::Object(contents)) => contents,
            _ => Map::new(),
        };
        state.retain(|name, _| !self.changed.contains(name));
        contents.retain(|at, _| !self.changed.contains(first(at)));
        state.extend(self.first);
        contents.extend(self.first_contents);
        if !contents.is_empty() {
            state.insert(CONTENTS.into(), contents.into());
        }
        state_digest(kind, state) == self.sha256
    }
}

/// The fields that a change names.
fn names(fields: &Map<String, Value>) -> impl Iterator<Item = String> {
    let within = fields.get(CONTENTS).and_then(Value::as_object).into_iter();
    let within = within.flat_map(|contents| contents.keys()).map(|at| first(at).to_owned());
    fields.keys().filter(|name| *name != CONTENTS).cloned().chain(within)
}

/// How the row of an entity is compared.
pub(super) struct Compared<'c> {
    /// Fields that entries of the entity do not bind, or that are bound elsewhere; `a.b` is a field within one.
    pub(super) left_out: &'c [&'c str],
    /// Fields that the first entry did not tell in earlier versions; `a.b` is one that no entry did.
    pub(super) unlogged: &'c [&'c str],
    /// Where it says when the object was deleted.
    pub(super) deleted_at: &'c str,
    /// Its first entry tells columns that are not shown in a field of their own.
    pub(super) tells_record: bool,
    /// The mark of a second row, which no digest covers.
    pub(super) mark: &'c str,
    /// Of work objects.
    pub(super) kind: Option<Kind>,
    /// Fields of a later version that are false, 0 or empty in what is older.
    pub(super) later: &'c [&'c str],
}

impl Fold {
    /// Takes the next entry.
    pub(super) fn apply(
        &mut self,
        action: Action,
        before: Option<Value>,
        after: Option<Value>,
        compared: &Compared<'_>,
    ) {
        match (action, after) {
            (Action::Created, Some(Value::Object(mut created))) => {
                *self = Self { is_created: true, ..Self::default() };
                if compared.tells_record
                    && let Some(Value::Object(record)) = created.remove(RECORD)
                {
                    self.is_complete = true;
                    created.extend(record);
                }
                created.remove(MADE_FOR);
                created.remove(LINKS);
                if let Some(Value::String(sha256)) = created.remove(STATE_SHA256) {
                    let (first, first_contents) = (Map::new(), Map::new());
                    self.made = Some(Made { sha256, first, first_contents, changed: BTreeSet::new() });
                }
                self.set(created);
            }
            (Action::Deleted, None) => self.set_at(compared.deleted_at, SOME_TIME.into()),
            (Action::Deleted, Some(_)) => self.is_removed = true,
            (Action::Updated | Action::StatusChanged, Some(Value::Object(after))) => {
                let before = if let Some(Value::Object(before)) = before { before } else { Map::new() };
                if let Some(made) = &mut self.made {
                    made.change(&before, &after);
                }
                self.forget(&before);
                self.forget(&after);
                self.set(after);
            }
            _ => {}
        }
    }

    fn set(&mut self, mut fields: Map<String, Value>) {
        if let Some(Value::Object(contents)) = fields.remove(CONTENTS) {
            self.contents.extend(contents);
        }
        self.state.extend(fields);
    }

    fn set_at(&mut self, path: &str, value: Value) {
        match path.split_once('.') {
            None => drop(self.state.insert(path.into(), value)),
            Some((outer, inner)) => {
                let outer = self.state.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(fields) = outer {
                    fields.insert(inner.into(), value);
                }
            }
        }
    }

    /// These fields are others now, or gone.
    fn forget(&mut self, fields: &Map<String, Value>) {
        for name in names(fields) {
            self.state.remove(&name);
            self.contents.retain(|at, _| first(at) != name);
        }
    }

    /// The fields in which `row` is not what the log says.
    pub(super) fn differences(mut self, row: Value, compared: &Compared<'_>) -> Vec<String> {
        let mut row = row;
        let mut differ = Vec::new();
        let made = self.made.take();
        let is_made = made.is_some();
        if let Some((made, kind)) = made.zip(compared.kind) {
            let mut there = row.clone();
            for path in compared.left_out.iter().chain([&compared.mark]) {
                take(&mut there, &format!("/{path}"));
            }
            if !made.is(&there, kind) {
                differ.push("content".to_owned());
            }
        }
        for (at, digest) in std::mem::take(&mut self.contents) {
            let there = take(&mut row, &at).map(|part| match part {
                Value::String(text) => sha256_hex(text.as_bytes()),
                part => sha256_hex(part.to_string().as_bytes()),
            });
            if there.as_deref() != digest.get("sha256").and_then(Value::as_str) {
                differ.push(first(&at).to_owned());
            }
        }
        let mut logged = Value::Object(self.state);
        for path in compared.left_out {
            let pointer = format!("/{}", path.replace('.', "/"));
            take(&mut logged, &pointer);
            take(&mut row, &pointer);
        }
        for path in compared.unlogged.iter().filter(|path| path.contains('.')) {
            let pointer = format!("/{}", path.replace('.', "/"));
            if logged.pointer(&pointer).is_none() {
                take(&mut row, &pointer);
            }
        }
        let deleted_at = format!("/{}", compared.deleted_at.replace('.', "/"));
        if logged.pointer(&deleted_at).and_then(Value::as_str) == Some(SOME_TIME)
            && row.pointer(&deleted_at).is_some_and(|time| !time.is_null())
        {
            take(&mut logged, &deleted_at);
            take(&mut row, &deleted_at);
        }
        let (Value::Object(logged), Value::Object(row)) = (logged, row) else { return vec!["everything".into()] };
        for (name, value) in &row {
            let is_same = match logged.get(name) {
                // Entries about work objects leave out what is empty.
                Some(logged) if compared.kind.is_some() => plain(logged.clone()) == plain(value.clone()),
                Some(logged) => logged == value,
                None => {
                    is_nothing(value)
                        || is_made && name != compared.mark
                        || !self.is_complete && compared.unlogged.contains(&name.as_str())
                        || compared.later.contains(&name.as_str()) && is_default(value)
                }
            };
            if !is_same {
                differ.push(name.clone());
            }
        }
        // What an earlier version told, and this one has no column for, is no difference.
        differ.sort_unstable();
        differ.dedup();
        differ
    }
}

/// The first name of a JSON pointer.
fn first(pointer: &str) -> &str {
    pointer.split('/').nth(1).unwrap_or_default()
}

/// Whether nothing is known: such fields are not told. What is false, 0 or an empty text within an object that nothing is told of is by
/// default.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.values().all(is_default),
        _ => false,
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.values().all(is_default),
    }
}

/// Takes out what a JSON pointer leads to.
fn take(json: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    json.pointer_mut(parent)?.as_object_mut()?.remove(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TASK: Compared<'_> = Compared {
        left_out: &["trace_removed_at"],
        unlogged: &["executor"],
        deleted_at: "deleted_at",
        tells_record: true,
        mark: "duplicate_of",
        kind: None,
        later: &[],
    };

    fn fold(entries: &[(Action, Value, Value)]) -> Fold {
        let mut fold = Fold::default();
        for (action, before, after) in entries {
            let some = |value: &Value| Some(value.clone()).filter(|value| !value.is_null());
            fold.apply(*action, some(before), some(after), &TASK);
        }
        fold
    }

    #[test]
    fn the_last_word_counts() {
        let logged = fold(&[
            (Action::Created, Value::Null, json!({"status": "pending", "name": "a", "result": null})),
            (Action::StatusChanged, json!({"status": "pending"}), json!({"status": "queued", "attempt": 1})),
            (Action::Updated, json!({"note": "x"}), json!({})),
        ]);
        let row = json!({"status": "queued", "name": "a", "attempt": 1, "result": null, "trace_removed_at": "now"});
        assert_eq!(logged.clone().differences(row.clone(), &TASK), [] as [&str; 0]);
        let mut changed = row.clone();
        changed["status"] = "completed".into();
        changed["result"] = json!({"summary": "done"});
        assert_eq!(logged.clone().differences(changed, &TASK), ["result", "status"]);
        let mut removed = row;
        removed["attempt"] = 0.into();
        assert_eq!(logged.differences(removed, &TASK), ["attempt"]);
    }

    #[test]
    fn what_was_never_told_is_nothing_or_of_an_earlier_version() {
        let created = |record: Value| (Action::Created, Value::Null, json!({"name": "a", "record": record}));
        let row = |executor: &str| json!({"name": "a", "uid": "u", "executor": executor});
        let earlier = fold(&[(Action::Created, Value::Null, json!({"name": "a", "uid": "u"}))]);
        assert_eq!(earlier.clone().differences(row("mine"), &TASK), [] as [&str; 0]);
        assert_eq!(earlier.differences(json!({"name": "a", "uid": "u", "error": "x"}), &TASK), ["error"]);
        let now = fold(&[created(json!({"uid": "u", "executor": "yours"}))]);
        assert_eq!(now.clone().differences(row("yours"), &TASK), [] as [&str; 0]);
        assert_eq!(now.differences(row("mine"), &TASK), ["executor"]);
    }

    #[test]
    fn large_parts_are_held_against_their_digests() {
        let digest = |text: &str| json!({"sha256": sha256_hex(text.as_bytes()), "size_bytes": text.len()});
        let logged = fold(&[
            (
                Action::Created,
                Value::Null,
                json!({"meta": {"a": 1}, "inputs": {"list": [{}]},
                "contents": {"/inputs/list/0/inline": digest("text")}}),
            ),
            (Action::Updated, json!({"meta": {"a": 1}}), json!({"contents": {"/meta": digest("{\"a\":2}")}})),
        ]);
        let row = |meta: Value, inline: &str| json!({"meta": meta, "inputs": {"list": [{"inline": inline}]}});
        assert_eq!(logged.clone().differences(row(json!({"a": 2}), "text"), &TASK), [] as [&str; 0]);
        assert_eq!(logged.clone().differences(row(json!({"a": 3}), "text"), &TASK), ["meta"]);
        assert_eq!(logged.clone().differences(row(json!({"a": 2}), "test"), &TASK), ["inputs"]);
        let mut small_again = logged;
        let before = json!({"contents": {"/meta": digest("{\"a\":2}")}});
        small_again.apply(Action::Updated, Some(before), Some(json!({"meta": {}})), &TASK);
        assert_eq!(small_again.differences(row(json!({}), "text"), &TASK), [] as [&str; 0]);
    }

    #[test]
    fn a_deletion_tells_no_time_and_can_be_taken_back() {
        let mut logged = fold(&[(Action::Created, Value::Null, json!({"name": "a"}))]);
        logged.apply(Action::Deleted, None, None, &TASK);
        assert_eq!(logged.clone().differences(json!({"name": "a", "deleted_at": "now"}), &TASK), [] as [&str; 0]);
        assert_eq!(logged.clone().differences(json!({"name": "a", "deleted_at": null}), &TASK), ["deleted_at"]);
        logged.apply(Action::Updated, Some(json!({"deleted_at": "now"})), Some(json!({"deleted_at": null})), &TASK);
        assert_eq!(logged.differences(json!({"name": "a", "deleted_at": null}), &TASK), [] as [&str; 0]);
    }
}
