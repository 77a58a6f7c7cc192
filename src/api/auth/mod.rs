//! Who calls, and may they? Kubernetes decides both: tokens by TokenReview, rights by SubjectAccessReview.
//!
//! Decisions are kept for seconds, refusals shorter, and none longer than the token lives.

mod authority;
mod cache;
mod credential;
mod kubernetes;
pub mod session;
mod token;

#[cfg(test)]
mod access_tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

pub use authority::{Authority, AuthorityError, Identity, Right, qualified};
pub use credential::Credential;
pub use kubernetes::KubernetesAuthority;
pub use session::SessionAuthority;

use super::Api;
use super::error::{MissingRight, Problem};
use crate::domain::{Actor, Principal};
use crate::serve::{Budget, Peer};
pub use cache::Cache;
use token::Sent;

/// A SHA-256: of a token, which is kept nowhere, or of an identity.
type Digest = [u8; 32];

/// Without a token.
const CHALLENGE: &str = "Bearer realm=\"jct\"";
/// With one that is of no use.
const REFUSAL: &str = "Bearer realm=\"jct\", error=\"invalid_token\"";

/// The authenticated user of a request.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Arc<Identity>,
    digest: Digest,
}

impl Caller {
    fn new(identity: Identity) -> Self {
        let digest = Sha256::digest(serde_json::to_vec(&identity).unwrap_or_default()).into();
        Self { identity: Arc::new(identity), digest }
    }

    /// The user name.
    pub fn username(&self) -> &str {
        &self.identity.username
    }

    /// Who the audit log names.
    pub fn actor(&self) -> Actor {
        Actor::authenticated(self.username())
    }

    /// The same with all that is known of them.
    pub fn principal(&self) -> Principal {
        let Identity { username, uid, groups, extra } = &*self.identity;
        Principal::new(username, uid.clone(), groups, extra)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal("authenticate", &"the route is not behind authentication"))
    }
}

/// Asks the authority, and remembers what it said.
pub struct Access {
    authority: Arc<dyn Authority>,
    callers: Cache<Digest, Option<Caller>>,
    decisions: Cache<(Digest, Right), bool>,
    keep: Duration,
    /// Requests whose token is not known yet, and those of them that the authority is being asked about.
    strangers: Budget,
    reviews: Budget,
}

