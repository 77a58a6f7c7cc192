//! Answering a Task that waits for more of its budget of models.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::find;
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::body::Unread;
use crate::api::error::Problem;
use crate::api::query::{Params, PathId};
use crate::domain::model::{Granted, Limits, Usd};
use crate::domain::{Code, Finding, Id};
use crate::store::{AuditQuery, BudgetDecision, DecideBudget, HoldState, NotWaiting, Page, TaskRow, task_account};

/// Of what somebody did on a trace, so many entries are looked at.
const MOST_ENTRIES: u32 = 100;

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    decision: Decision,
    max_usd: Option<Usd>,
    max_tokens: Option<u64>,
    max_requests: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Raise,
    End,
}

/// Answer a Task that waits for more of its budget of models
///
/// `raise` gives it new limits, which are for all of its attempts together and within what its grant has for a day; `end` gives it
/// none, and the attempt ends as `ModelBudgetExceeded`. Needs the right to `update` `tasks/budget`, and to be nobody of the Task's
/// chain: who asked for it, made its work objects or changed it.
#[utoipa::path(post, path = "/tasks/{id}/budget", tag = "tasks", operation_id = "decide_budget",
    params(("id" = String, Path, description = "Its ULID")),
    request_body(content = ref("#/components/schemas/BudgetDecision"), content_type = "application/json"),
    responses(
        (status = 200, description = "Decided", body = ref("#/components/schemas/BudgetDecided")),
        (status = 403, description = "The right is missing, or the caller is of the Task's chain (`second_person`)", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "There is no such Task, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "It does not wait", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "The body does not fit, or is more than the grant has (`BUDGET_TOO_HIGH`)", body = ref("#/components/schemas/Problem"))))]
pub async fn decide(
    State(api): State<Api>,
    caller: Caller,
    id: PathId,
    query: Params,
    unread: Unread,
) -> Result<Response, Problem> {
    query.finish()?;
    let row = find(&api, &caller, "get", &id).await?;
    api.access.require(&caller, &Right::resource("update", "tasks/budget", Some(&row.namespace))).await?;
    let json = unread.json(&api.room, &caller).await?;
    let asked: Asked = serde_json::from_value(json.value.clone())
        .map_err(|error| Problem::invalid("", format!("the body does not fit: {error}")))?;
    if is_of_the_chain(&api, &caller, &row).await? {
        let message =
            "who asked for a Task, made its work objects or changed it does not raise its budget: somebody else has to";
        return Err(Problem::named(axum::http::StatusCode::FORBIDDEN, "second_person", message));
    }
    let not_waiting = || Problem::conflict(format!("Task '{}': {NotWaiting}", row.id));
    let granted = granted(&api, &row).filter(|_| !row.phase.is_terminal()).ok_or_else(not_waiting)?;
    if api.store.model_hold(row.id).await?.is_none_or(|hold| hold.state != HoldState::Waiting) {
        return Err(not_waiting());
    }
    let account = api.store.model_account(&task_account(row.id)).await?;
    let limits = granted.limits.raised_to(account.raised);
    let decision = decision(&asked, limits, &granted)?;
    let decide = DecideBudget {
        task_id: row.id,
        decision,
        granted: granted.limits,
        actor: caller.actor(),
        at: Timestamp::now(),
    };
    api.store.decide_model_budget(decide).await?.map_err(|NotWaiting| not_waiting())?;
    let (limits, message) = match decision {
        BudgetDecision::Raise(raised) => (limits.raised_to(raised), "the budget is raised: the Task goes on"),
        BudgetDecision::End => (limits, "the budget is not raised: the attempt ends"),
    };
    let body = json!({"status": "success", "task_id": row.id, "trace_id": row.trace_id, "message": message,
        "limits": limits, "spent": account.spent});
    Ok(Json(body).into_response())
}

/// What the Task is granted, as things are now.
fn granted(api: &Api, row: &TaskRow) -> Option<Granted> {
    let (executors, models) = (api.executors.borrow().clone(), api.models.borrow().clone());
    let executor = executors.resolve(&row.namespace, row.task.operation, row.executor.as_deref()).ok()?;
    models.granted(executor, row.model.as_ref(), &row.namespace, &row.task.target.repo).ok()?
}

/// What is decided, if it can be.
fn decision(asked: &Asked, limits: Limits, granted: &Granted) -> Result<BudgetDecision, Problem> {
    let Asked { decision, max_usd: usd, max_tokens: tokens, max_requests: requests } = *asked;
    let raised = Limits { usd, tokens, requests };
    let fields = [
        ("max_usd", usd.map(Usd::nanos), limits.usd.map(Usd::nanos), granted.of_the_grant.usd.map(Usd::nanos)),
        ("max_tokens", tokens, limits.tokens, granted.of_the_grant.tokens),
        ("max_requests", requests, limits.requests, None),
    ];
    if decision == Decision::End {
        let given = fields.iter().find(|(_, given, ..)| given.is_some());
        return match given {
            Some((field, ..)) => Err(Problem::invalid(field, "has no meaning where decision is end")),
            None => Ok(BudgetDecision::End),
        };
    }
    if raised == Limits::default() {
        return Err(Problem::invalid("max_usd", "is required where decision is raise, or max_tokens, or max_requests"));
    }
    for (field, given, now, most) in fields {
        let Some(given) = given else { continue };
        match now {
            None => return Err(Problem::invalid(field, "is not limited")),
            Some(now) if given <= now => {
                return Err(Problem::invalid(field, "must be more than the Task has, all that it has spent included"));
            }
            Some(_) => {}
        }
        if most.is_some_and(|most| given > most) {
            let message = "is more than the grant has for a day, which the operator's configuration of models says";
            return Err(Problem::findings(&[Finding::new(Code::BudgetTooHigh, field, message)]));
        }
    }
    Ok(BudgetDecision::Raise(raised))
}

/// Whether the caller is somebody who has to do with how the Task came about, by the audit log: a second person is not.
async fn is_of_the_chain(api: &Api, caller: &Caller, row: &TaskRow) -> Result<bool, Problem> {
    let name = caller.username();
    if row.submitted_by.as_deref() == Some(name) || row.task.requested_by.id == name {
        return Ok(true);
    }
    let page = Page { limit: MOST_ENTRIES, ..Page::default() };
    let by_them = AuditQuery { actor_id: Some(name.into()), page, ..AuditQuery::default() };
    let of_the_trace = AuditQuery { trace_id: Some(row.trace_id.clone()), ..by_them.clone() };
    let objects = row.cwom_issue_id.into_iter().chain(row.cwom_run_id).chain(row.run_id(row.attempt));
    let about = objects.map(|id: Id| AuditQuery { entity_id: Some(id.to_string()), ..by_them.clone() });
    for query in std::iter::once(of_the_trace).chain(about) {
        let entries = api.store.audit(&query).await?;
        // To have decided about the budget before is no part in it.
        let counts = |after: Option<&serde_json::Value>| after.is_none_or(|after| after.get("model_budget").is_none());
        if entries.iter().any(|entry| counts(entry.after.as_ref())) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;
    use crate::domain::executor::Executors;
    use crate::domain::model::Models;
    use crate::domain::task::Operation;

    fn granted() -> Granted {
        let yaml = "executors:\n  - {name: a, operations: [ops], image: a, command: [a], model: {aliases: [m], maxUsd: 2, maxRequests: 9}}";
        let executors = Executors::read(yaml).unwrap();
        let yaml = "providers: [{name: p, dialect: anthropic, url: 'https://p', key: {secret: s, key: k}}]
models: [{alias: m, provider: p, model: m}]
grants: [{namespaces: ['*'], repos: [octo/], aliases: [m], max_usd_per_day: 10, when_used_up: ask}]";
        let executor = executors.resolve("team", Operation::Ops, Some("a")).unwrap();
        let repo = crate::domain::task::Repo::parse("octo/hello").unwrap();
        Models::read(yaml).unwrap().granted(executor, None, "team", &repo).unwrap().unwrap()
    }

    #[rstest]
    #[case(json!({"decision": "raise", "max_usd": 5}), None)]
    #[case(json!({"decision": "raise", "max_usd": 10, "max_requests": 10}), None)]
    #[case(json!({"decision": "end"}), None)]
    #[case(json!({"decision": "end", "max_usd": 5}), Some("max_usd: has no meaning"))]
    #[case(json!({"decision": "raise"}), Some("max_usd: is required"))]
    #[case(json!({"decision": "raise", "max_usd": 2}), Some("max_usd: must be more"))]
    #[case(json!({"decision": "raise", "max_tokens": 5}), Some("max_tokens: is not limited"))]
    #[case(json!({"decision": "raise", "max_usd": 10.01}), Some("max_usd: is more than the grant"))]
    fn what_is_decided_is_within_the_grant(#[case] body: Value, #[case] expected: Option<&str>) {
        let asked: Asked = serde_json::from_value(body).unwrap();
        let got = decision(&asked, granted().limits, &granted());
        match expected {
            None => assert!(got.is_ok(), "{got:?}"),
            Some(expected) => {
                let message = json!(got.unwrap_err().detail)["message"].as_str().unwrap().to_owned();
                assert!(message.starts_with(expected), "{message}");
            }
        }
    }
}
