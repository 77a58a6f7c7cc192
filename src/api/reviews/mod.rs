//! What is shown for attempts, and what reviewers decide about it (docs/reviews.md).
//!
//! Evidence packs are made by JCT alone: there is no POST. A decision is by the authenticated caller, whatever the body says. Who may
//! see a Task may see both.

pub mod create;
mod schemas;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use schemas::all as schemas;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::page;
use super::query::{Params, PathId};
use crate::domain::Id;
use crate::domain::cwom::Kind;
use crate::domain::evidence::{EvidencePack, Verdict};
use crate::domain::review::{Decision, ReviewDecision};
use crate::store::{PackFilter, Page, ReviewFilter};

/// The routes.
pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(packs))
        .routes(routes!(pack))
        .routes(routes!(of_run))
        .routes(routes!(of_issue))
        .routes(routes!(of_task))
        .routes(routes!(reviews, create::create))
        .routes(routes!(review))
        .routes(routes!(of_pack))
        .routes(routes!(reviews_of_issue))
}

/// With its kind, as work objects are shown.
fn shown(kind: &str, row: &impl Serialize) -> Value {
    let mut shown = json!(row);
    shown["kind"] = json!(kind);
    shown
}

fn shown_pack(pack: &EvidencePack) -> Value {
    shown("EvidencePack", pack)
}

fn shown_review(review: &ReviewDecision) -> Value {
    shown("ReviewDecision", review)
}

fn no_pack() -> Problem {
    Problem::not_found("EvidencePack not found")
}

/// The pack, for a caller who may see its Task. What the caller may not see is not found.
async fn visible(api: &Api, caller: &Caller, pack: Option<EvidencePack>) -> Result<EvidencePack, Problem> {
    let pack = pack.ok_or_else(no_pack)?;
    let may_know = api.access.reach(caller, "get", "tasks", &pack.namespace).await?;
    may_know.then_some(pack).ok_or_else(no_pack)
}

/// Evidence packs
///
/// The newest first. Needs the right to `list` Tasks: of the namespace that is named, or of all.
#[utoipa::path(get, path = "/cwom/evidence-packs", tag = "work objects", operation_id = "list_evidence_packs",
    params(
        ("run_id" = Option<String>, Query, description = "Of this Run"),
        ("issue_id" = Option<String>, Query, description = "Of this Issue"),
        ("verdict" = Option<String>, Query, description = "pass, partial, fail or pending"),
        ("namespace" = Option<String>, Query, description = "Of this namespace alone"),
        ("limit" = Option<u32>, Query, description = "At most so many", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Without the first so many"),
        ("cursor" = Option<String>, Query, description = "From where the page before ended; see its Link")),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/EvidencePacks"))))]
pub async fn packs(State(api): State<Api>, caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let filter = PackFilter {
        namespace: query.namespace(),
        run_id: query.parsed("run_id"),
        issue_id: query.parsed("issue_id"),
        verdict: query.choice("verdict", &Verdict::ALL, Verdict::as_str),
        task_id: None,
    };
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    api.access.require_list(&caller, "tasks", filter.namespace.as_deref(), "namespace").await?;
    let _turn = api.answers.turn().await?;
    let show = |pack: &EvidencePack| (pack.id, shown_pack(pack));
    let (text, last) = page::array(page, |page| api.store.evidence_packs(&filter, page), show).await?;
    api.answers.json(&caller, asked.next(&api.cursor_key, last), text).await
}

/// An evidence pack
///
/// Needs the right to `get` its Task.
#[utoipa::path(get, path = "/cwom/evidence-packs/{id}", tag = "work objects", operation_id = "get_evidence_pack",
    params(("id" = String, Path, description = "Its ULID")),
    responses(
        (status = 200, description = "The pack", body = ref("#/components/schemas/EvidencePack")),
        (status = 404, description = "There is none, or none that the caller may see", body = ref("#/components/schemas/Problem"))))]
pub async fn pack(State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    let pack = api.store.evidence_pack(id.of("EvidencePack")?).await?;
    Ok(Json(shown_pack(&visible(&api, &caller, pack).await?)))
}

/// The evidence pack of a Run
///
/// Needs the right to `get` its Task.
#[utoipa::path(get, path = "/cwom/runs/{id}/evidence-pack", tag = "work objects", operation_id = "get_run_evidence_pack",
    params(("id" = String, Path, description = "The Run's ULID")),
    responses(
        (status = 200, description = "The pack", body = ref("#/components/schemas/EvidencePack")),
        (status = 404, description = "There is none, or none that the caller may see", body = ref("#/components/schemas/Problem"))))]
