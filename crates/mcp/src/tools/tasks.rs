//! Asking for Tasks, and looking at them.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::arguments::Arguments;
use super::{Call, Refused};
use crate::advice;
use crate::rest_client::{ApiRequest, RestClient};

/// Between two looks at a Task that is followed.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is followed, if it is not said, in seconds.
const WAIT: u64 = 15;
/// How many events are told at once.
const EVENTS: &str = "100";

pub(super) async fn enqueue<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let mut task = Map::new();
    let requester = json!({"kind": "agent", "id": call.client});
    let mut target = json!({"repo": arguments.text("repo")});
    for name in ["ref", "path"] {
        if let Some(value) = arguments.value(name) {
            target[name] = value.clone();
        }
    }
    task.insert("requested_by".into(), requester);
    task.insert("target".into(), target);
    if let Some(seconds) = arguments.value("time_budget_seconds") {
        task.insert("constraints".into(), json!({"time_budget_seconds": seconds}));
    }
    for name in [
        "operation",
        "objective",
        "executor",
        "max_attempts",
        "inputs",
        "acceptance_criteria",
        "evidence_requirements",
        "idempotency_key",
    ] {
        task.extend(arguments.value(name).map(|value| (name.to_owned(), value.clone())));
    }
    let path = ApiRequest::list(call.client, "/tasks/enqueue", &[("namespace", call.namespace(arguments))]).path;
    let request =
        ApiRequest { method: Method::POST, path, body: Some(task.into()), range: None, client: call.client.into() };
    let answer = call.asked(request).await?;
    let body = answer.json();
    let is_there = answer.status == StatusCode::CONFLICT && body["error"] == "DUPLICATE" && body["task_id"].is_string();
    if !answer.status.is_success() && !is_there {
        return Err(advice::on(&answer));
    }
    let task = &body["task"];
    Ok(json!({
        "task_id": body["task_id"],
        "trace_id": body["trace_id"],
        "status": task["status"],
        "namespace": task["namespace"],
        "name": task["name"],
        "is_new": !is_there,
        "warnings": body["warnings"],
        "next": "call follow_task with this task_id until ended is true, then list_results",
    }))
}

pub(super) async fn list<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let limit = arguments.number("limit").unwrap_or(20).to_string();
    let parameters = [
        ("status", arguments.given("status")),
        ("operation", arguments.given("operation")),
        ("target_repo", arguments.given("repo")),
        ("namespace", call.namespace(arguments)),
        ("trace_id", arguments.given("trace_id")),
        ("limit", Some(limit)),
    ];
    let tasks = call.list("/tasks", &parameters).await?;
    let tasks: Vec<Value> = tasks.as_array().into_iter().flatten().map(brief).collect();
    Ok(
        json!({"tasks": tasks, "next": "get_task tells all of one, follow_task waits for its end, list_results has what it left"}),
    )
}

pub(super) async fn get<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    call.get(format!("/tasks/{}", arguments.text("task_id"))).await
}

pub(super) async fn follow<D: RestClient>(call: &Call<'_, D>, arguments: &Arguments) -> Result<Value, Refused> {
    let id = arguments.text("task_id");
    let wait = Duration::from_secs(arguments.number("wait_seconds").unwrap_or(WAIT)).min(call.patience);
    let until = Instant::now() + wait;
    let mut at = (arguments.number("attempt"), arguments.number("after").unwrap_or(0));
    loop {
        // The Task first: what it did before its end is then among the events.
        let task = call.get(format!("/tasks/{id}")).await?;
        let ended = ["completed", "failed", "cancelled"].contains(&task["status"].as_str().unwrap_or_default());
        let newest = newest_attempt(call, id).await;
        let attempt = at.0.or_else(|| newest.as_ref().ok().copied().flatten());
        let events = events(call, id, attempt, at.1).await;
        let nothing = events.as_ref().is_ok_and(Vec::is_empty);
        if let (true, Some(attempt), Ok(Some(newest))) = (nothing, attempt, &newest)
            && attempt < *newest
        {
            at = (Some(attempt + 1), 0);
            continue;
        }
        if ended || !nothing || Instant::now() >= until {
            return Ok(followed(&task, ended, attempt, at.1, events));
        }
        sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
    }
}

fn followed(task: &Value, ended: bool, attempt: Option<u64>, after: u64, events: Result<Vec<Value>, Refused>) -> Value {
    let last = events.as_ref().ok().and_then(|events| events.last()?["seq"].as_u64()).unwrap_or(after);
    let next = match ended {
        true => "it has ended: list_results has what it left, get_evidence what there is to show for it",
        false => "call follow_task again with this attempt and after",
    };
    let (events, note) = match events {
        Ok(events) => (events, Value::Null),
        Err(refused) => (Vec::new(), json!(format!("its events cannot be read: {refused}"))),
    };
    json!({"task": brief(task), "ended": ended, "attempt": attempt, "after": last, "events": events, "note": note, "next": next})
}

/// The number of the newest attempt, if there is one.
async fn newest_attempt<D: RestClient>(call: &Call<'_, D>, id: &str) -> Result<Option<u64>, Refused> {
    let attempts = call.get(format!("/tasks/{id}/trace")).await?;
    Ok(attempts.as_array().and_then(|attempts| attempts.last()?["attempt"].as_u64()))
}

async fn events<D: RestClient>(
    call: &Call<'_, D>,
    id: &str,
    attempt: Option<u64>,
    after: u64,
) -> Result<Vec<Value>, Refused> {
    let Some(attempt) = attempt else { return Ok(Vec::new()) };
    let parameters =
        [("attempt", Some(attempt.to_string())), ("after", Some(after.to_string())), ("limit", Some(EVENTS.into()))];
    let events = call.list(&format!("/tasks/{id}/events"), &parameters).await?;
    Ok(events.as_array().cloned().unwrap_or_default())
}

/// A Task in short.
fn brief(task: &Value) -> Value {
    let mut shown = Map::new();
    for name in [
        "task_id",
        "trace_id",
        "namespace",
        "name",
        "status",
        "operation",
        "created_at",
        "started_at",
        "completed_at",
        "error",
    ] {
        if !task[name].is_null() {
            shown.insert(name.into(), task[name].clone());
        }
    }
    shown.insert("repo".into(), task["target"]["repo"].clone());
    let title = task["objective"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
    shown.insert("title".into(), title.chars().take(200).collect::<String>().into());
    shown.into()
}
