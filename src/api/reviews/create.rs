//! A caller's decision.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{no_pack, shown_review, visible};
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::body::Unread;
use crate::api::error::Problem;
use crate::api::frame::random;
use crate::api::query::Params;
use crate::api::tasks::denial;
use crate::domain::Id;
use crate::domain::evidence::CriterionStatus;
use crate::domain::id::hex;
use crate::domain::review::{CriteriaOverride, Decision, MAX_REASON, Reviewer};
use crate::shared::{AskedReview, NotReviewed, review};

/// What a client sends. Who reviews is the caller: what a body says of that, and of Run and Issue, is not looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    for_evidence_pack: Reference,
    subject_sha256: Option<String>,
    decision: Decision,
    #[serde(alias = "reason")]
    decision_reason: Option<String>,
    #[serde(default)]
    criteria_overrides: Vec<Override>,
    #[serde(rename = "reviewer")]
    _reviewer: Option<Value>,
    #[serde(rename = "for_run")]
    _for_run: Option<Value>,
    #[serde(rename = "for_issue")]
    _for_issue: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    id: Id,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    criterion_index: u32,
    original_status: Option<CriterionStatus>,
    override_status: CriterionStatus,
    reason: Option<String>,
}

/// Review what a Task came to
///
/// Approve it, reject it or send it back. The reviewer is the caller, whatever the body says. Needs the right to `create` `reviews` in
/// the namespace, and to be a second person: nobody who has a part in how the Task came about approves it. `subject_sha256` is what
/// the evidence pack shows.
#[utoipa::path(post, path = "/cwom/reviews", tag = "work objects", operation_id = "create_review",
    request_body(content = ref("#/components/schemas/ReviewRequest"), content_type = "application/json"),
    responses(
        (status = 201, description = "Recorded", body = ref("#/components/schemas/ReviewAnswer")),
        (status = 400, description = "It is not under review", body = ref("#/components/schemas/Problem")),
        (status = 403, description = "The right is missing, or the caller may not review it (`second_person`)", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "There is no such evidence pack, or none that the caller may see", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "It is about another digest than the pack's (`review_stale`)", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "The body does not fit", body = ref("#/components/schemas/Problem"))))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    query: Params,
    unread: Unread,
) -> Result<Response, Problem> {
    query.finish()?;
    let body = unread.json(&api.room, &caller).await?;
    // Before anything else is said of the body: of what is not there nothing is.
    let id = body.value.pointer("/for_evidence_pack/id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let pack = match id {
        Some(id) => api.store.evidence_pack(id).await?,
        None => return Err(Problem::not_found("EvidencePack not found: for_evidence_pack.id names none")),
    };
    let pack = visible(&api, &caller, pack).await?;
    api.access.require(&caller, &Right::resource("create", "reviews", Some(&pack.namespace))).await?;
    let asked: Asked = serde_json::from_value(body.value.clone())
        .map_err(|error| Problem::invalid("", format!("the body does not fit: {error}")))?;
    let subject_sha256 = asked.subject_sha256.ok_or_else(|| {
        Problem::invalid("subject_sha256", "is required: it says what was looked at, as the evidence pack shows it")
    })?;
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.chars().count() > MAX_REASON);
    if long(&asked.decision_reason) || asked.criteria_overrides.iter().any(|change| long(&change.reason)) {
        return Err(Problem::invalid(
            "decision_reason",
            format!("must be at most {MAX_REASON} characters, as other reasons"),
        ));
    }
    if asked.criteria_overrides.len() > 50 {
        return Err(Problem::invalid("criteria_overrides", "must be at most 50"));
    }
    let overrides = asked.criteria_overrides.into_iter().map(|change| CriteriaOverride {
        criterion_index: change.criterion_index,
        original_status: change.original_status.map(|status| status.to_string()),
        override_status: change.override_status.to_string(),
        reason: change.reason,
    });
    let at = api.health.clock.now();
    let decided = AskedReview {
        id: Id::derive(at, &hex(&random())),
        evidence_pack: asked.for_evidence_pack.id,
        namespace: pack.namespace.clone(),
        subject_sha256,
        reviewer: reviewer(&caller),
        decision: asked.decision,
        reason: asked.decision_reason,
        criteria_overrides: overrides.collect(),
        at,
    };
    let (decision, outcome) = match review(&api.store, decided).await? {
        Ok(recorded) => recorded,
        Err(problem) => {
            if let Some(finding) = problem.finding() {
                let (namespace, trace) = (pack.namespace.clone(), pack.trace_id.clone());
                let denial = denial(&caller, "Review", namespace, trace, &body.value, vec![finding]);
                api.denials.keep(denial, caller.username(), None);
            }
            return Err(refused(&problem));
        }
    };
    let location = format!("/cwom/reviews/{}", decision.id);
    let mut outcome = json!(outcome);
    outcome["evidence_pack_id"] = json!(pack.id);
    let body = json!({"status": "success", "review": shown_review(&decision), "outcome": outcome});
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// The caller as a reviewer. Of groups that are too many to be kept none counts.
fn reviewer(caller: &Caller) -> Reviewer {
    let principal = caller.principal();
    Reviewer { groups: principal.groups().unwrap_or_default(), user: Some(principal.user) }
}

fn refused(problem: &NotReviewed) -> Problem {
    let message = problem.to_string();
    match problem {
        NotReviewed::UnknownPack => no_pack(),
        NotReviewed::NotAReviewer(_) => Problem::named(StatusCode::FORBIDDEN, "second_person", message),
        NotReviewed::Stale(_) => Problem::named(StatusCode::CONFLICT, "review_stale", message),
        NotReviewed::NotOpen(_) => Problem::named(StatusCode::BAD_REQUEST, "not_under_review", message),
    }
    .with(|named| named.code = problem.finding().map(|finding| finding.code))
}
