//! Checks where a request to the console arrived and which page sent it, and sets the headers that restrict its answers in a browser.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Console;
use super::failure::{Failure, plain_page};
use crate::domain::url::{self, host_name};
use crate::serve::{self, Peer};

/// Nothing is loaded from elsewhere, and nothing that stands in a page runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origin under which a request reached the console, as a browser writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleOrigin {
    /// Scheme, host and port.
    pub origin: String,
}

/// Middleware: only by HTTPS or from the same machine, changes only from our own pages; and headers for all answers.
pub async fn guard(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let public = console.0.settings.public_url.as_deref();
    let method = request.method().clone();
    let checked = console_origin(&request, public).and_then(|reached| {
        let sends = method == Method::POST;
        if sends { from_own_page(request.headers(), &reached).map(|()| reached) } else { Ok(reached) }
    });
    let mut response = match checked {
        Ok(reached) => {
            request.extensions_mut().insert(reached);
            next.run(request).await
        }
        Err(why) => plain_page(&Failure::new(StatusCode::FORBIDDEN, why)).into_response(),
    };
    harden(response.headers_mut(), public.is_some());
    response
}

fn harden(headers: &mut HeaderMap, https: bool) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // With "no-referrer" browsers would name no origin either when a form is sent.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is handed out of a trace has a stricter one.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// Where a request arrived: at the public URL, behind which there is TLS, or through a port-forward.
fn console_origin(request: &Request, public: Option<&str>) -> Result<ConsoleOrigin, &'static str> {
    let host = serve::host(request).ok_or("the request names no host")?.to_ascii_lowercase();
    if let Some(origin) = public.map(origin_of).filter(|origin| origin.strip_prefix("https://") == Some(&host)) {
        return Ok(ConsoleOrigin { origin });
    }
    let near = request.extensions().get::<Peer>().is_some_and(|peer| peer.address.is_loopback());
    if is_loopback(&host) && near {
        return Ok(ConsoleOrigin { origin: format!("http://{host}") });
    }
    Err("the console is reached by `kubectl jct console`, or by HTTPS at its public URL (JCT_PUBLIC_URL)")
}

/// Scheme, host and port of a URL; the port left out where it is the scheme's own.
fn origin_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    format!("{scheme}://{}", host.strip_suffix(":443").unwrap_or(&host))
}

fn is_loopback(host: &str) -> bool {
    let name = host_name(host);
    url::is_loopback(name) || name.ends_with(".localhost")
}

/// That a request comes from a page of ours, or from a program that is no browser: those send no cookie that is worth anything.
fn from_own_page(headers: &HeaderMap, reached: &ConsoleOrigin) -> Result<(), &'static str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let own_site = text(&FETCH_SITE).is_none_or(|site| site == "same-origin");
    let own_origin = match text(&header::ORIGIN) {
        Some(origin) => origin.eq_ignore_ascii_case(&reached.origin),
        None => !headers.contains_key(header::COOKIE),
    };
    if own_site && own_origin { Ok(()) } else { Err("the request comes from a page of another site") }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use rstest::rstest;

    use super::*;

    fn arrived(host: &str, peer: &str) -> Result<String, &'static str> {
        let mut request = Request::builder().uri("/console").header("host", host).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer { address: peer.parse().unwrap(), certified: false });
        console_origin(&request, Some("https://JCT.example.org:443/base")).map(|reached| reached.origin)
    }

    #[rstest]
    #[case("127.0.0.1:8443", "127.0.0.1", Some("http://127.0.0.1:8443"))]
    #[case("localhost:1", "::1", Some("http://localhost:1"))]
    #[case("[::1]:8000", "127.0.0.1", Some("http://[::1]:8000"))]
    #[case("jct.localhost", "127.0.0.1", Some("http://jct.localhost"))]
    #[case("jct.example.org", "10.0.0.7", Some("https://jct.example.org"))]
    #[case("jct.example.org:8000", "10.0.0.7", None)]
    #[case("127.0.0.1:8000", "10.0.0.7", None)]
    #[case("rebound.example.org", "127.0.0.1", None)]
    #[case("localhost.example.org", "127.0.0.1", None)]
    #[case("127.0.0.1.example.org", "127.0.0.1", None)]
    fn by_https_or_from_the_same_machine(#[case] host: &str, #[case] peer: &str, #[case] origin: Option<&str>) {
        assert_eq!(arrived(host, peer).ok().as_deref(), origin);
    }

    #[rstest]
    #[case(&[("origin", "http://127.0.0.1:1"), ("cookie", "a=b")], true)]
    #[case(&[("origin", "http://127.0.0.1:1"), ("sec-fetch-site", "same-origin")], true)]
    #[case(&[], true)] // A program.
    #[case(&[("cookie", "a=b")], false)]
    #[case(&[("origin", "null"), ("cookie", "a=b")], false)]
    #[case(&[("origin", "http://127.0.0.1:2")], false)]
    #[case(&[("origin", "https://127.0.0.1:1")], false)]
    #[case(&[("origin", "http://127.0.0.1:1"), ("sec-fetch-site", "cross-site")], false)]
    #[case(&[("sec-fetch-site", "same-site")], false)]
    fn a_change_comes_from_our_own_page(#[case] headers: &[(&'static str, &'static str)], #[case] good: bool) {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let reached = ConsoleOrigin { origin: "http://127.0.0.1:1".into() };
        assert_eq!(from_own_page(&headers.collect(), &reached).is_ok(), good);
    }
}
