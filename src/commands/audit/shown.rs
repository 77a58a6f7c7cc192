//! Entries, shown.

use serde_json::Value;

use crate::domain::audit::Entry;
use crate::domain::shown::{plain, plain_json};

/// One object, harmless to a terminal.
pub(super) fn json(entry: &Entry) -> serde_json::Result<String> {
    Ok(plain_json(&serde_json::to_string(entry)?))
}

/// Where the entity was and is; of a denial, the codes. Harmless to a terminal, and one line: what it says may be anybody's.
pub(super) fn line(entry: &Entry) -> String {
    let state = |value: &Option<Value>| {
        value.as_ref().and_then(|value| value.get("status")).and_then(|status| status.as_str().map(str::to_owned))
    };
    let change = match (state(&entry.before), state(&entry.after)) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (None, Some(after)) => after,
        _ => denied(entry),
    };
    let line = format!(
        "{:.6}  {:<14} {:<5} {}  {} {}  {}  {}",
        entry.ts,
        entry.action,
        entry.entity_kind,
        entry.entity_id,
        entry.actor.kind,
        entry.actor.id,
        change,
        entry.note.as_deref().unwrap_or_default()
    );
    plain(line.trim_end())
}

/// What was asked for and refused, and by which codes.
fn denied(entry: &Entry) -> String {
    let text = |name: &str| entry.after.as_ref().and_then(|after| after.get(name)).and_then(Value::as_str);
    let name = text("name").map(str::to_owned).or_else(|| text("generate_name").map(|prefix| format!("{prefix}*")));
    let what = match (text("namespace"), name) {
        (Some(namespace), Some(name)) => format!("{} {namespace}/{name}  ", text("kind").unwrap_or_default()),
        (Some(namespace), None) => format!("{} in {namespace}  ", text("kind").unwrap_or_default()),
        (None, _) => String::new(),
    };
    let codes = entry.after.as_ref().and_then(|after| after.get("codes")).and_then(Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(Value::as_str);
    format!("{what}{}", codes.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_what_was_asked_for() {
        let denied = |after: Value| {
            let entry: Entry = serde_json::from_value(serde_json::json!({
                "id": "01KJMMA2G027CE4HT1RZKZBW4A", "ts": "2026-03-01T12:00:00Z", "actor_kind": "human", "actor_id": "ada",
                "action": "created", "entity_kind": "AdmissionDenial", "entity_id": "u", "before": null, "after": after,
                "note": null, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            }))
            .unwrap();
            line(&entry)
        };
        let codes = serde_json::json!(["REPO_NOT_ALLOWED"]);
        let named = denied(serde_json::json!({"kind": "Task", "namespace": "team-a", "name": "t", "codes": codes}));
        assert!(named.ends_with("human ada  Task team-a/t  REPO_NOT_ALLOWED"), "{named}");
        let to_be_named =
            denied(serde_json::json!({"kind": "Task", "namespace": "a", "generate_name": "t-", "codes": codes}));
        assert!(to_be_named.ends_with("Task a/t-*  REPO_NOT_ALLOWED"), "{to_be_named}");
    }

    #[test]
    fn nothing_in_an_entry_acts_on_the_terminal() {
        let evil = "a\u{1b}[2J\u{9b}\u{202e}b\nintact: 1 entries";
        let entry: Entry = serde_json::from_value(serde_json::json!({
            "id": "01KJMMA2G027CE4HT1RZKZBW4A", "ts": "2026-03-01T12:00:00Z", "actor_kind": "human", "actor_id": evil,
            "action": "created", "entity_kind": "AdmissionDenial", "entity_id": evil, "before": null,
            "after": {"codes": [evil], "status": evil}, "note": evil, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        }))
        .unwrap();
        let acts = |text: &str| text.chars().any(|c| c.is_control() || c == '\u{202e}');
        assert!(acts(&serde_json::to_string(&entry).unwrap()), "a control");
        assert!(!acts(&line(&entry)), "{:?}", line(&entry));
        assert!(line(&entry).contains(r"a\u{1b}[2J\u{9b}\u{202e}b intact"), "{}", line(&entry));
        let shown = json(&entry).unwrap();
        assert!(!acts(&shown), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["note"], evil);
    }
}
