//! What an audit entry says of before and after, as a difference.

use serde_json::Value;

use super::{cut, plain};

/// How many fields are shown, and how much of each.
const FIELDS: usize = 200;
const VALUE: usize = 2_000;

/// A field that differs, or is there on one side alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it is: `spec.target.repo`.
    pub field: String,
    /// What it was; none if it was not there.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

/// What differs between two states.
pub fn between(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    walk(
        "",
        Some(before).filter(|value| !value.is_null()),
        Some(after).filter(|value| !value.is_null()),
        0,
        &mut changes,
    );
    changes
}

fn walk(at: &str, before: Option<&Value>, after: Option<&Value>, depth: usize, changes: &mut Vec<Change>) {
    if before == after || changes.len() >= FIELDS {
        return;
    }
    let fields = |value: Option<&Value>| match value {
        Some(Value::Object(fields)) => Some(fields.keys().cloned().collect::<Vec<_>>()),
        None => Some(Vec::new()),
        Some(_) => None,
    };
    if let (Some(old), Some(new)) = (fields(before), fields(after))
        && depth < 8
        && !(old.is_empty() && new.is_empty())
    {
        let mut names = [old, new].concat();
        names.sort();
        names.dedup();
        for name in names {
            let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let of = |value: Option<&Value>| {
                value.and_then(|value| value.get(&name)).filter(|value| !value.is_null()).cloned()
            };
            walk(&below, of(before).as_ref(), of(after).as_ref(), depth + 1, changes);
        }
        return;
    }
    let detail = |value: &Value| cut(&plain(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)), VALUE);
    changes.push(Change { field: cut(&plain(at), 200), before: before.map(detail), after: after.map(detail) });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_field_by_field() {
        let before = json!({"status": "queued", "same": 1, "spec": {"a": 1, "b": [1]}, "gone": "x"});
        let after = json!({"status": "running", "same": 1, "spec": {"a": 1, "b": [1, 2]}, "new": null});
        let detail: Vec<_> = between(&before, &after)
            .into_iter()
            .map(|change| {
                format!(
                    "{}: {:?} {:?}",
                    change.field,
                    change.before.as_deref().unwrap_or("-"),
                    change.after.as_deref().unwrap_or("-")
                )
            })
            .collect();
        assert_eq!(detail, ["gone: \"x\" \"-\"", "spec.b: \"[1]\" \"[1,2]\"", "status: \"queued\" \"running\""]);
        assert_eq!(between(&Value::Null, &json!({"a": 1}))[0].before, None);
        assert_eq!(between(&json!({}), &json!({})), []);
    }
}