pub async fn of_run(State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    let filter = PackFilter { run_id: Some(id.of("Run")?), ..PackFilter::default() };
    let pack = newest(&api, &filter).await?;
    Ok(Json(shown_pack(&visible(&api, &caller, pack).await?)))
}

async fn newest(api: &Api, filter: &PackFilter) -> Result<Option<EvidencePack>, Problem> {
    Ok(api.store.evidence_packs(filter, Page { limit: 1, ..Page::default() }).await?.pop())
}

/// The evidence packs of an Issue
///
/// The newest first. Needs the right to `get` the Issue and to `list` Tasks of its namespace.
#[utoipa::path(get, path = "/cwom/issues/{id}/evidence-packs", tag = "work objects", operation_id = "list_issue_evidence_packs",
    params(
        ("id" = String, Path, description = "The Issue's ULID"),
        ("limit" = Option<u32>, Query, description = "At most so many", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Without the first so many"),
        ("cursor" = Option<String>, Query, description = "From where the page before ended; see its Link")),
    responses(
        (status = 200, description = "A page", body = ref("#/components/schemas/EvidencePacks")),
        (status = 404, description = "There is no such Issue, or none that the caller may get", body = ref("#/components/schemas/Problem"))))]
pub async fn of_issue(
    State(api): State<Api>,
    caller: Caller,
    id: PathId,
    mut query: Params,
) -> Result<Response, Problem> {
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    let (issue_id, namespace) = issue(&api, &caller, &id).await?;
    let filter = PackFilter { namespace: Some(namespace), issue_id: Some(issue_id), ..PackFilter::default() };
    let _turn = api.answers.turn().await?;
    let show = |pack: &EvidencePack| (pack.id, shown_pack(pack));
    let (text, last) = page::array(page, |page| api.store.evidence_packs(&filter, page), show).await?;
    api.answers.json(&caller, asked.next(&api.cursor_key, last), text).await
}

/// The Issue, for a caller who may get it and list Tasks where it is.
async fn issue(api: &Api, caller: &Caller, id: &PathId) -> Result<(Id, String), Problem> {
    let not_found = || Problem::not_found("Issue not found");
    let row = api.store.object(Kind::Issue, id.of("Issue")?).await?.ok_or_else(not_found)?;
    if !api.access.reach(caller, "get", Kind::Issue.plural(), &row.namespace).await? {
        return Err(not_found());
    }
    api.access.require(caller, &Right::resource("list", "tasks", Some(&row.namespace))).await?;
    Ok((row.object.id, row.namespace))
}

/// What a Task has to show, and how its review stands
///
/// The evidence pack of its last attempt, the decisions about it, and what they come to. Needs the right to `get` the Task.
#[utoipa::path(get, path = "/tasks/{id}/evidence", tag = "tasks", operation_id = "get_task_evidence",
    params(("id" = String, Path, description = "The Task's ULID")),
    responses(
        (status = 200, description = "Pack, review and decisions", body = ref("#/components/schemas/TaskEvidence")),
        (status = 404, description = "There is none, or none that the caller may see", body = ref("#/components/schemas/Problem"))))]
pub async fn of_task(State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    let row = super::tasks::find(&api, &caller, "get", &id).await?;
    let pack = api.store.evidence_of_attempt(row.id, row.attempt).await?.ok_or_else(no_pack)?;
    let state = api.store.review_of(&pack.subject_sha256).await?;
    let filter = ReviewFilter { evidence_pack_id: Some(pack.id), ..ReviewFilter::default() };
    let reviews = api.store.reviews(&filter, Page::default()).await?;
    let reviews: Vec<Value> = reviews.iter().map(shown_review).collect();
    Ok(Json(json!({"evidence_pack": shown_pack(&pack), "review": state.map(told), "reviews": reviews})))
}

/// How a review stands, flat.
fn told(state: crate::domain::review::ReviewState) -> Value {
    let mut told = json!(state.outcome);
    told["approved_by"] = json!(state.approved_by);
    told["self_approved"] = json!(state.self_approved);
    told
}

