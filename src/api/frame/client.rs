//! The program that asks, by its own account.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::domain::client::is_client;

const CLIENT: HeaderName = HeaderName::from_static(jct_mcp::CLIENT_HEADER);

/// What `X-JCT-Client` says, if that is a name. Nobody vouches for it: it is recorded beside the user, who is authenticated.
#[derive(Clone, Debug)]
pub struct Client(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let said = parts.headers.get(CLIENT).and_then(|value| value.to_str().ok());
        Ok(Self(said.filter(|name| is_client(name)).map(str::to_owned)))
    }
}
