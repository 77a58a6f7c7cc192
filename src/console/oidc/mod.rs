//! Signing in at an OpenID Connect issuer that the API server trusts: the authorization code flow with PKCE.
//!
//! The issuer's token is shown to the API server, as the person's own request for a Session (docs/api.md): it says who they are, and
//! whether they may. What the browser brings back is tied to it by a cookie that is sealed and holds the whole sign-in; so nothing is
//! kept of people who never come back.

mod issuer;

use std::fmt;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub use self::issuer::IssuerError;
use self::issuer::{Issuer, Proof};
use super::Console;
use super::failure::{Failure, rendered};
use super::guard::ConsoleOrigin;
use super::keys::{self, same};
use super::session;
use super::signin::{own_path, sign_in};
use crate::domain::name::is_label;
use crate::signing::{open_text, seal_text};

/// The cookie of a sign-in that is under way.
const COOKIE: &str = "__Host-jct-sign-in";
const GONE: &str = "__Host-jct-sign-in=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";
/// How long one may take at the issuer.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How many come back at once: each asks the issuer and the API server.
const AT_ONCE: usize = 8;
const USE: &str = "sign-in";
const CALLBACK: &str = "/console/sign-in/oidc/callback";

/// Where people sign in.
#[derive(Clone)]
pub struct OidcSettings {
    /// The issuer's URL, as its tokens name it.
    pub issuer: String,
    /// What it knows the console as.
    pub client_id: String,
    /// What it knows it by, if anything.
    pub client_secret: Option<String>,
    /// What is asked for, beside `openid`.
    pub scopes: Vec<String>,
    /// PEM of who vouches for it; those that browsers believe without.
    pub ca: Option<String>,
}

impl fmt::Debug for OidcSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcSettings").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Asks the API server for a Session, as who has this ID token, in this namespace: the Session's token, or why there is none.
pub type AskForSession = Arc<dyn Fn(String, String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// Signing in at an issuer.
pub struct Oidc {
    issuer: Issuer,
    session: AskForSession,
    /// Where Sessions are made unless somebody names another namespace.
    namespace: String,
    turns: Semaphore,
}

impl Oidc {
    /// At the configured issuer.
    ///
    /// # Errors
    /// If its authorities cannot be read.
    pub fn new(settings: OidcSettings, namespace: String, session: AskForSession) -> Result<Self, IssuerError> {
        Ok(Self { issuer: Issuer::new(settings)?, session, namespace, turns: Semaphore::new(AT_ONCE) })
    }

    /// The issuer's host.
    pub fn host(&self) -> &str {
        self.issuer.host()
    }

    /// Where people's Sessions are made unless they name another namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// A sign-in that is under way, as the cookie has it.
#[derive(Serialize, Deserialize)]
struct Pending {
    state: String,
    verifier: String,
    nonce: String,
    redirect_uri: String,
    namespace: String,
    then: String,
    ends_at: Timestamp,
}

impl Pending {
    fn proof(&self) -> Proof<'_> {
        Proof { redirect_uri: &self.redirect_uri, verifier: &self.verifier, nonce: &self.nonce }
    }
}

/// Parameters of the beginning.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Begin {
    then: String,
    namespace: String,
}

#[derive(Template)]
#[template(path = "sign-in-elsewhere.html")]
struct ElsewherePage<'a> {
    version: &'static str,
    host: &'a str,
    url: &'a str,
}

