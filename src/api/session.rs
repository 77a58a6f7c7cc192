//! Who one is to the API, and ending one's own Session.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::auth::{AuthorityError, Caller, Credential, session};
use super::error::Problem;
use super::query::Params;
use crate::crd::session::token::SessionToken;

/// Who a caller is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Identity {
    /// As the API server knows them.
    user: String,
}

/// Who you are
///
/// The user that the API takes the caller for. Needs no right.
#[utoipa::path(get, path = "/session", tag = "operation", operation_id = "get_session",
    responses((status = 200, description = "`user`", body = ref("#/components/schemas/Identity"))))]
pub async fn show(caller: Caller, query: Params) -> Result<Json<Identity>, Problem> {
    query.finish()?;
    Ok(Json(Identity { user: caller.username().into() }))
}

/// End the Session whose token this is
///
/// The token is of no use any more: here at once, on other replicas within the seconds that decisions are kept. Needs no right but
/// to have it.
#[utoipa::path(delete, path = "/session", tag = "operation", operation_id = "end_session",
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, description = "The token is not of a Session", body = ref("#/components/schemas/Problem"))))]
pub async fn end(
    State(api): State<Api>,
    Extension(credential): Extension<Credential>,
    query: Params,
) -> Result<StatusCode, Problem> {
    query.finish()?;
    let keys = api.trust.borrow().keys.clone();
    let Some(token) = SessionToken::verify(credential.token(), &keys) else {
        return Err(Problem::not_found("the token is not of a Session: it ends by itself"));
    };
    session::end(&api.client, token).await.map_err(AuthorityError::into_problem)?;
    api.access.forget(credential.token());
    Ok(StatusCode::NO_CONTENT)
}