/// Reviews
///
/// The newest first. Needs the right to `list` Tasks: of the namespace that is named, or of all.
#[utoipa::path(get, path = "/cwom/reviews", tag = "work objects", operation_id = "list_reviews",
    params(
        ("evidence_pack_id" = Option<String>, Query, description = "Of this evidence pack"),
        ("issue_id" = Option<String>, Query, description = "Of this Issue"),
        ("decision" = Option<String>, Query, description = "approved, rejected or needs_changes"),
        ("namespace" = Option<String>, Query, description = "Of this namespace alone"),
        ("limit" = Option<u32>, Query, description = "At most so many", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Without the first so many"),
        ("cursor" = Option<String>, Query, description = "From where the page before ended; see its Link")),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/ReviewDecisions"))))]
pub async fn reviews(State(api): State<Api>, caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let filter = ReviewFilter {
        namespace: query.namespace(),
        evidence_pack_id: query.parsed("evidence_pack_id"),
        issue_id: query.parsed("issue_id"),
        decision: query.choice("decision", &Decision::ALL, Decision::as_str),
        task_id: None,
    };
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    api.access.require_list(&caller, "tasks", filter.namespace.as_deref(), "namespace").await?;
    list(&api, &caller, &filter, page, |last| asked.next(&api.cursor_key, last)).await
}

async fn list(
    api: &Api,
    caller: &Caller,
    filter: &ReviewFilter,
    page: Page,
    next: impl FnOnce(Option<Id>) -> HeaderMap,
) -> Result<Response, Problem> {
    let _turn = api.answers.turn().await?;
    let show = |review: &ReviewDecision| (review.id, shown_review(review));
    let (text, last) = page::array(page, |page| api.store.reviews(filter, page), show).await?;
    api.answers.json(caller, next(last), text).await
}

/// A review
///
/// Needs the right to `get` its Task.
#[utoipa::path(get, path = "/cwom/reviews/{id}", tag = "work objects", operation_id = "get_review",
    params(("id" = String, Path, description = "Its ULID")),
    responses(
        (status = 200, description = "The decision", body = ref("#/components/schemas/ReviewDecision")),
        (status = 404, description = "There is none, or none that the caller may see", body = ref("#/components/schemas/Problem"))))]
pub async fn review(State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    let not_found = || Problem::not_found("Review not found");
    let review = api.store.review(id.of("Review")?).await?.ok_or_else(not_found)?;
    let may_know = api.access.reach(&caller, "get", "tasks", &review.namespace).await?;
    may_know.then(|| Json(shown_review(&review))).ok_or_else(not_found)
}

/// The last review of an evidence pack
///
/// Needs the right to `get` its Task.
#[utoipa::path(get, path = "/cwom/evidence-packs/{id}/review", tag = "work objects", operation_id = "get_evidence_pack_review",
    params(("id" = String, Path, description = "The evidence pack's ULID")),
    responses(
        (status = 200, description = "The decision", body = ref("#/components/schemas/ReviewDecision")),
        (status = 404, description = "There is none, or none that the caller may see", body = ref("#/components/schemas/Problem"))))]
pub async fn of_pack(State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    let pack = api.store.evidence_pack(id.of("EvidencePack")?).await?;
    let pack = visible(&api, &caller, pack).await?;
    let filter = ReviewFilter { evidence_pack_id: Some(pack.id), ..ReviewFilter::default() };
    let last = api.store.reviews(&filter, Page { limit: 1, ..Page::default() }).await?.pop();
    last.map(|review| Json(shown_review(&review))).ok_or_else(|| Problem::not_found("it was not reviewed yet"))
}

/// The reviews of an Issue
///
/// The newest first. Needs the right to `get` the Issue and to `list` Tasks of its namespace.
#[utoipa::path(get, path = "/cwom/issues/{id}/reviews", tag = "work objects", operation_id = "list_issue_reviews",
    params(
        ("id" = String, Path, description = "The Issue's ULID"),
        ("limit" = Option<u32>, Query, description = "At most so many", minimum = 1, maximum = 1000),
        ("offset" = Option<u32>, Query, description = "Without the first so many"),
        ("cursor" = Option<String>, Query, description = "From where the page before ended; see its Link")),
    responses(
        (status = 200, description = "A page", body = ref("#/components/schemas/ReviewDecisions")),
        (status = 404, description = "There is no such Issue, or none that the caller may get", body = ref("#/components/schemas/Problem"))))]
pub async fn reviews_of_issue(
    State(api): State<Api>,
    caller: Caller,
    id: PathId,
    mut query: Params,
) -> Result<Response, Problem> {
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    let (issue_id, namespace) = issue(&api, &caller, &id).await?;
    let filter = ReviewFilter { namespace: Some(namespace), issue_id: Some(issue_id), ..ReviewFilter::default() };
    list(&api, &caller, &filter, page, |last| asked.next(&api.cursor_key, last)).await
}
