//! What models cost.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::openapi::bodies;
use super::query::Params;
use crate::domain::model::budget::Amount;
use crate::store::{CostBy, CostQuery};

/// What models cost.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Cost {
    #[schemars(schema_with = "bodies::cost_by")]
    by: CostBy,
    #[schemars(length(max = 1000))]
    costs: Vec<Sum>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Sum {
    /// Of what; empty where a Task names no executor.
    name: String,
    /// At list price.
    #[schemars(range(min = 0))]
    usd: f64,
    #[schemars(schema_with = "bodies::count")]
    tokens: u64,
    /// Also those that were refused.
    #[schemars(schema_with = "bodies::count")]
    requests: u64,
}

/// What models cost
///
/// At list price, by namespace, agent (the executor that a Task names), model or repository; the greatest sums first, at most 1000.
/// Needs the right to `list` Tasks: of the namespace that is named, or of all.
#[utoipa::path(get, path = "/cost", tag = "record", operation_id = "get_cost",
    params(
        ("by" = Option<String>, Query, description = "namespace (the default), agent, model or repo"),
        ("namespace" = Option<String>, Query, description = "Of this namespace alone"),
        ("since" = Option<String>, Query, description = "Of exchanges that ended not before this time, such as 2026-03-01T00:00:00Z"),
        ("until" = Option<String>, Query, description = "Before this time")),
    responses((status = 200, description = "The sums", body = ref("#/components/schemas/Cost"))))]
pub async fn get(State(api): State<Api>, caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let wanted = CostQuery {
        by: query.choice("by", &CostBy::ALL, CostBy::as_str).unwrap_or(CostBy::Namespace),
        namespace: query.namespace(),
        since: query.parsed::<Timestamp>("since"),
        until: query.parsed::<Timestamp>("until"),
    };
    query.finish()?;
    api.access.require(&caller, &Right::resource("list", "tasks", wanted.namespace.as_deref())).await?;
    let _turn = api.answers.turn().await?;
    let sums = api.store.model_costs(&wanted).await?;
    let sum = |(name, sum): &(String, Amount)| Sum {
        name: name.clone(),
        usd: sum.usd.dollars(),
        tokens: sum.tokens,
        requests: sum.requests,
    };
    let body = json!(Cost { by: wanted.by, costs: sums.iter().map(sum).collect() });
    api.answers.json(&caller, HeaderMap::new(), body.to_string().into_bytes()).await
}
