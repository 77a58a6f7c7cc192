//! Signing in and out.
//!
//! A browser never has a token in a URL: it sends one that was pasted, once, or a code that `kubectl jct console` got for one, which
//! is in the fragment of the link, is of use once, and for a minute.

use askama::Template;
use axum::Json;
use axum::extract::{FromRequestParts as _, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Console;
use super::failure::{Failure, rendered};
use super::form::Form;
use super::keys;
use super::rest::Rest;
use super::session::{self, GONE, Kept, LIFE, SignedIn, Visitor};

/// How long a code is of use.
const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage<'a> {
    version: &'static str,
    then: &'a str,
    problem: &'a str,
    /// The issuer that one may sign in at, if there is one, and where Sessions are made.
    issuer: Option<(&'a str, &'a str)>,
}

/// What a code stands for.
#[derive(Serialize, Deserialize)]
struct Coded {
    token: String,
    namespace: Option<String>,
}

/// Parameters of the page.
#[derive(Debug, Default, Deserialize)]
pub struct SignInQuery {
    #[serde(default)]
    then: String,
}

/// The page to sign in at.
///
/// # Errors
/// If it can't be made.
pub async fn page(State(console): State<Console>, Query(query): Query<SignInQuery>) -> Result<Response, Failure> {
    show(&console, own_path(&query.then), "", StatusCode::OK)
}

fn show(console: &Console, then: &str, problem: &str, status: StatusCode) -> Result<Response, Failure> {
    let issuer = console.oidc().map(|oidc| (oidc.host(), oidc.namespace()));
    let page = rendered(&SignInPage { version: env!("CARGO_PKG_VERSION"), then, problem, issuer })?;
    Ok((status, page).into_response())
}

/// Where to go then: a page of ours.
pub fn own_path(then: &str) -> &str {
    let rest = then.strip_prefix("/console");
    let is_ours = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let is_plain = then.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_ours && is_plain && !then.starts_with("/console/sign-") { then } else { "/console" }
}

/// Signs in with a token that was pasted.
///
/// # Errors
/// If the record is not there.
pub async fn by_token(State(console): State<Console>, request: Request) -> Result<Response, Response> {
    let (parts, form) = form_of(&console, request).await?;
    let then = own_path(form.get("then")).to_owned();
    let token = form.get("token").trim();
    let namespace = Some(form.get("namespace").trim()).filter(|name| !name.is_empty()).map(str::to_owned);
    match sign_in(&console, &parts, token, namespace).await {
        Ok(cookie) => Ok((cookie, Redirect::to(&then)).into_response()),
        Err(failure) if failure.is_signed_out() || failure.status == StatusCode::BAD_REQUEST => {
            show(&console, &then, &failure.message, StatusCode::UNAUTHORIZED).map_err(IntoResponse::into_response)
        }
        Err(failure) => Err(failure.into_response()),
    }
}

/// Signs in with a code, once.
///
/// # Errors
/// If the code is of no use.
pub async fn by_code(State(console): State<Console>, request: Request) -> Result<Response, Response> {
    let (parts, form) = form_of(&console, request).await?;
    let code = form.get("code");
    let old = || {
        let message = "the link was used already, or is older than a minute: run `kubectl jct console` again";
        Failure::new(StatusCode::FORBIDDEN, message).into_response()
    };
    let coded: Option<Coded> = console.kept(Kept::Code, code).await.map_err(IntoResponse::into_response)?;
    let coded = coded.ok_or_else(old)?;
    if !console.forget(code).await.map_err(IntoResponse::into_response)? {
        return Err(old());
    }
    let cookie = sign_in(&console, &parts, &coded.token, coded.namespace).await.map_err(IntoResponse::into_response)?;
    let body = Json(json!({"then": own_path(form.get("then"))}));
    Ok((cookie, body).into_response())
}

