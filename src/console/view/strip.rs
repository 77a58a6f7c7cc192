//! A Task's way, from request to seal.

use jiff::Timestamp;
use serde_json::Value;

use super::time::{Moment, between, parsed};
use super::{list, text};

/// One stage of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it is called.
    pub name: &'static str,
    /// Whether it is over, on, to come, or what went wrong.
    pub class: &'static str,
    /// When it was reached.
    pub at: Moment,
    /// What else is told of it.
    pub detail: String,
}

/// The way of `task`, of which `attempts` were made, as far as they may be seen.
pub fn of(task: &Value, attempts: &[Value], now: Timestamp) -> Vec<Stage> {
    let status = text(task, "/status");
    let has = |field: &str| task.pointer(field).and_then(parsed).is_some();
    let (queued, started, ended) = (has("/queued_at"), has("/started_at"), has("/completed_at"));
    let last = attempts.last();
    let sealed = last.is_some_and(|attempt| attempt["sealed"] == true);
    let stage = |name, reached: bool, next: bool, field: &str, detail: String| {
        let class = match (reached, next) {
            (_, true) => "now",
            (true, _) => "done",
            (false, false) => "todo",
        };
        Stage { name, class, at: Moment::of(task, field, now), detail }
    };
    let requester = format!("by {}", text(task, "/requested_by/id"));
    let waited = if started { between(task, "/queued_at", "/started_at", now) } else { None };
    let ran = if started { between(task, "/started_at", "/completed_at", now) } else { None };
    let mut stages = vec![
        stage("Requested", true, false, "/created_at", requester),
        stage("Let in", true, false, "/created_at", "by the gate, and recorded".into()),
        stage(
            "Queued",
            queued,
            !ended && queued && !started,
            "/queued_at",
            waited.map(|waited| format!("waited {waited}")).unwrap_or_default(),
        ),
        stage(
            "Running",
            started,
            status == "running",
            "/started_at",
            ran.map(|ran| format!("for {ran}")).unwrap_or_default(),
        ),
    ];
    if !queued && !ended {
        stages[1].class = "now";
        stages[1].detail = "waits to be queued".into();
    }
    let (name, class) = match status.as_str() {
        "completed" => ("Completed", "done"),
        "failed" => ("Failed", "bad"),
        "cancelled" => ("Cancelled", "off"),
        _ => ("Ended", "todo"),
    };
    let reason = text(task, "/error/reason");
    stages.push(Stage { name, class, at: Moment::of(task, "/completed_at", now), detail: reason });
    let files = last.map_or(0, |attempt| list(&attempt["files"]).len());
    stages.push(Stage {
        name: "Sealed",
        class: if sealed { "done" } else { "todo" },
        at: Moment::default(),
        detail: if sealed { format!("{files} files") } else { String::new() },
    });
    if ended {
        // What was passed over stays so.
        stages.iter_mut().take(4).filter(|stage| stage.class == "now").for_each(|stage| stage.class = "done");
    }
    stages
}

/// Why a Task does not run, in a sentence; as far as the record knows.
pub fn waits(task: &Value) -> &'static str {
    let has = |field: &str| task.pointer(field).and_then(parsed).is_some();
    match text(task, "/status").as_str() {
        "pending" if has("/queued_at") => "an attempt is about to start",
        "pending" => "suspended, or its attempt has not been created yet",
        "queued" if has("/started_at") => "waits for its next attempt",
        "queued" => "its Job waits for a pod: a place on a node, its image or its volume",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classes(task: Value, attempts: &[Value]) -> String {
        let now = "2026-03-01T12:01:00Z".parse().unwrap();
        let stages = of(&task, attempts, now);
        stages.iter().map(|stage| format!("{} {}", stage.name, stage.class)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_way_shows_where_a_task_is() {
        let at = |second: u32| json!(format!("2026-03-01T12:00:{second:02}Z"));
        let pending = json!({"status": "pending", "created_at": at(0)});
        assert_eq!(
            classes(pending, &[]),
            "Requested done, Let in now, Queued todo, Running todo, Ended todo, Sealed todo"
        );
        let queued = json!({"status": "queued", "created_at": at(0), "queued_at": at(1)});
        assert_eq!(
            classes(queued, &[]),
            "Requested done, Let in done, Queued now, Running todo, Ended todo, Sealed todo"
        );
        let running = json!({"status": "running", "created_at": at(0), "queued_at": at(1), "started_at": at(2)});
        assert_eq!(
            classes(running, &[]),
            "Requested done, Let in done, Queued done, Running now, Ended todo, Sealed todo"
        );
        let failed = json!({"status": "failed", "created_at": at(0), "queued_at": at(1), "started_at": at(2), "completed_at": at(9)});
        assert_eq!(
            classes(failed, &[json!({"sealed": true, "files": []})]),
            "Requested done, Let in done, Queued done, Running done, Failed bad, Sealed done"
        );
        let cancelled = json!({"status": "cancelled", "created_at": at(0), "completed_at": at(9)});
        assert_eq!(
            classes(cancelled, &[]),
            "Requested done, Let in done, Queued todo, Running todo, Cancelled off, Sealed todo"
        );
    }
}
