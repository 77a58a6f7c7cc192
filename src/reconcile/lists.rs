//! How the controllers list what they watch: in pages that are small in bytes, and one page at a time.
//!
//! The client holds a page twice, as bytes and as text, before the first object of it is read. An object can have half a
//! megabyte, and all kinds begin to list at the same moment, at a start as after an outage of the API server: without this
//! they would together need more memory than the operator may have. Most objects have a few KiB, and a hundred thousand of
//! them are to be listed within seconds: so pages grow as long as their bytes allow, and one that is too long after all is
//! asked for again in parts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher::Config;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Objects in the first page of a kind, the fewest and the most.
const PAGE: u32 = 20;
const LEAST: u32 = 4;
const MOST: u32 = 500;

/// The bytes that a page is to have, and that it may have: more only where it is one of the fewest objects.
const BYTES: usize = 1 << 20;
const MOST_BYTES: usize = 8 << 20;

/// How long one page may hold up the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// How every watch lists.
pub fn config() -> Config {
    Config::default().page_size(PAGE)
}

/// The same client, but that of all lists asked for through it one is answered at a time, and in pages of its own measure.
/// Nothing else waits.
pub fn one_at_a_time(client: &Client) -> Client {
    let (namespace, client) = (client.default_namespace().to_owned(), client.clone());
    let turns = Arc::new(Semaphore::new(1));
    let pages = Arc::new(Pages::default());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, turns, pages) = (client.clone(), turns.clone(), pages.clone());
        async move {
            if !is_list(&request) {
                let answer = client.send(request).await?;
                return Ok(answer.map(|body| body.map_err(tower::BoxError::from).boxed_unsync()));
            }
            let turn = turns.acquire_owned().await?;
            let (request, _) = request.into_parts();
            let kind = request.uri.path().to_owned();
            let (answer, bytes) = loop {
                let limit = pages.limit(&kind);
                // One that does not end is cut off, and the watch tries again.
                let until = Instant::now() + PATIENCE;
                let answer = timeout_at(until, client.send(page(&request, limit)?)).await??;
                let (head, body) = answer.into_parts();
                let most = if limit <= LEAST { usize::MAX } else { MOST_BYTES };
                match timeout_at(until, read(body, most)).await?? {
                    Some(bytes) => {
                        pages.note(&kind, limit, bytes.len());
                        break (head, bytes);
                    }
                    None => pages.note(&kind, limit, usize::MAX),
                }
            };
            // The turn ends with the body.
            let body = Body::from(bytes).map_frame(move |frame| {
                let _held = &turn;
                frame
            });
            Ok::<_, tower::BoxError>(Response::from_parts(answer, body.map_err(tower::BoxError::from).boxed_unsync()))
        }
    });
    Client::new(service, namespace)
}

/// How many objects the next page of each kind is to have.
#[derive(Debug, Default)]
struct Pages(Mutex<HashMap<String, u32>>);

impl Pages {
    fn limit(&self, kind: &str) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(kind).copied().unwrap_or(PAGE)
    }

    /// A page of at most `limit` objects had so many bytes.
    fn note(&self, kind: &str, limit: u32, bytes: usize) {
        let next = next_limit(limit, bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.to_owned(), next);
    }
}

/// Pages grow by steps, for what comes may be larger, and shrink at once.
fn next_limit(limit: u32, bytes: usize) -> u32 {
    let fitting = BYTES as u64 * u64::from(limit) / (bytes as u64).max(1);
    u32::try_from(fitting).unwrap_or(u32::MAX).clamp(LEAST, MOST).min(limit.saturating_mul(4))
}

/// The same request, for so many objects.
fn page(request: &Parts, limit: u32) -> Result<Request<Body>, tower::BoxError> {
    let query = request.uri.query().unwrap_or_default().split('&');
    let query: Vec<String> =
        query.map(|part| if part.starts_with("limit=") { format!("limit={limit}") } else { part.to_owned() }).collect();
    let mut uri = request.uri.clone().into_parts();
    uri.path_and_query = Some(format!("{}?{}", request.uri.path(), query.join("&")).parse()?);
    let mut page = Request::new(Body::empty());
    *page.method_mut() = request.method.clone();
    *page.uri_mut() = Uri::from_parts(uri)?;
    *page.headers_mut() = request.headers.clone();
    Ok(page)
}