/// A code for the token that this request comes with: for programs, which send it in a header.
///
/// # Errors
/// If the API does not know the token.
pub async fn make_code(State(console): State<Console>, request: Request) -> Result<Response, Response> {
    let (parts, form) = form_of(&console, request).await?;
    let token = parts.headers.get("x-jct-token").and_then(|token| token.to_str().ok()).unwrap_or_default().to_owned();
    let answer = async {
        Rest::of(&console, &token, &parts).user().await?;
        let namespace = Some(form.get("namespace")).filter(|name| !name.is_empty()).map(str::to_owned);
        let ends_at = Timestamp::now() + CODE_LIFE;
        let code = console.keep(Kept::Code, &Coded { token, namespace }, ends_at).await?;
        Ok(Json(json!({"code": code, "path": "/console/sign-in", "ends_at": ends_at})))
    };
    let answer = answer
        .await
        .map_err(|failure: Failure| (failure.status, Json(json!({"detail": failure.message}))).into_response())?;
    Ok((StatusCode::CREATED, answer).into_response())
}

/// Signs out: what the browser has is of no use from here on, nor is the Session that it was for.
///
/// # Errors
/// If the record is not there.
pub async fn sign_out(State(console): State<Console>, request: Request) -> Result<Response, Response> {
    let (mut parts, _) = form_of(&console, request).await?;
    let visitor = Visitor::from_request_parts(&mut parts, &console).await?;
    console.forget(&visitor.secret).await.map_err(IntoResponse::into_response)?;
    Rest::of(&console, &visitor.who.token, &parts).end_session().await;
    let gone = HeaderMap::from_iter([
        (header::SET_COOKIE, HeaderValue::from_static(GONE)),
        (header::HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\", \"storage\"")),
    ]);
    Ok((gone, Redirect::to("/console/sign-in")).into_response())
}

async fn form_of(console: &Console, request: Request) -> Result<(Parts, Form), Response> {
    use axum::extract::FromRequest as _;
    let (parts, body) = request.into_parts();
    let mut copy = Request::new(body);
    *copy.method_mut() = parts.method.clone();
    *copy.headers_mut() = parts.headers.clone();
    *copy.extensions_mut() = parts.extensions.clone();
    // A program that has nothing to say sends no form.
    let is_form = parts.headers.contains_key(header::CONTENT_TYPE);
    let form = if is_form { Form::from_request(copy, console).await? } else { Form::default() };
    Ok((parts, form))
}

/// The cookie of a new session of who has `token`.
///
/// # Errors
/// If the API does not know the token, or the record is not there.
pub async fn sign_in(
    console: &Console,
    parts: &Parts,
    token: &str,
    namespace: Option<String>,
) -> Result<HeaderMap, Failure> {
    if token.is_empty() {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "paste a token"));
    }
    let user = Rest::of(console, token, parts).user().await?;
    // Who had a session in this browser has this one instead.
    if let Some(before) = session::of(console, &parts.headers).await? {
        console.forget(&before.secret).await?;
    }
    let broken = || Failure::internal("no random numbers");
    let ends_at = Timestamp::now() + LIFE;
    let csrf = keys::secret().ok_or_else(broken)?;
    let namespace = namespace.or_else(|| namespace_of(&user));
    let who = SignedIn { token: token.to_owned(), user, namespace, csrf, ends_at };
    let secret = console.keep(Kept::Session, &who, ends_at).await?;
    let cookie = session::set_cookie(&secret, LIFE).ok_or_else(broken)?;
    Ok(HeaderMap::from_iter([(header::SET_COOKIE, cookie)]))
}

/// Where a service account lives.
fn namespace_of(user: &str) -> Option<String> {
    let (namespace, _) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    Some(namespace.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/console/tasks?status=failed", "/console/tasks?status=failed")]
    #[case("/console", "/console")]
    #[case("", "/console")]
    #[case("/console/sign-out", "/console")]
    #[case("/consoles", "/console")]
    #[case("//evil.example", "/console")]
    #[case("https://evil.example/console", "/console")]
    #[case("/console/\\evil.example", "/console")]
    #[case("/console/x\r\nset-cookie: a=b", "/console")]
    fn one_comes_back_to_a_page_of_ours(#[case] then: &str, #[case] expected: &str) {
        assert_eq!(own_path(then), expected);
    }
}
