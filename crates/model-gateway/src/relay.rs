//! The relay: beside the executor, with an identity, without a key.
//!
//! Whatever a program sends as a credential ends here. What goes on has been read whole, so that it can wait for a broker that
//! is being restarted; what was sent already is never sent again, for it may have been charged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};

use crate::body::{Body, BoxError, full, read_whole};
use crate::broker::{EXCHANGE, EXCHANGES};
use crate::keep::Keep;
use crate::refusal::USED_UP;
use crate::{Code, Refusal, Route, headers};

/// Between two tries to reach the broker.
const AGAIN: Duration = Duration::from_millis(250);
/// The longest record of an attempt.
const LONGEST_RECORD: usize = 256 << 20;

/// What the relay lets through at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time; more are closed.
    pub connections: usize,
    /// Requests that are held in memory at the same time; more wait.
    pub in_flight: usize,
    /// Bytes of a request.
    pub request_bytes: u64,
    /// Until a request's head has come.
    pub head: Duration,
    /// Until its body has.
    pub body: Duration,
    /// How long a request waits for a broker that can't be reached.
    pub hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            in_flight: 4,
            request_bytes: 32 << 20,
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            hold: Duration::from_secs(60),
        }
    }
}

/// The token that says who asks: read for each request, for it is renewed.
pub type Token = Arc<dyn Fn() -> io::Result<String> + Send + Sync>;

/// Passes requests on to the broker.
#[derive(Clone)]
pub struct Relay<C> {
    client: Client<C, Full<Bytes>>,
    broker: Uri,
    token: Token,
    limits: Limits,
    in_flight: Arc<Semaphore>,
    used_up: Arc<Notify>,
    keep: Option<Keep>,
}

impl<C: Connect + Clone + Send + Sync + 'static> Relay<C> {
    /// To the broker at an address (`https://HOST:PORT`), which `connector` reaches, with TLS over [`tcp`](crate::connect::tcp).
    pub fn new(broker: Uri, connector: C, token: Token, limits: Limits) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let in_flight = Arc::new(Semaphore::new(limits.in_flight.max(1)));
        Self { client, broker, token, limits, in_flight, used_up: Arc::default(), keep: None }
    }

    /// The same, that keeps the bodies that go by.
    #[must_use]
    pub fn keeping(self, keep: Option<Keep>) -> Self {
        Self { keep, ..self }
    }

    /// Waits until the broker says that a budget is used up for good.
    pub async fn used_up(&self) {
        self.used_up.notified().await;
    }

    /// Serves connections until the listener fails.
    ///
    /// # Errors
    /// The listener's.
    pub async fn listen(&self, listener: UnixListener) -> io::Result<()> {
        let free = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let (stream, _) = listener.accept().await?;
            let Ok(place) = free.clone().try_acquire_owned() else { continue };
            let relay = self.clone();
            tokio::spawn(async move {
                // That a program breaks off is its own business.
                let _ = relay.serve(stream).await;
                drop(place);
            });
        }
    }

    /// Answers the requests of a connection until its end.
    ///
    /// # Errors
    /// If it breaks off, or what comes is no HTTP.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<()> {
        let service = service_fn(|request| async { Ok::<_, std::convert::Infallible>(self.handle(request).await) });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.limits.head);
        server.serve_connection(TokioIo::new(stream), service).await
    }

    /// Answers a request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let dialect = Route::dialect_of_path(request.uri().path());
        let answer = self.pass_on(request).await;
        answer.unwrap_or_else(|refusal| refusal.response(dialect).map(full))
    }

    /// The record of this attempt, as the broker has it: one line for each exchange.
    ///
    /// # Errors
    /// If the broker can't be had.
    pub async fn record(&self) -> Result<Bytes, Refusal> {
        let answer = self.send(&Method::GET, EXCHANGES, http::HeaderMap::new(), Bytes::new()).await?;
        let unavailable = |why: &dyn std::fmt::Display| Refusal::new(Code::Unavailable, format!("the record: {why}"));
        if !answer.status().is_success() {
            return Err(unavailable(&answer.status()));
        }
        let read = Limited::new(answer.into_body(), LONGEST_RECORD).collect().await;
        Ok(read.map_err(|error| unavailable(&error))?.to_bytes())
    }

    async fn pass_on<B>(&self, request: Request<B>) -> Result<Response<Body>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        // Written anew, so that no key stays in the query.
        let path = match Route::of(&parts.method, parts.uri.path(), parts.uri.query())? {
            Route::Hello => return Ok(Response::new(full(""))),
            Route::Models => "/v1/models".to_owned(),
            Route::Generate(call) => call.path(call.model.as_deref().unwrap_or_default(), false),
            Route::CountTokens(call) => call.path(call.model.as_deref().unwrap_or_default(), true),
        };
        let ends = |_| Refusal::new(Code::Unavailable, "the relay ends");
        let turn = self.in_flight.acquire().await.map_err(ends)?;
        let body = read_whole(body, self.limits.request_bytes, self.limits.body).await?;
        let answer = self.send(&parts.method, &path, headers::to_broker(&parts.headers), body.clone()).await?;
        drop(turn);
        let asked = body;
        let (head, body) = answer.into_parts();
        if head.headers.contains_key(USED_UP) {
            self.used_up.notify_one();
        }
        let id = head.headers.get(EXCHANGE).and_then(|id| id.to_str().ok());
        let answer = body.map_err(Into::into).boxed_unsync();
        let answer = match (&self.keep, id) {
            (Some(keep), Some(id)) => keep.tee(id.to_owned(), asked, answer),
            _ => answer,
        };
        let mut response = Response::new(answer);
        *response.status_mut() = head.status;
        *response.headers_mut() = headers::to_program(&head.headers);
        Ok(response)
    }

    /// Sends to the broker; waits for it if it can't be reached.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: http::HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Refusal> {
        let until = Instant::now() + self.limits.hold;
        loop {
            let request = self.request(method, path, headers.clone(), body.clone())?;
            match self.client.request(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if is_not_reached(&error) && Instant::now() + AGAIN < until => sleep(AGAIN).await,
                Err(error) => {
                    tracing::warn!(?error, "the broker of models cannot be reached");
                    return Err(Refusal::new(Code::Unavailable, "the broker of models cannot be reached"));
                }
            }
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        headers: http::HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Refusal> {
        let unavailable = |why: &dyn std::fmt::Display| {
            tracing::error!(error = %why, "no request to the broker of models can be made");
            Refusal::new(Code::Unavailable, "the relay has no identity")
        };
        let token = (self.token)().map_err(|error| unavailable(&error))?;
        let mut token =
            HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|error| unavailable(&error))?;
        token.set_sensitive(true);
        let mut parts = self.broker.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|error| unavailable(&error))?);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| unavailable(&error))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::AUTHORIZATION, token);
        Ok(request)
    }
}

/// Whether nothing of a request was sent.
fn is_not_reached(error: &Error) -> bool {
    error.is_connect()
}
