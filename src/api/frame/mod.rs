//! What stands around every handler: identity of the request, limits, errors in one form.

mod client;
mod context;
mod limits;
mod net;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;

pub use client::Client;
pub use context::{Joined, RequestTrace, random};
pub use limits::{Full, Limits};

use super::Api;
use super::auth::authenticate;

/// Puts `router` behind authentication and limits. What is added last is met first.
pub fn guard(router: Router<Api>, api: &Api) -> Router<Api> {
    router
        .layer(from_fn_with_state(api.clone(), limits::per_caller_limit))
        .layer(from_fn_with_state(api.clone(), limits::shed))
        // Before a place is taken: whose token is of no use takes none.
        .layer(from_fn_with_state(api.clone(), authenticate))
        .layer(from_fn_with_state(api.clone(), limits::request_timeout))
}

/// Puts what every request needs around `router`.
pub fn wrap(router: Router<Api>, api: &Api) -> Router<Api> {
    beside(router.fallback(net::not_found), api)
}

/// The same around routes that are merged with those that [`wrap`] is around.
pub fn beside(router: Router<Api>, api: &Api) -> Router<Api> {
    router
        .layer(CatchPanicLayer::custom(net::panicked))
        .layer(from_fn(net::json_errors))
        .layer(from_fn_with_state(api.clone(), context::context))
}