/// How many requests with tokens that are not known may wait, in all and from one address: they have come no further than
/// their head.
const STRANGERS: (usize, usize) = (256, 128);
/// About how many tokens the authority is asked at once. Made-up ones cost it as much as others.
const REVIEWS: (usize, usize) = (8, 4);
/// How long a token may wait to be asked about.
const REVIEW_WAIT: Duration = Duration::from_secs(3);

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Access {
    /// Decisions of `authority`, each kept for `keep`, a refusal for a fifth of it.
    pub fn new(authority: Arc<dyn Authority>, keep: Duration) -> Self {
        Self {
            authority,
            callers: Cache::default(),
            decisions: Cache::default(),
            keep,
            strangers: Budget::new(STRANGERS.0, STRANGERS.1),
            reviews: Budget::new(REVIEWS.0, REVIEWS.1),
        }
    }

    /// Who sends these headers, from `source`.
    ///
    /// # Errors
    /// As for [`Access::identify_token`]; 401 too if there is no token.
    pub async fn identify(&self, headers: &HeaderMap, source: &str) -> Result<Caller, Problem> {
        match token::sent(headers) {
            Sent::Token(token) => self.identify_token(token, source).await,
            Sent::NoToken => Err(self.refused()),
            Sent::Nothing => {
                let message = "a Kubernetes token is required: send it as Authorization: Bearer TOKEN";
                Err(Problem::unauthenticated(message, CHALLENGE))
            }
        }
    }

    /// Whose `token` this is, sent from `source`.
    ///
    /// # Errors
    /// 401 if it is not known; 503 if the authority does not answer, or too many tokens are being asked about.
    pub async fn identify_token(&self, token: &str, source: &str) -> Result<Caller, Problem> {
        let refused = || self.refused();
        let digest: Digest = Sha256::digest(token.as_bytes()).into();
        let now = Instant::now();
        if let Some(known) = self.callers.known(&digest, now) {
            return known.ok_or_else(refused);
        }
        let busy = || {
            let message = "too many tokens are being asked about; try again";
            Problem::named(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(1)
        };
        let _place = self.strangers.charge(source, 1, Duration::ZERO).await.ok_or_else(busy)?;
        let caller = self.callers.get(digest, now, async {
            let _turn = self.reviews.charge(source, 1, REVIEW_WAIT).await.ok_or_else(busy)?;
            let caller = self.authority.identify(token).await.map_err(AuthorityError::into_problem)?.map(Caller::new);
            let keep = match caller {
                Some(_) => self.keep.min(token::time_left(token, Timestamp::now())),
                None => self.keep / 5,
            };
            Ok::<_, Problem>((caller, Instant::now() + keep))
        });
        caller.await?.ok_or_else(refused)
    }

    /// 401 for a token that is of no use.
    fn refused(&self) -> Problem {
        let audiences = self.authority.audiences().join(" or ");
        let message =
            format!("the token is not valid here: it must be for the audience {audiences}, and not have ended");
        Problem::unauthenticated(&message, REFUSAL)
    }

    /// Forgets what was said about `token`, which has ended.
    pub fn forget(&self, token: &str) {
        self.callers.forget(&Sha256::digest(token.as_bytes()).into());
    }

    /// Whether `caller` has `right`.
    ///
    /// # Errors
    /// 503 if the authority does not answer.
    pub async fn allows(&self, caller: &Caller, right: &Right) -> Result<bool, Problem> {
        let decision = self.decisions.get((caller.digest, right.clone()), Instant::now(), async {
            let allowed = self.authority.permit(&caller.identity, right).await?;
            Ok((allowed, Instant::now() + if allowed { self.keep } else { self.keep / 5 }))
        });
        decision.await.map_err(AuthorityError::into_problem)
    }

    /// That `caller` has `right`.
    ///
    /// # Errors
    /// 403 naming what is missing; 503 if the authority does not answer.
    pub async fn require(&self, caller: &Caller, right: &Right) -> Result<(), Problem> {
        if self.allows(caller, right).await? { Ok(()) } else { Err(forbidden(caller, right, "")) }
    }

    /// That `caller` may do `verb` with the objects of `resource` in `namespace`; `false` if they may not even get them,
    /// and so are to be told what somebody is told who asks for what is not there.
    ///
    /// # Errors
    /// As for [`Access::require`], if they may get them.
    pub async fn reach(
        &self,
        caller: &Caller,
        verb: &'static str,
        resource: &'static str,
        namespace: &str,
    ) -> Result<bool, Problem> {
        let right = Right::resource(verb, resource, Some(namespace));
        if self.allows(caller, &right).await? {
            return Ok(true);
        }
        if self.allows(caller, &Right::resource("get", resource, Some(namespace))).await? {
            return Err(forbidden(caller, &right, ""));
        }
        Ok(false)
    }

    /// That `caller` may list `resource` in `namespace`, or, without one, in all of them. `parameter` is the one that names
    /// a namespace.
    ///
    /// # Errors
    /// As for [`Access::require`].
    pub async fn require_list(
        &self,
        caller: &Caller,
        resource: &'static str,
        namespace: Option<&str>,
        parameter: &str,
    ) -> Result<(), Problem> {
        let right = Right::resource("list", resource, namespace);
        if self.allows(caller, &right).await? {
            return Ok(());
        }
        let hint = format!("; name a namespace that you may list: ?{parameter}=NAME");
        Err(forbidden(caller, &right, if namespace.is_none() { &hint } else { "" }))
    }
}

fn forbidden(caller: &Caller, right: &Right, hint: &str) -> Problem {
    let message = format!("user {:?} may not {right}{hint}", caller.username());
    let missing = match right {
        Right::Resource { verb, resource, namespace } => {
            Some(MissingRight { verb, resource: qualified(resource), namespace: namespace.clone() })
        }
        Right::Path { .. } => None,
    };
    Problem::named(StatusCode::FORBIDDEN, "forbidden", message).with(|named| named.missing = missing)
}

/// Middleware: lets nobody pass who is not known, and notes who passes, for handlers and for the log.
pub async fn authenticate(
    State(api): State<Api>,
    headers: HeaderMap,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>();
    let source = peer.map_or_else(String::new, |peer| peer.address.to_string());
    let caller = api.access.identify(&headers, &source).await?;
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().remove(token::TOKEN);
    if let Sent::Token(token) = token::sent(&headers) {
        request.extensions_mut().insert(Credential::new(token, source));
    }
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(caller);
    Ok(response)
}
