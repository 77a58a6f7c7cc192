//! An API server that answers a script: calls in order, each with an answer; anything else fails the test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

/// What the API server answers to a call.
pub enum Answer {
    /// The object of the request, as stored.
    Echo,
    /// This, with 200.
    Object(Value),
    /// A failure with this status code.
    Failure(u16),
    /// This `Status`, with its own code.
    Status(Value),
}

/// A call that the controller is to make.
pub struct Call {
    pub method: &'static str,
    /// What the path must contain.
    pub path: String,
    pub answer: Answer,
}

pub fn call(method: &'static str, path: impl Into<String>, answer: Answer) -> Call {
    Call { method, path: path.into(), answer }
}

/// The calls that were made: method, path and body.
pub type Made = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A client of an API server that expects `script`, and what is called.
pub fn scripted(script: Vec<Call>) -> (Client, tokio::task::JoinHandle<()>, Made) {
    scripted_over(None, script)
}

/// As [`scripted`]. `object` is shown to whoever reads all of it, at any
/// time and apart from the script: only what says of an object that it is there, is of a test's interest.
pub fn scripted_over(object: Option<Value>, script: Vec<Call>) -> (Client, tokio::task::JoinHandle<()>, Made) {
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let made: Made = Arc::default();
    let log = made.clone();
    let server = tokio::spawn(async move {
        for expected in script {
            let shown = format!("{} {}", expected.method, expected.path);
            let (request, respond) = loop {
                let next = tokio::time::timeout(Duration::from_secs(20), handle.next_request()).await;
                let (request, respond) = next
                    .unwrap_or_else(|_| panic!("never called: {shown}"))
                    .unwrap_or_else(|| panic!("never called: {shown}"));
                match object.as_ref().filter(|object| reads(&request, object)) {
                    Some(object) => respond.send_response(whole(object)),
                    None => break (request, respond),
                }
            };
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let path = head.uri.path_and_query().unwrap().to_string();
            assert!(
                head.method == expected.method && path.contains(&expected.path),
                "expected {shown}, got {} {path} {body}",
                head.method
            );
            let (status, answer) = match expected.answer {
                Answer::Echo => (200, stored(&head.method, &path, body.clone())),
                Answer::Object(object) => (200, object),
                Answer::Failure(code) => (code, failure(code)),
                Answer::Status(status) => (status["code"].as_u64().unwrap() as u16, status),
            };
            log.lock().unwrap().push((head.method.to_string(), path, body));
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            respond.send_response(response.body(Body::from(serde_json::to_vec(&answer).unwrap())).unwrap());
        }
        // Whatever comes now is one call too many.
        while let Some((request, respond)) = handle.next_request().await {
            match object.as_ref().filter(|object| reads(&request, object)) {
                Some(object) => respond.send_response(whole(object)),
                None => panic!("unexpected call: {} {}", request.method(), request.uri()),
            }
        }
    });
    (Client::new(service, "default"), server, made)
}

/// Whether the request is for all of `object`, and not for its metadata alone.
fn reads(request: &Request<Body>, object: &Value) -> bool {
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let path = format!("/namespaces/{}/tasks/{}", namespace.as_str().unwrap(), name.as_str().unwrap());
    let accept = request.headers().get(http::header::ACCEPT).map(|value| value.to_str().unwrap()).unwrap_or_default();
    request.method() == http::Method::GET
        && request.uri().path().ends_with(&path)
        && !accept.contains("PartialObjectMetadata")
}

fn whole(object: &Value) -> Response<Body> {
    Response::new(Body::from(serde_json::to_vec(object).unwrap()))
}

/// What the API server would have made of a request's body.
fn stored(method: &http::Method, path: &str, body: Value) -> Value {
    let mut object = body;
    if method == http::Method::PATCH {
        // A merge patch tells too little to be an object: give it the rest.
        let name = path.split(['/', '?']).nth(7).unwrap_or_default();
        let mut whole = json!({"apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": name}, "spec": {
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "target": {"repo": "octo/hello"}}});
        json_patch::merge(&mut whole, &object);
        object = whole;
    }
    object["metadata"]["resourceVersion"] = json!("100");
    object["metadata"]["creationTimestamp"] = json!("2026-03-01T12:00:00Z");
    object
}

fn failure(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "scripted",
        "reason": match code { 404 => "NotFound", 409 => "AlreadyExists", _ => "InternalError" },
    })
}
