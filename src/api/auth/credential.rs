//! What a request was authenticated by, kept by those whose answers last: they ask again.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Access, Right, token};
use crate::api::error::Problem;

/// The token of a request, and where it came from. An extension of every request that is behind authentication.
#[derive(Clone)]
pub struct Credential {
    headers: HeaderMap,
    source: String,
    ends: Option<Instant>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Credential {
    /// That of a request with this `Authorization`.
    pub(super) fn new(authorization: HeaderValue, source: String) -> Self {
        let token = authorization.to_str().ok().and_then(token::of_header);
        let left = token.map_or(Duration::ZERO, |token| token::time_left(token, Timestamp::now()));
        let ends = Instant::now().checked_add(left);
        Self { headers: HeaderMap::from_iter([(header::AUTHORIZATION, authorization)]), source, ends }
    }

    /// When to ask again: after `keep`, and as soon as the token has ended.
    pub fn ask_next(&self, keep: Duration) -> Instant {
        let (now, later) = (Instant::now(), Instant::now() + keep);
        // One that has ended already is not asked about without pause.
        self.ends.filter(|ends| *ends > now).map_or(later, |ends| later.min(ends))
    }

    /// Whether who has the token still is somebody, and has all of `rights`.
    ///
    /// # Errors
    /// 503 if the authority does not answer.
    pub async fn still(&self, access: &Access, rights: &[Right]) -> Result<bool, Problem> {
        let caller = match access.identify(&self.headers, &self.source).await {
            Ok(caller) => caller,
            Err(problem) if problem.challenge.is_some() => return Ok(false),
            Err(problem) => return Err(problem),
        };
        for right in rights {
            if !access.allows(&caller, right).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
