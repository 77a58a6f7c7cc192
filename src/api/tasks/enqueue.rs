//! Asking for a Task.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::answer::{Duplicate, Enqueued};
use super::submit::{Submission, Submitted, submit};
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::body::Unread;
use crate::api::error::Problem;
use crate::api::frame::{Client, Joined, RequestTrace, random};
use crate::api::query::Params;
use crate::domain::denial::{self, Interface};
use crate::domain::id::sha256_hex;
use crate::domain::task::{Controls, Naming};
use crate::domain::{Actor, Denial, Finding, Id, TraceId};
use crate::policy::{Configured, Verdict, advice_on, configured_findings_on, judge};
use crate::store::TaskRow;

/// Ask for a Task
///
/// It passes the same gate as `kubectl apply`, becomes a custom resource, and is answered once it is recorded. A request
/// with an `idempotency_key` can be repeated: the same key in the same namespace is the same Task. A key stays used whatever
/// became of its Task; with it another Task is refused (`IDEMPOTENCY_KEY_REUSED`).
#[utoipa::path(post, path = "/tasks/enqueue", tag = "tasks", operation_id = "enqueue_task",
    params(
        ("namespace" = Option<String>, Query, description = "Where; JCT_API_NAMESPACE by default"),
        ("create_cwom" = Option<bool>, Query, description = "false: make no CWOM objects"),
        ("X-Trace-Id" = Option<String>, Header, description = "The trace id to use; else that of traceparent, else a new one. One of a trace that the caller may get nothing of is not used: the answer names it as parent_trace_id")),
    request_body(content = ref("#/components/schemas/TaskSpec"), content_type = "application/json"),
    responses(
        (status = 201, description = "Recorded", body = ref("#/components/schemas/Enqueued")),
        (status = 404, description = "There is no such namespace", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "The key is used: by the same Task (`DUPLICATE`), which is told, or by another one (`IDEMPOTENCY_KEY_REUSED`)", body = ref("#/components/schemas/Duplicate")),
        (status = 413, description = "The body is too large", body = ref("#/components/schemas/Problem")),
        (status = 415, description = "The body is no JSON by its Content-Type", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "Policy (`policy_violation`) or schema (`validation_error`)",
         body = ref("#/components/schemas/Problem")),
        (status = 429, description = "As many Tasks of the namespace are open as may be, or were recorded within an hour (`too_many_tasks`, code `TOO_MANY_TASKS`), or too many of the caller's requests are being served",
         body = ref("#/components/schemas/Problem")),
        (status = 504, description = "Created, but not recorded in time; it may still be",
         body = ref("#/components/schemas/Problem"))))]
pub async fn enqueue(
    State(api): State<Api>,
    caller: Caller,
    trace: RequestTrace,
    mut query: Params,
    client: Client,
    unread: Unread,
) -> Result<Response, Problem> {
    // Most of the request's time, so that the wait ends with an answer of its own.
    let until = Instant::now() + api.settings.timeout.mul_f32(0.9);
    let namespace = query.namespace().unwrap_or_else(|| api.settings.namespace.clone());
    let create_cwom = query.flag("create_cwom", true);
    query.finish()?;
    // Before the gate, whose findings tell what the policy is.
    api.access.require(&caller, &Right::tasks("create", &namespace)).await?;
    let joined = trace.join(&api, &caller).await?;
    let json = unread.json(&api.room, &caller).await?;
    make(
        &api,
        &caller,
        Wanted { namespace, joined, body: &json.value, create_cwom, retry_of: None, client: client.0 },
        until,
    )
    .await
}

/// A Task that somebody who may have it wants.
pub(super) struct Wanted<'a> {
    pub(super) namespace: String,
    pub(super) joined: Joined,
    /// What, as a client writes it.
    pub(super) body: &'a Value,
    /// Whether work objects are made for it.
    pub(super) create_cwom: bool,
    /// The Task whose work is done again.
    pub(super) retry_of: Option<Id>,
    /// The program that asks on somebody's behalf, by its own account.
    pub(super) client: Option<String>,
}

/// Asks the gate, makes the Task, and answers when it is recorded.
pub(super) async fn make(api: &Api, caller: &Caller, wanted: Wanted<'_>, until: Instant) -> Result<Response, Problem> {
    let Wanted { namespace, joined: Joined { trace_id, parent }, body, create_cwom, retry_of, client } = wanted;
    let (executors, models) = (api.executors.borrow().clone(), api.models.borrow().clone());
    let judged = match judge(body, Naming::Rest, &api.policy) {
        (Verdict::Accepted(task), controls) => {
            let forges = api.forges.borrow().clone();
            let configured = Configured { models: Some((&executors, &models)), forges: Some(&forges) };
            let findings = configured_findings_on(&task, controls.asks(), Naming::Rest, &namespace, configured);
            if findings.is_empty() { Ok((*task, Controls { create_cwom, ..controls })) } else { Err(findings) }
        }
        (Verdict::Refused(findings), _) => Err(findings),
    };
    let (task, controls) = match judged {
        Ok(accepted) => accepted,
        Err(findings) => {
            let problem = Problem::findings(&findings);
            api.denials.keep(denial(caller, "Task", namespace, trace_id, body, findings), caller.username(), None);
            return Err(problem);
        }
    };
    let warnings = advice_on(&task, &controls, Naming::Rest, &namespace, &executors);
    let submitter = caller.principal();
    let submission = Submission {
        namespace,
        submitter,
        trace_id,
        parent_trace_id: parent.clone(),
        retry_of,
        client,
        task,
        controls,
    };
    match submit(api, &submission, until).await? {
        Submitted::Recorded(row) => Ok(recorded(&row, &warnings, parent.as_ref())),
        Submitted::Duplicate(first) => {
            // A right to create is none to read what others have created.
            let may_see = api.access.allows(caller, &Right::tasks("get", &first.namespace)).await?;
            Ok(conflict(&Duplicate::of(may_see.then_some(&*first))))
        }
        Submitted::KeyReused => Ok(conflict(&Duplicate::key_reused())),
        Submitted::Refused(findings) => Err(Problem::findings(&findings)),
        Submitted::TooMany(too_many) => {
            let problem = Problem::too_many(&too_many);
            let Submission { namespace, trace_id, .. } = submission;
            let denial = denial(caller, "Task", namespace, trace_id, body, vec![too_many.finding]);
            api.denials.keep(denial, caller.username(), None);
            Err(problem)
        }
    }
}

fn recorded(row: &TaskRow, warnings: &[String], parent: Option<&TraceId>) -> Response {
    let location = format!("/tasks/{}", row.id);
    let body = Enqueued::recorded(row, warnings, parent).to_json();
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response()
}

fn conflict(duplicate: &Duplicate) -> Response {
    (StatusCode::CONFLICT, Json(duplicate.to_json())).into_response()
}

/// What is written down of a request that the gate denied. Its uid is ours: one that a client chose could be that of
/// another denial.
pub(in crate::api) fn denial(
    caller: &Caller,
    kind: &str,
    namespace: String,
    trace_id: TraceId,
    body: &Value,
    findings: Vec<Finding>,
) -> Denial {
    Denial {
        interface: Interface::Rest,
        uid: TraceId::from_random(random()).to_string(),
        actor: Actor::authenticated(caller.username()),
        authenticated: true,
        submitted_by: Some(caller.username().into()),
        trace_id,
        namespace,
        name: None,
        generate_name: None,
        kind: kind.into(),
        request: denial::Request::Create,
        findings,
        findings_left_out: 0,
        spec_sha256: sha256_hex(body.to_string().as_bytes()),
        denied_at: Timestamp::now(),
    }
}