/// All of a body; none if it is longer than `most`.
async fn read(mut body: Body, most: usize) -> Result<Option<Vec<u8>>, kube::Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            if all.len() + bytes.len() > most {
                return Ok(None);
            }
            all.extend_from_slice(&bytes);
        }
    }
    Ok(Some(all))
}

/// A page of a list, and no watch.
fn is_list(request: &Request<Body>) -> bool {
    let asks =
        |name: &str| request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with(name)));
    request.method() == Method::GET && asks("limit=") && !asks("watch=")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{Api, ListParams};
    use serde_json::json;

    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn one_page_is_answered_after_the_other_and_nothing_else_waits() {
        let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let client = one_at_a_time(&Client::new(service, "default"));
        let pods: Api<Pod> = Api::namespaced(client, "n");
        let list = |pods: Api<Pod>| tokio::spawn(async move { pods.list(&ListParams::default().limit(PAGE)).await });
        let (first, second) = (list(pods.clone()), list(pods.clone()));
        let (request, answer) = server.next_request().await.unwrap();
        assert!(is_list(&request), "{}", request.uri());
        // The second list waits; who asks for one object does not.
        let one = tokio::spawn({
            let pods = pods.clone();
            async move { pods.get("a").await }
        });
        let (request, of_one) = server.next_request().await.unwrap();
        assert!(request.uri().path().ends_with("/pods/a"), "{}", request.uri());
        let body = |value: serde_json::Value| Response::new(Body::from(value.to_string().into_bytes()));
        of_one.send_response(body(json!({"metadata": {"name": "a"}})));
        one.await.unwrap().unwrap();
        assert!(timeout(Duration::from_millis(50), server.next_request()).await.is_err(), "the second list waits");
        let page = json!({"metadata": {}, "items": [{"metadata": {"name": "a"}}]});
        answer.send_response(body(page.clone()));
        let (_, answer) = server.next_request().await.unwrap();
        answer.send_response(body(page));
        for list in [first, second] {
            assert_eq!(list.await.unwrap().unwrap().items.len(), 1);
        }
    }

    #[test]
    fn pages_grow_by_steps_as_their_bytes_allow_and_shrink_at_once() {
        let small = |limit: u32| next_limit(limit, limit as usize * 3000);
        assert_eq!((small(PAGE), small(80), small(320)), (80, 320, 349));
        assert_eq!(next_limit(20, 100), 80);
        assert_eq!(next_limit(MOST, 100), MOST);
        assert_eq!(next_limit(20, 20 << 19), LEAST, "half a megabyte each");
        assert_eq!(next_limit(MOST, usize::MAX), LEAST);
        assert_eq!(next_limit(LEAST, 0), 16, "and grow again");
    }

    #[tokio::test]
    async fn a_page_that_is_too_long_is_asked_for_again_in_parts() {
        let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let pods: Api<Pod> = Api::namespaced(one_at_a_time(&Client::new(service, "default")), "n");
        let list = |pods: Api<Pod>| tokio::spawn(async move { pods.list(&ListParams::default().limit(PAGE)).await });
        let page = |bytes: usize| {
            let page = json!({"metadata": {}, "items": [{"metadata": {"name": "a", "annotations": {"a": "x".repeat(bytes)}}}]});
            Response::new(Body::from(page.to_string().into_bytes()))
        };
        let asked = list(pods.clone());
        for (limit, bytes) in [("limit=20", MOST_BYTES), ("limit=4", 2 * MOST_BYTES)] {
            let (request, answer) = server.next_request().await.unwrap();
            assert!(request.uri().query().unwrap().split('&').any(|part| part == limit), "{}", request.uri());
            answer.send_response(page(bytes));
        }
        assert_eq!(asked.await.unwrap().unwrap().items.len(), 1, "of the fewest objects any length is taken");
        let asked = list(pods);
        let (request, answer) = server.next_request().await.unwrap();
        assert!(request.uri().query().unwrap().contains("limit=4"), "{}", request.uri());
        answer.send_response(page(10));
        asked.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_refusal_stays_what_it_is() {
        let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let pods: Api<Pod> = Api::namespaced(one_at_a_time(&Client::new(service, "default")), "n");
        let asked = tokio::spawn(async move { pods.list(&ListParams::default().limit(PAGE)).await });
        let (_, answer) = server.next_request().await.unwrap();
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "m"});
        answer
            .send_response(Response::builder().status(410).body(Body::from(status.to_string().into_bytes())).unwrap());
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 410), "{refused:?}");
    }
}
