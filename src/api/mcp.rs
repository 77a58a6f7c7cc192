//! `/mcp`: the Model Context Protocol over HTTP (docs/mcp.md), for who may come to the REST API and by the same tokens.
//!
//! Its tools ask the routes beside it in the same process, with the token of the request: what somebody may do by a tool is what they
//! may do by REST, under the same limits.

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use jct_mcp::{ApiRequest, ApiResponse, CLIENT_HEADER, RestClient, SESSION_HEADER};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::auth::Credential;
use super::error::Problem;
use super::{Api, frame};
use crate::domain::name::is_label;
use crate::domain::url::{host_name, is_loopback};
use crate::serve::{Arrival, host};

/// The longest `initialize` request of which the client's name is read, in bytes.
const MOST_OF_AN_INTRODUCTION: usize = 64 * 1024;

/// Sends requests to the REST API in the same process.
#[derive(Clone)]
struct LocalClient(Router);

impl RestClient for LocalClient {
    /// That of the address: `/mcp?namespace=team`.
    fn namespace(&self, head: Option<&http::request::Parts>) -> Option<String> {
        let given = head?.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("namespace="))?;
        is_label(given).then(|| given.to_owned())
    }

    async fn send(&self, head: Option<&http::request::Parts>, wanted: ApiRequest) -> Result<ApiResponse, String> {
        let mut request =
            Request::builder().method(wanted.method).uri(wanted.path).header(CLIENT_HEADER, wanted.client);
        // By which the request itself was let in: what it is sent by is not among its headers any more.
        if let Some(credential) = head.and_then(|head| head.extensions.get::<Credential>()) {
            request = request.header("x-jct-token", credential.token());
        }
        if let Some((first, count)) = wanted.range {
            request = request.header(header::RANGE, format!("bytes={first}-{}", first.saturating_add(count) - 1));
        }
        let body = match wanted.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(body).map_err(|error| format!("it cannot be asked: {error}"))?;
        head.map(|head| Arrival::of(&head.extensions)).unwrap_or_default().pass_on(&mut request);
        let Ok(answer) = self.0.clone().oneshot(request).await;
        let (parts, mut body) = answer.into_parts();
        let (mut read, mut is_cut) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the answer breaks off: {error}"))?;
            let Ok(bytes) = frame.into_data() else { continue };
            let room = ApiResponse::MOST.saturating_sub(read.len());
            read.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            if bytes.len() > room {
                is_cut = true;
                break;
            }
        }
        Ok(ApiResponse { status: parts.status, headers: parts.headers, body: Bytes::from(read), is_cut })
    }
}

/// The route, over the REST API `rest`.
pub fn route(api: &Api, rest: Router) -> Router<Api> {
    let settings = &api.settings;
    // Within the time that a request has.
    let patience = settings.timeout.mul_f32(0.6);
    let service = jct_mcp::http(LocalClient(rest), settings.max_body_bytes, patience, CancellationToken::new());
    let router = Router::new().route_service("/mcp", service).layer(from_fn(introduce));
    let router = frame::guard(router, api).layer(from_fn_with_state(api.clone(), guard));
    frame::beside(router, api)
}

/// Middleware: gives a client that introduces itself an id by which it is known again.
async fn introduce(request: Request, next: Next) -> Response {
    let is_small = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_small = is_small.is_some_and(|length: usize| length <= MOST_OF_AN_INTRODUCTION);
    if request.headers().contains_key(SESSION_HEADER) || !is_small {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_OF_AN_INTRODUCTION).await else {
        return Problem::named(StatusCode::BAD_REQUEST, "bad_request", "the body does not arrive").into_response();
    };
    let id = jct_mcp::session_id(&body);
    let mut response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id).ok()).filter(|_| response.status().is_success()) {
        response.headers_mut().insert(SESSION_HEADER, id);
    }
    response
}

/// Middleware: turns away what a page of another site, or under a name that leads here by a trick, has a browser send.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(host(&request).unwrap_or_default(), request.headers(), api.settings.public_url.as_deref()) {
        Ok(()) => next.run(request).await,
        Err(why) => Problem::named(StatusCode::FORBIDDEN, "forbidden_origin", why).into_response(),
    }
}

fn check(host: &str, headers: &HeaderMap, public: Option<&str>) -> Result<(), &'static str> {
    let public = public.map(|url| authority(url.split_once("://").map_or(url, |(_, rest)| rest)));
    let is_public = |host: &str| public.as_deref() == Some(&*authority(host));
    if !is_public(host) && !is_of_the_cluster(host) {
        return Err(
            "no such Host: /mcp is reached at its public URL (JCT_PUBLIC_URL), by its Service, or on the loopback",
        );
    }
    match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?")) {
        None => Ok(()),
        Some(origin) => match origin.split_once("://") {
            Some(("https", host)) if is_public(host) => Ok(()),
            Some((_, host)) if is_loopback(host_name(host)) => Ok(()),
            _ => Err("the request comes from a page of another site (Origin)"),
        },
    }
}

/// Host and port, the port of HTTPS left out.
fn authority(text: &str) -> String {
    let host = text.split('/').next().unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(":443").map_or(host.clone(), str::to_owned)
}

/// An address, the loopback, or the name of a Service: none that somebody outside can have lead here.
fn is_of_the_cluster(host: &str) -> bool {
    let name = host_name(host).to_ascii_lowercase();
    let is_service = name.ends_with(".svc") || name.contains(".svc.") || (!name.is_empty() && !name.contains('.'));
    is_loopback(host_name(host)) || name.parse::<IpAddr>().is_ok() || is_service
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PUBLIC: Option<&str> = Some("https://jct.example.org/x");

    #[rstest]
    #[case("localhost:8000", None, true)]
    #[case("127.0.0.1:8000", None, true)]
    #[case("[::1]:8000", None, true)]
    #[case("10.0.0.7:8000", None, true)]
    #[case("jct-api", None, true)]
    #[case("jct-api.jct-system.svc", None, true)]
    #[case("jct-api.jct-system.svc.cluster.local", None, true)]
    #[case("JCT.example.org", None, true)]
    #[case("jct.example.org:443", Some("https://jct.example.org"), true)]
    #[case("localhost:8000", Some("http://localhost:6274"), true)]
    #[case("evil.example", None, false)]
    #[case("jct.example.org.evil.example", None, false)]
    #[case("", None, false)]
    #[case("localhost:8000", Some("https://evil.example"), false)]
    #[case("localhost:8000", Some("http://jct.example.org"), false)]
    #[case("localhost:8000", Some("null"), false)]
    #[case("localhost:8000", Some("http://localhost.evil.example"), false)]
    fn a_page_of_another_site_is_turned_away(#[case] host: &str, #[case] origin: Option<&str>, #[case] is_good: bool) {
        let headers = origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())).into_iter().collect();
        assert_eq!(check(host, &headers, PUBLIC).is_ok(), is_good);
    }

    #[test]
    fn without_a_public_url_no_name_from_outside_leads_here() {
        assert!(check("jct.example.org", &HeaderMap::new(), None).is_err());
    }
}
