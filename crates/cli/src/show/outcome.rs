//! How a Task ended, and where to read what it made.

use jct_domain::shown::plain;
use serde_json::Value;

use super::{Style, bytes, time};
use crate::tasks::text;

/// How many artifacts are named.
const NAMED: usize = 8;

/// The end of a Task, with its newest attempt if that may be read.
pub fn shown(task: &Value, attempt: Option<&Value>, style: Style) -> String {
    let (name, status) = (plain(text(task, "name")), text(task, "status"));
    let took = time::between(&task["created_at"], time::parsed(&task["completed_at"]));
    let after = if took == "-" { String::new() } else { format!(" after {took}") };
    let mut lines =
        format!("Task {} ({}) {}{after}\n", style.bold(&name), plain(text(task, "id")), style.status(&plain(status)));
    let mut put = |name: &str, value: String| lines.push_str(&format!("  {name:<10} {value}\n"));
    if let Some(error) = task["error"].as_object() {
        let part = |field: &str| plain(error.get(field).and_then(Value::as_str).unwrap_or_default());
        put("reason", format!("{}: {}", style.red(&part("reason")), part("message")));
    }
    if let Some(summary) = task["result"]["summary"].as_str() {
        put("summary", plain(summary));
    }
    let files = attempt.and_then(|attempt| attempt["files"].as_array());
    let artifacts: Vec<(&str, u64)> = files
        .into_iter()
        .flatten()
        .filter_map(|file| Some((text(file, "path").strip_prefix("artifacts/")?, file["size_bytes"].as_u64()?)))
        .collect();
    if !artifacts.is_empty() {
        let named = artifacts.iter().take(NAMED).map(|(path, size)| format!("{} ({})", plain(path), bytes(*size)));
        let more = artifacts.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        put("artifacts", format!("{}{more}", named.collect::<Vec<_>>().join(", ")));
    }
    if let Some(attempt) = attempt.filter(|attempt| attempt["sealed"] == true) {
        let digest: String = text(attempt, "manifest_sha256").chars().take(12).collect();
        let verified =
            if attempt["verified"] == true { "announced by its worker" } else { "not announced by its worker" };
        put("trace", format!("attempt {}, sealed as {digest}…, {verified}", attempt["attempt"]));
    }
    for (command, what) in next(task, &artifacts) {
        lines.push_str(
            &style.dim(&format!("  kubectl jct {command} --namespace {} {name}", plain(text(task, "namespace")))),
        );
        lines.push_str(&style.dim(&format!("  # {what}\n")));
    }
    lines
}

/// What can be done now.
fn next(task: &Value, artifacts: &[(&str, u64)]) -> Vec<(&'static str, &'static str)> {
    let has = |name: &str| artifacts.iter().any(|(path, _)| *path == name);
    let mut next = Vec::new();
    if has("report.md") {
        next.push(("report", "the report"));
    }
    if has("change.patch") {
        next.push(("diff", "the change"));
    }
    match text(task, "status") {
        "failed" | "cancelled" => next.extend([("logs", "what happened"), ("retry", "once more")]),
        "completed" => {}
        _ => next.extend([("logs --follow", "what happens"), ("cancel", "end it")]),
    }
    next.push(("why", "the whole story"));
    next
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(change: &Value) -> Value {
        let mut task = json!({
            "id": "01KJMMA2G027CE4HT1RZKZBW4A", "name": "analysis", "namespace": "team", "status": "completed",
            "created_at": "2026-03-01T12:00:00Z", "completed_at": "2026-03-01T12:00:08Z", "error": null,
            "result": {"summary": "analysed 1 files"},
        });
        for (name, value) in change.as_object().unwrap() {
            task[name] = value.clone();
        }
        task
    }

    #[test]
    fn an_end_tells_what_to_do_next() {
        let files = json!([
            {"path": "artifacts/report.md", "size_bytes": 1536}, {"path": "artifacts/change.patch", "size_bytes": 10},
            {"path": "task.json", "size_bytes": 10},
        ]);
        let attempt =
            json!({"attempt": 1, "sealed": true, "verified": true, "manifest_sha256": "ab".repeat(32), "files": files});
        let failed = json!({
            "status": "failed", "result": null, "error": {"reason": "ExecutorFailed", "message": "it exited with \u{1b}[2J3"},
        });
        insta::assert_snapshot!(
            [
                shown(&task(&json!({})), Some(&attempt), Style::default()),
                shown(&task(&failed), None, Style::default()),
                shown(
                    &task(&json!({"status": "running", "completed_at": null, "result": null})),
                    None,
                    Style::default()
                ),
            ]
            .join("\n")
        );
    }
}
