//! Requests and faults.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use crate::answers::{Answer, answer};
use crate::{FakeModel, Fault, Recorded, Script};

type Body = Either<Full<Bytes>, Channel<Bytes, std::io::Error>>;

impl FakeModel {
    pub(crate) fn start(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let fake = self.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let fake = fake.clone();
                async move { Ok::<_, Infallible>(fake.handle(request).await) }
            });
            // That whoever asked breaks off is what some tests are about.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let recorded = Recorded { method: parts.method.to_string(), path, headers: parts.headers, body };
        let asked = recorded.json();
        let has_key = self.script().key.as_ref().is_none_or(|key| is_shown(&recorded.headers, key));
        self.0.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(recorded);
        if !has_key {
            return error(401);
        }
        if parts.method == Method::HEAD {
            return whole(StatusCode::OK, "");
        }
        if parts.method == Method::GET && parts.uri.path().ends_with("/models") {
            return json_of(StatusCode::OK, &json!({"object": "list", "data": [{"id": "fake", "object": "model"}]}));
        }
        let (script, fault) = {
            let mut script = self.script();
            let fault = script.faults.pop_front().or(script.always);
            (script.clone(), fault)
        };
        let Some(answer) = answer(parts.uri.path(), &asked, &script) else {
            let error = json!({"error": {"type": "not_found_error", "message": format!("no {}", parts.uri.path())}});
            return json_of(StatusCode::NOT_FOUND, &error);
        };
        match fault {
            Some(fault) => self.faulty(fault, answer, &script).await,
            None => self.proper(answer, &script),
        }
    }

    fn proper(&self, answer: Answer, script: &Script) -> Response<Body> {
        match answer {
            Answer::Whole(value) => json_of(StatusCode::OK, &value),
            Answer::Stream(events) => {
                let (fake, pause) = (self.clone(), script.pause_ms);
                stream("text/event-stream", move |mut to| async move {
                    for event in events {
                        if fake.send(&mut to, event.into()).await.is_err() {
                            return;
                        }
                        if pause > 0 {
                            sleep(Duration::from_millis(pause)).await;
                        }
                    }
                })
            }
        }
    }

    async fn faulty(&self, fault: Fault, answer: Answer, script: &Script) -> Response<Body> {
        let fake = self.clone();
        let first = match &answer {
            Answer::Stream(events) => events.first().cloned().unwrap_or_default(),
            Answer::Whole(_) => "{\"id\":".into(),
        };
        let kind = if matches!(answer, Answer::Stream(_)) { "text/event-stream" } else { "application/json" };
        match fault {
            Fault::Status(status) => error(status),
            Fault::Mute => std::future::pending().await,
            Fault::Garbage => stream(kind, move |mut to| async move {
                let garbage: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
                let _ = fake.send(&mut to, garbage.into()).await;
            }),
            Fault::Redirect => {
                let mut response = whole(StatusCode::TEMPORARY_REDIRECT, "");
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("http://127.0.0.1:9/steal"));
                response
            }
            Fault::Encoded => {
                let mut response = self.proper(answer, script);
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            Fault::Cut => stream(kind, move |mut to| async move {
                let _ = fake.send(&mut to, first.into()).await;
                sleep(Duration::from_millis(50)).await;
                to.abort(std::io::ErrorKind::ConnectionReset.into());
            }),
            Fault::Silence => stream(kind, move |mut to| async move {
                let _ = fake.send(&mut to, first.into()).await;
                std::future::pending::<()>().await;
            }),
            Fault::Slow(pause) => {
                let all = match answer {
                    Answer::Stream(events) => events.concat(),
                    Answer::Whole(value) => value.to_string(),
                };
                stream(kind, move |mut to| async move {
                    for byte in all.into_bytes() {
                        if fake.send(&mut to, vec![byte].into()).await.is_err() {
                            return;
                        }
                        sleep(Duration::from_millis(pause)).await;
                    }
                })
            }
            Fault::Endless(bytes) => {
                let events = if let Answer::Stream(events) = answer { events } else { vec![first] };
                stream(kind, move |mut to| async move {
                    let again = events.get(1).unwrap_or(&events[0]).repeat(100);
                    let mut sent = 0;
                    let mut next = Bytes::from(events[0].clone());
                    while sent < bytes && fake.send(&mut to, next).await.is_ok() {
                        sent += again.len() as u64;
                        next = Bytes::from(again.clone());
                    }
                })
            }
        }
    }

    async fn send(&self, to: &mut Sender<Bytes, std::io::Error>, bytes: Bytes) -> Result<(), ()> {
        let length = bytes.len() as u64;
        to.send_data(bytes).await.map_err(|_| ())?;
        self.0.sent.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }
}

fn stream<F>(kind: &'static str, write: impl FnOnce(Sender<Bytes, std::io::Error>) -> F) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, body) = Channel::new(1);
    tokio::spawn(write(sender));
    let mut response = Response::new(Either::Right(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn error(status: u16) -> Response<Body> {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status == 529 { "overloaded_error" } else { "api_error" };
    let body = json!({"type": "error", "error": {"type": kind, "code": status, "message": "as the script says"}});
    let mut response = json_of(code, &body);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("set-cookie"), HeaderValue::from_static("a=b"));
    if matches!(status, 429 | 529) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn json_of(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = whole(status, value.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn whole(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    response
}

/// Whether a request has this key, in any of the headers in which dialects have theirs.
fn is_shown(headers: &http::HeaderMap, key: &str) -> bool {
    ["authorization", "x-api-key", "x-goog-api-key"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.strip_prefix("Bearer ").unwrap_or(value) == key)
    })
}
