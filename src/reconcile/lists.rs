//! How the controllers list what they watch: in small pages, and one page at a time.
//!
//! The client holds a page twice, as bytes and as text, before the first object of it is read. An object can have half a
//! megabyte, and all kinds begin to list at the same moment, at a start as after an outage of the API server: without this
//! they would together need more memory than the operator may have.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request};
use futures::StreamExt as _;
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher::Config;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Objects in a page.
const PAGE: u32 = 20;

/// How long one page may hold up the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// How every watch lists.
pub fn config() -> Config {
    Config::default().page_size(PAGE)
}

/// The same client, but that of all lists asked for through it one is answered at a time. Nothing else waits.
pub fn one_at_a_time(client: &Client) -> Client {
    let (namespace, client) = (client.default_namespace().to_owned(), client.clone());
    let turns = Arc::new(Semaphore::new(1));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, turns) = (client.clone(), turns.clone());
        async move {
            if !is_list(&request) {
                let answer = client.send(request).await?;
                return Ok(answer.map(axum::body::Body::new));
            }
            let turn = turns.acquire_owned().await?;
            let answer = timeout(PATIENCE, client.send(request)).await??;
            // The turn ends with the body. One that does not end is cut off, and the watch tries again.
            Ok::<_, axum::BoxError>(answer.map(|body| {
                let chunks = axum::body::Body::new(body).into_data_stream().take_until(sleep(PATIENCE));
                axum::body::Body::from_stream(chunks.map(move |chunk| {
                    let _held = &turn;
                    chunk
                }))
            }))
        }
    });
    Client::new(service, namespace)
}

/// A page of a list, and no watch.
fn is_list(request: &Request<Body>) -> bool {
    let asks =
        |name: &str| request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with(name)));
    request.method() == Method::GET && asks("limit=") && !asks("watch=")
}

#[cfg(test)]
mod tests {
    use axum::http::Response;
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{Api, ListParams};
    use serde_json::json;

    use super::*;

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
