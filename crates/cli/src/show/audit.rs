//! Entries of the audit log, a line for each.

use jct_domain::shown::plain;
use serde_json::Value;

use crate::tasks::text;

/// An entry: when, who, what became of what, and why. One line, harmless: what it says may be anybody's.
pub fn line(entry: &Value) -> String {
    let state = |value: &Value| value["status"].as_str().map(str::to_owned);
    let change = match (state(&entry["before"]), state(&entry["after"])) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (None, Some(after)) => after,
        _ => denied(&entry["after"]),
    };
    let line = format!(
        "{}  {:<14} {:<5} {}  {} {}  {change}  {}",
        text(entry, "ts"),
        text(entry, "action"),
        text(entry, "entity_kind"),
        text(entry, "entity_id"),
        text(entry, "actor_kind"),
        text(entry, "actor_id"),
        text(entry, "note"),
    );
    plain(line.trim_end())
}

/// What was asked for and refused, and by which codes.
fn denied(after: &Value) -> String {
    let codes: Vec<&str> = after["codes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if codes.is_empty() {
        return String::new();
    }
    format!("{} {}/{} {}", text(after, "kind"), text(after, "namespace"), text(after, "name"), codes.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_one_harmless_line() {
        let entry = |before: Value, after: Value, note: &str| {
            line(&json!({
                "ts": "2026-03-01T12:00:00Z", "actor_kind": "human", "actor_id": "ada", "action": "status_changed",
                "entity_kind": "Task", "entity_id": "01KJMMA2G027CE4HT1RZKZBW4A", "before": before, "after": after, "note": note,
            }))
        };
        let changed = entry(json!({"status": "queued"}), json!({"status": "running"}), "");
        assert!(changed.ends_with("human ada  queued -> running"), "{changed}");
        let denied = json!({"kind": "Task", "namespace": "a", "name": "t", "codes": ["REPO_NOT_ALLOWED"]});
        assert!(entry(Value::Null, denied, "").ends_with("Task a/t REPO_NOT_ALLOWED"));
        let evil = entry(Value::Null, json!({"status": "a\u{1b}[2J\u{202e}\nb"}), "c\u{9b}\nd");
        assert!(!evil.chars().any(|c| c.is_control() || c == '\u{202e}'), "{evil:?}");
    }
}
