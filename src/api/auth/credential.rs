//! What a request was authenticated by, kept by those whose answers last: they ask again.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Access, Right, token};
use crate::api::error::Problem;

/// The token of a request, and where it came from. An extension of every request that is behind authentication.
#[derive(Clone)]
pub struct Credential {
    token: String,
    source: String,
    ends: Option<Instant>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Credential {
    /// That of a request from `source` with this token.
    pub(super) fn new(token: &str, source: String) -> Self {
        let ends = Instant::now().checked_add(token::time_left(token, Timestamp::now()));
        Self { token: token.to_owned(), source, ends }
    }

    /// The token itself.
    pub fn token(&self) -> &str {
        &self.token
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
        let caller = match access.identify_token(&self.token, &self.source).await {
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
