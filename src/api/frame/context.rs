//! The identity of a request: its trace id and request id, taken over or made, answered, and in the access log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{debug, info};

use super::net::PROBES;
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::error::Problem;
use crate::api::metrics::{ApiMetrics, RequestLabels};
use crate::domain::TraceId;
use crate::domain::cwom::Kind;
use crate::domain::id::hex;
use crate::store::TracePlace;

const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace id that tells of one that was asked for and not taken.
const PARENT_TRACE_ID: HeaderName = HeaderName::from_static("x-parent-trace-id");

/// The trace id of a request: `X-Trace-Id`, else that of `traceparent`, else a new one. One that was given is the caller's
/// to use for a correlation; whether they may make a part of that trace is asked by [`RequestTrace::join`].
#[derive(Clone, Debug)]
pub struct RequestTrace(Arc<Ids>);

#[derive(Debug)]
struct Ids {
    given: Option<TraceId>,
    fresh: TraceId,
    /// Whether the fresh one is used though another one was given.
    parted: AtomicBool,
}

/// The trace that what a request makes belongs to.
#[derive(Clone, Debug)]
pub struct Joined {
    pub trace_id: TraceId,
    /// The id that was given, if it is of a trace that the caller may not join.
    pub parent: Option<TraceId>,
}

impl RequestTrace {
    fn new(given: Option<TraceId>, fresh: TraceId) -> Self {
        Self(Arc::new(Ids { given, fresh, parted: AtomicBool::new(false) }))
    }

    fn current(&self) -> &TraceId {
        let Ids { given, fresh, parted } = &*self.0;
        given.as_ref().filter(|_| !parted.load(Ordering::Relaxed)).unwrap_or(fresh)
    }

    fn parent(&self) -> Option<&TraceId> {
        self.0.given.as_ref().filter(|_| self.0.parted.load(Ordering::Relaxed))
    }

    /// The trace that `caller` makes a part of: the one whose id was given, if nothing has it yet, or if they may `get` a
    /// Task or a work object of it; else a new one. Who could join any trace could bury what is in it.
    ///
    /// # Errors
    /// If the record or the API server does not answer.
    pub async fn join(&self, api: &Api, caller: &Caller) -> Result<Joined, Problem> {
        if let Some(given) = &self.0.given {
            let places = api.store.places_of_trace(given).await?;
            let mut may_join = places.is_empty();
            for TracePlace { kind, namespace } in &places {
                let right = Right::resource("get", kind.map_or("tasks", Kind::plural), Some(namespace));
                may_join = may_join || api.access.allows(caller, &right).await?;
            }
            self.0.parted.store(!may_join, Ordering::Relaxed);
        }
        Ok(Joined { trace_id: self.current().clone(), parent: self.parent().cloned() })
    }
}

impl<S: Sync> FromRequestParts<S> for RequestTrace {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let trace = parts.extensions.get::<Self>().cloned();
        trace.ok_or_else(|| Problem::internal("trace a request", &"the route has no context"))
    }
}

/// Middleware: gives the request its identity, counts it, and writes the access log.
pub async fn context(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let random = random();
    let asked = given(request.headers(), &TRACE_ID).or_else(|| traceparent(request.headers()));
    let trace = RequestTrace::new(asked, TraceId::from_random(random));
    // A request id has the form of a trace id.
    let request_id = given(request.headers(), &REQUEST_ID).unwrap_or_else(|| TraceId::from_random(self::random()));
    request.extensions_mut().insert(trace.clone());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();

    let mut response = next.run(request).await;
    let trace_id = trace.current();
    let headers = response.headers_mut();
    let ids = [(TRACE_ID, Some(trace_id)), (PARENT_TRACE_ID, trace.parent()), (REQUEST_ID, Some(&request_id))];
    for (name, value) in ids.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        if let Ok(value) = HeaderValue::from_str(value.as_str()) {
            headers.insert(name, value);
        }
    }
    let parent = format!("00-{trace_id}-{}-01", hex(&random[..8]));
    if let (true, Ok(parent)) = (is_w3c(trace_id.as_str(), 32), HeaderValue::from_str(&parent)) {
        headers.insert(TRACEPARENT, parent);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    log(&method, &uri, &response, began, trace_id, &request_id);
    count(&api.health.metrics, route.as_ref(), &response, began);
    response
}

fn log(
    method: &axum::http::Method,
    uri: &Uri,
    response: &Response,
    began: Instant,
    trace_id: &TraceId,
    request_id: &TraceId,
) {
    let (path, status) = (uri.path(), response.status().as_u16());
    let user = response.extensions().get::<Caller>().map(Caller::username);
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if user.is_none() && status < 400 {
        // Probes, every few seconds.
        debug!(%method, path, status, milliseconds, %trace_id, %request_id, "request");
    } else {
        info!(%method, path, status, milliseconds, user, %trace_id, %request_id, "request");
    }
}

fn given(headers: &HeaderMap, name: &HeaderName) -> Option<TraceId> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn count(metrics: &ApiMetrics, route: Option<&MatchedPath>, response: &Response, began: Instant) {
    let route = route.map_or("none", MatchedPath::as_str);
    if !PROBES.contains(&route) {
        let labels = RequestLabels { route: route.into(), status: response.status().as_u16() };
        metrics.requests.get_or_create(&labels).inc();
        metrics.request_seconds.observe(began.elapsed().as_secs_f64());
    }
}

/// The trace id of a W3C `traceparent`.
fn traceparent(headers: &HeaderMap) -> Option<TraceId> {
    let mut parts = headers.get(TRACEPARENT)?.to_str().ok()?.split('-');
    let (version, trace_id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, chars| text.len() == chars && text.bytes().all(|b| b"0123456789abcdef".contains(&b));
    // Later versions may add fields; the first one has four.
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (known && is_w3c(trace_id, 32) && is_w3c(parent, 16) && is_hex(flags, 2)).then(|| trace_id.parse().ok())?
}

/// Whether `text` is an id of W3C trace context: lower-case hex digits, not all zero.
fn is_w3c(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|b| b"0123456789abcdef".contains(&b)) && text.bytes().any(|b| b != b'0')
}

/// Without random bytes there is no server: the kernel gives them, once it has started.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[rstest]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true)]
    #[case("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", true)]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", false)]
    #[case("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false)]
    #[case("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false)]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false)]
    #[case("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false)]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false)]
    #[case("", false)]
    fn a_traceparent_is_taken_over_if_it_is_one(#[case] value: &str, #[case] taken: bool) {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(value).unwrap())]);
        assert_eq!(traceparent(&headers).as_ref().map(TraceId::as_str), taken.then_some(TRACE));
    }
}
