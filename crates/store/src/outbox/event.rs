//! The events of what is recorded.

use serde_json::{Map, Value, json};

use crate::rows::{is_nothing, stored, without_nul};
use crate::{Refusal, TaskRow};
use jct_domain::Id;
use jct_domain::notification::{Event, EventType};
use jct_domain::shown::cut;

/// The longest text of others that is told, in characters.
const LONGEST: usize = 1_000;

/// The end of a Task: none if it has not ended.
pub(crate) fn of_end(task: &TaskRow) -> Option<Event> {
    let kind = EventType::of_end(task.phase)?;
    let time = task.completed_at?;
    let error = task.error.as_ref();
    let seconds = |from: jiff::Timestamp| time.duration_since(from).as_secs().max(0);
    let summary = task.result.as_ref().and_then(|result| result.get("summary")).and_then(Value::as_str);
    let data = json!({
        "task_id": task.id,
        "namespace": task.namespace,
        "name": task.name,
        "trace_id": task.trace_id,
        "title": task.task.objective.lines().next().map(shortened),
        "operation": task.task.operation,
        "repo": task.task.target.repo,
        "ref": task.task.target.git_ref,
        "requested_by": task.task.requested_by.id,
        "submitted_by": task.submitted_by,
        "status": task.phase,
        "reason": error.map(|error| &error.reason),
        "message": error.map(|error| shortened(&error.message)),
        "summary": summary.map(shortened),
        "attempts": task.attempt,
        "commit": task.commit,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "completed_at": time,
        "duration_seconds": task.started_at.map(seconds),
        "manifest_sha256": task.manifest_sha256,
        "cwom_issue_id": task.cwom_issue_id,
    });
    Some(Event {
        id: Id::derive_for(time, &task.id.to_string(), &format!("event/ended/{}", task.attempt)),
        kind,
        namespace: task.namespace.clone(),
        subject: format!("tasks/{}", task.name),
        time,
        operation: Some(task.task.operation),
        data: fields(data),
    })
}

/// The end of a Task that the gate refused when the object was there already.
pub(crate) fn of_refusal(refusal: &Refusal) -> Event {
    let time = stored(refusal.refused_at);
    let first = refusal.findings.first();
    let data = json!({
        "task_id": refusal.id,
        "namespace": refusal.namespace,
        "name": refusal.name,
        "trace_id": refusal.trace_id,
        "submitted_by": refusal.actor.id,
        "status": "failed",
        "reason": first.map(|finding| finding.code),
        "message": first.map(|finding| shortened(&finding.message)),
        "attempts": 0,
        "completed_at": time,
    });
    Event {
        id: Id::derive_for(time, &refusal.id.to_string(), "event/refused"),
        kind: EventType::TaskFailed,
        namespace: refusal.namespace.clone(),
        subject: format!("tasks/{}", refusal.name),
        time,
        operation: None,
        data: fields(data),
    }
}

/// What is known of them.
fn fields(data: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = data else { return Map::new() };
    fields.retain(|_, value| !is_nothing(value));
    fields
}

fn shortened(text: &str) -> String {
    cut(&without_nul(text.trim().to_owned()), LONGEST)
}