/// Sends somebody to the issuer. By a page: a browser would not follow a redirect that answers a form.
///
/// # Errors
/// If the issuer does not answer.
pub async fn begin(
    State(console): State<Console>,
    Extension(reached): Extension<ConsoleOrigin>,
    Query(begin): Query<Begin>,
) -> Result<Response, Failure> {
    let oidc = of(&console)?;
    let namespace = Some(begin.namespace.trim()).filter(|name| !name.is_empty()).unwrap_or(&oidc.namespace);
    if !is_label(namespace) {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "this is no name of a namespace"));
    }
    let broken = || Failure::internal("no random numbers");
    let [state, verifier, nonce] =
        [keys::secret(), keys::secret(), keys::secret()].map(|found| found.ok_or_else(broken));
    let pending = Pending {
        state: state?,
        verifier: verifier?,
        nonce: nonce?,
        redirect_uri: format!("{}{CALLBACK}", reached.origin),
        namespace: namespace.to_owned(),
        then: own_path(&begin.then).to_owned(),
        ends_at: Timestamp::now() + LIFE,
    };
    let url = oidc.issuer.sign_in_at(&pending.proof(), &pending.state).await.map_err(unavailable)?;
    let key = console.key_for(USE).into_iter().next().ok_or_else(broken)?;
    let text = serde_json::to_string(&pending).map_err(|_| broken())?;
    let sealed = seal_text(&key, USE, &text).ok_or_else(broken)?;
    let cookie = format!("{COOKIE}={sealed}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}", LIFE.as_secs());
    let page = rendered(&ElsewherePage { version: env!("CARGO_PKG_VERSION"), host: oidc.host(), url: &url })?;
    let refresh = HeaderValue::from_str(&format!("0; url={url}")).map_err(|_| Failure::internal("an issuer's URL"))?;
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| broken())?;
    Ok(([(header::REFRESH, refresh), (header::SET_COOKIE, cookie)], page).into_response())
}

/// What the issuer sends people back with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Callback {
    code: String,
    state: String,
    error: String,
}

/// Somebody comes back from the issuer.
///
/// # Errors
/// If they were not sent there, or the issuer or the API server does not know them.
pub async fn callback(
    State(console): State<Console>,
    Query(callback): Query<Callback>,
    request: Request,
) -> Result<Response, Failure> {
    let oidc = of(&console)?;
    let (parts, _) = request.into_parts();
    let pending = pending(&console, &parts.headers).filter(|pending| same(&pending.state, &callback.state));
    let again =
        "this sign-in was not begun in this browser, or more than ten minutes ago: begin again at /console/sign-in";
    let pending = pending.ok_or_else(|| Failure::new(StatusCode::FORBIDDEN, again))?;
    if !callback.error.is_empty() || callback.code.is_empty() {
        let error: String = callback.error.chars().filter(char::is_ascii_graphic).take(64).collect();
        let message = format!("{} did not sign you in: {error}", oidc.host());
        return Err(Failure::new(StatusCode::FORBIDDEN, message));
    }
    let busy = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many people sign in at this moment; try again");
    let _turn = oidc.turns.try_acquire().map_err(|_| busy())?;
    let token = oidc.issuer.redeem(&callback.code, &pending.proof()).await.map_err(unavailable)?;
    let session = (oidc.session)(token, pending.namespace.clone()).await;
    let session = session.map_err(|message| Failure::new(StatusCode::FORBIDDEN, super::view::plain(&message)))?;
    let mut cookies = sign_in(&console, &parts, &session, Some(pending.namespace)).await?;
    cookies.append(header::SET_COOKIE, HeaderValue::from_static(GONE));
    Ok((cookies, Redirect::to(&pending.then)).into_response())
}

fn of(console: &Console) -> Result<&Oidc, Failure> {
    console.oidc().ok_or_else(|| Failure::not_found("there is no issuer to sign in at (JCT_OIDC_ISSUER_URL)"))
}

fn pending(console: &Console, headers: &HeaderMap) -> Option<Pending> {
    let sealed = session::cookie_named(headers, COOKIE)?;
    let text = console.key_for(USE).iter().find_map(|key| open_text(key, USE, &sealed))?;
    let pending: Pending = serde_json::from_str(&text).ok()?;
    (pending.ends_at > Timestamp::now()).then_some(pending)
}

fn unavailable(error: IssuerError) -> Failure {
    tracing::warn!(%error, "nobody can sign in at the issuer");
    Failure::new(StatusCode::BAD_GATEWAY, error.to_string())
}
