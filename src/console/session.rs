//! Who is signed in. The browser has an opaque id; what it stands for is in the database, sealed with a key that needs both the id
//! and the installation's key, so that every replica knows it and nobody who reads the database does.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Console;
use super::failure::{Failure, SignedOut};
use super::keys;
use crate::domain::url::percent_encoded;
use crate::signing::{open_text, seal_text};
use crate::store::{KeepSealed, StoreError};

/// The name of the cookie: browsers take one of such a name only as `Secure`, for this host alone and for all paths.
pub const COOKIE: &str = "__Host-jct";
/// How long somebody is signed in, whatever they do.
pub const LIFE: SignedDuration = SignedDuration::from_hours(8);

/// Somebody who is signed in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedIn {
    /// What the API knows them by.
    pub token: String,
    /// As whom it does.
    pub user: String,
    /// The namespace that they look at, unless they name one.
    pub namespace: Option<String>,
    /// What their forms have to say.
    pub csrf: String,
    /// When they are signed out.
    pub ends_at: Timestamp,
}

/// What is kept under a secret, and as what.
pub enum Kept {
    /// A session: the secret is the cookie.
    Session,
    /// A code to sign in with once.
    Code,
}

impl Kept {
    fn name(&self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Code => "code",
        }
    }
}

impl Console {
    /// Keeps `what` until then; the secret to find it by.
    ///
    /// # Errors
    /// If the database, or the system's random numbers, are not there.
    pub async fn keep<T: Serialize>(&self, kind: Kept, what: &T, ends_at: Timestamp) -> Result<String, Failure> {
        let broken = || Failure::internal("nothing can be sealed");
        let secret = keys::secret().ok_or_else(broken)?;
        let key = self.keys(&secret).into_iter().next().ok_or_else(broken)?;
        let text = serde_json::to_string(what).map_err(|_| broken())?;
        let sealed = seal_text(&key, kind.name(), &text).ok_or_else(broken)?;
        let keep = KeepSealed { id: keys::id_of(&secret), sealed, ends_at };
        self.0.store.keep_sealed(keep).await.map_err(|error| unavailable(&error))?;
        Ok(secret)
    }

    /// What is kept under `secret`.
    ///
    /// # Errors
    /// If the database is not there.
    pub async fn kept<T: for<'de> Deserialize<'de>>(&self, kind: Kept, secret: &str) -> Result<Option<T>, Failure> {
        if !keys::is_secret(secret) {
            return Ok(None);
        }
        let sealed = self.0.store.sealed(&keys::id_of(secret), Timestamp::now()).await;
        let Some(sealed) = sealed.map_err(|error| unavailable(&error))? else { return Ok(None) };
        let text = self.keys(secret).iter().find_map(|key| open_text(key, kind.name(), &sealed));
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Forgets what is kept under `secret`: whether it was there.
    ///
    /// # Errors
    /// If the database is not there.
    pub async fn forget(&self, secret: &str) -> Result<bool, Failure> {
        self.0.store.end_sealed(&keys::id_of(secret)).await.map_err(|error| unavailable(&error))
    }

    /// The keys of this installation for one use: that which seals now first.
    pub fn key_for(&self, purpose: &str) -> Vec<[u8; 32]> {
        self.keys(purpose)
    }

    fn keys(&self, secret: &str) -> Vec<[u8; 32]> {
        keys::keys_of(secret, &self.0.trust.borrow().keys)
    }
}

fn unavailable(error: &StoreError) -> Failure {
    tracing::warn!(%error, "the record does not answer the console");
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the record is not available; try again")
}

/// The session of a request.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who it is.
    pub who: Arc<SignedIn>,
    /// What their browser has.
    pub secret: Arc<str>,
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| to_sign_in(&parts.headers, None))
    }
}

/// Middleware: nobody passes who is not signed in.
pub async fn require(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let visitor = match of(&console, request.headers()).await {
        Ok(visitor) => visitor,
        Err(failure) => return super::failure::plain_page(&failure).into_response(),
    };
    let Some(visitor) = visitor else {
        let wanted = request.uri().path_and_query().map(|path| path.as_str().to_owned());
        let wanted = wanted.filter(|_| request.method().is_safe());
        return to_sign_in(request.headers(), wanted.as_deref());
    };
    let (secret, headers) = (visitor.secret.clone(), request.headers().clone());
    request.extensions_mut().insert(visitor);
    let response = {
        let _turn = console.0.making.acquire().await;
        next.run(request).await
    };
    if response.extensions().get::<SignedOut>().is_none() {
        return response;
    }
    // Their token has ended: so has the session.
    match console.forget(&secret).await {
        Ok(_) => to_sign_in(&headers, None),
        Err(failure) => super::failure::plain_page(&failure).into_response(),
    }
}

/// Who sends these headers.
///
/// # Errors
/// If the database is not there.
pub async fn of(console: &Console, headers: &HeaderMap) -> Result<Option<Visitor>, Failure> {
    let Some(secret) = cookie(headers) else { return Ok(None) };
    let who: Option<SignedIn> = console.kept(Kept::Session, &secret).await?;
    let who = who.filter(|who| who.ends_at > Timestamp::now());
    Ok(who.map(|who| Visitor { who: Arc::new(who), secret: secret.into() }))
}

/// To where one signs in, and back to `wanted`. A part of a page can't be sent elsewhere: the whole page is.
pub fn to_sign_in(headers: &HeaderMap, wanted: Option<&str>) -> Response {
    let by_htmx = headers.contains_key("hx-request");
    let wanted = wanted.filter(|wanted| !by_htmx && *wanted != "/console");
    let target = match wanted {
        Some(wanted) => format!("/console/sign-in?then={}", percent_encoded(wanted.as_bytes(), b"-._~/")),
        None => "/console/sign-in".to_owned(),
    };
    let cookie = (header::SET_COOKIE, HeaderValue::from_static(GONE));
    if by_htmx {
        let target = HeaderValue::from_str(&target).unwrap_or(HeaderValue::from_static("/console/sign-in"));
        return ([cookie, (header::HeaderName::from_static("hx-redirect"), target)], "").into_response();
    }
    ([cookie], Redirect::to(&target)).into_response()
}

/// The value of our cookie.
pub fn cookie(headers: &HeaderMap) -> Option<String> {
    cookie_named(headers, COOKIE)
}

/// The value of the cookie of this name.
pub fn cookie_named(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let ours = all.flat_map(|value| value.split(';')).filter_map(|one| one.trim().split_once('='));
    ours.filter(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned()).next()
}

/// Takes the cookie away.
pub const GONE: &str = "__Host-jct=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

/// The header that sets it.
pub fn set_cookie(secret: &str, life: SignedDuration) -> Option<HeaderValue> {
    let text = format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}", life.as_secs());
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let of =
            |value: &'static str| cookie(&HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(value))]));
        assert_eq!(of("a=b; __Host-jct=x; c=d").as_deref(), Some("x"));
        assert_eq!(of("__Host-jct-other=x; Host-jct=y; jct=z"), None);
        let set = set_cookie("abc", LIFE).unwrap();
        assert_eq!(set, "__Host-jct=abc; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=28800");
    }
}
