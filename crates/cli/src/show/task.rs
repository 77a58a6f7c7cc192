//! Tasks in tables, and one Task.

use jct_domain::shown::plain;
use jiff::Timestamp;
use serde_json::Value;

use super::table::{Cell, Table};
use super::{Style, time};
use crate::tasks::text;

/// Tasks, a row for each.
pub fn table(tasks: &[Value], wide: bool, with_namespace: bool, now: Timestamp, style: Style) -> String {
    let mut head = vec!["NAME", "STATUS", "REASON", "OPERATION", "REPO", "DURATION", "AGE"];
    if with_namespace {
        head.insert(0, "NAMESPACE");
    }
    if wide {
        head.extend(["SUBMITTED BY", "ID", "TRACE ID"]);
    }
    let mut table = Table::new(&head);
    for task in tasks {
        let cell = |value: &Value| Cell::from(plain(value.as_str().unwrap_or("-")));
        let status = plain(text(task, "status"));
        let ended = time::parsed(&task["completed_at"]);
        let mut row = vec![
            cell(&task["name"]),
            Cell::styled(&status, style.status(&status)),
            cell(&task["error"]["reason"]),
            cell(&task["operation"]),
            cell(&task["target"]["repo"]),
            time::between(&task["started_at"], ended.or(Some(now))).into(),
            time::between(&task["created_at"], Some(now)).into(),
        ];
        if with_namespace {
            row.insert(0, cell(&task["namespace"]));
        }
        if wide {
            row.extend([cell(&task["submitted_by"]), cell(&task["id"]), cell(&task["trace_id"])]);
        }
        table.row(row);
    }
    table.text()
}

/// One Task, a line for each thing that is to be known of it.
pub fn detail(task: &Value, style: Style) -> String {
    let mut lines = String::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() && value != "-" {
            lines.push_str(&format!("{:<13} {value}\n", format!("{name}:")));
        }
    };
    let of = |field: &str| plain(text(task, field));
    put("Name", of("name"));
    put("Namespace", of("namespace"));
    put("Id", of("id"));
    put("Trace id", of("trace_id"));
    put("Status", style.status(&of("status")));
    if let Some(error) = task["error"].as_object() {
        let part = |field: &str| plain(error.get(field).and_then(Value::as_str).unwrap_or_default());
        put("Reason", format!("{}: {}", part("reason"), part("message")));
    }
    put("Result", plain(task["result"]["summary"].as_str().unwrap_or_default()));
    put("Operation", of("operation"));
    let target = &task["target"];
    let path = match plain(text(target, "path")) {
        path if path.is_empty() => path,
        path => format!(", in {path}"),
    };
    put("Repository", format!("{} at {}{path}", plain(text(target, "repo")), plain(text(target, "ref"))));
    put("Objective", of("objective"));
    let requester = &task["requested_by"];
    put("Requested by", format!("{} {}", plain(text(requester, "kind")), plain(text(requester, "id"))));
    put("Submitted by", of("submitted_by"));
    for (name, field) in [("Created", "created_at"), ("Started", "started_at"), ("Ended", "completed_at")] {
        put(name, time::second(&task[field]));
    }
    put("Trace", of("trace_path"));
    if !task["trace_removed_at"].is_null() {
        put("Removed", format!("the trace, at {}", time::second(&task["trace_removed_at"])));
    }
    lines
}

/// Where people see a Task, as [`detail`] has its lines; nothing where nobody knows.
pub fn page(page: Option<&str>) -> String {
    page.map(|page| format!("{:<13} {}\n", "Page:", plain(page))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn two() -> [Value; 2] {
        let one = json!({
            "id": "01KJMMA2G027CE4HT1RZKZBW4A", "trace_id": "4bf92f3577b34da6", "name": "analysis", "namespace": "team",
            "status": "failed", "operation": "analysis", "target": {"repo": "octo/hello", "ref": "main", "path": "src"},
            "objective": "Look\u{1b}[2J around", "requested_by": {"kind": "human", "id": "ada"}, "submitted_by": "ada@example.org",
            "created_at": "2026-03-01T12:00:00Z", "started_at": "2026-03-01T12:00:02Z", "completed_at": "2026-03-01T12:00:08Z",
            "error": {"reason": "ExecutorFailed", "message": "it exited with 3"}, "result": null,
            "trace_path": "team/01KJMMA2G027CE4HT1RZKZBW4A/1", "trace_removed_at": null,
        });
        let mut other = one.clone();
        other["name"] = json!("a-much-longer-name");
        for (field, value) in [("status", json!("running")), ("completed_at", Value::Null), ("error", Value::Null)] {
            other[field] = value;
        }
        [one, other]
    }

    #[test]
    fn tasks_stand_in_a_table() {
        let now = "2026-03-01T12:05:00Z".parse().unwrap();
        let narrow = table(&two(), false, false, now, Style::default());
        let wide = table(&two(), true, true, now, Style::default());
        insta::assert_snapshot!(format!("{narrow}\n{wide}\n{}", detail(&two()[0], Style::default())));
    }
}
