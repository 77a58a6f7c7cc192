//! The broker: whoever has the keys.
//!
//! An exchange goes on in a task of its own, so that it is settled whatever becomes of who asked. It is settled before the
//! answer ends: who has seen the end of an answer finds it in the record.

mod exchange;
mod pump;
mod reply;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Body as HttpBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::body::{Body, BoxError, full, read_whole};
use crate::catalog::Catalog;
use crate::ledger::{Budget, Ledger};
use crate::{Code, Refusal, Route};

/// Tells the relay, and nobody else, which exchange of the record an answer is of.
pub(crate) const EXCHANGE: HeaderName = HeaderName::from_static("x-jct-exchange");
/// Where the relay asks for the record of its attempt.
pub const EXCHANGES: &str = "/jct/exchanges";
/// How long the record of an attempt waits for exchanges that are open.
const SETTLING: Duration = Duration::from_secs(10);
/// The unit of room for bodies.
const KIB: u64 = 1024;

/// What happens when a budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUsedUp {
    /// The program is told, and ends.
    #[default]
    End,
    /// Streams wait, so long at most, while somebody is asked for more; see [`Ledger::hold`]. All else is told at once.
    Ask(Duration),
}

/// An attempt that may ask models something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// It.
    pub attempt: String,
    /// Its Task's.
    pub trace_id: String,
    /// The models that it may ask.
    pub aliases: Vec<String>,
    /// What it is charged to.
    pub budgets: Vec<Budget>,
    /// What happens when one of these is used up.
    pub when_used_up: WhenUsedUp,
    /// Exchanges at the same time; more wait.
    pub max_in_flight: usize,
    /// Bytes of a request.
    pub max_request_bytes: u64,
    /// Bytes of an answer.
    pub max_response_bytes: u64,
}

/// Why it is not known who asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is nobody who may ask.
    #[error("the token is none of an attempt that runs")]
    Unknown,
    /// It cannot be found out now.
    #[error("it cannot be found out who asks: {0}")]
    Unavailable(String),
}

/// Says who asks.
pub trait Identity: Send + Sync + 'static {
    /// By the token that the relay shows.
    fn identify(&self, token: &str) -> impl Future<Output = Result<Arc<Caller>, IdentityError>> + Send;
}

impl<I: Identity> Identity for Arc<I> {
    async fn identify(&self, token: &str) -> Result<Arc<Caller>, IdentityError> {
        (**self).identify(token).await
    }
}

/// How patient the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Until a request's head has come.
    pub head: Duration,
    /// Until its body has.
    pub body: Duration,
    /// Until a provider begins to answer, and between two pieces of its answer.
    pub silence: Duration,
    /// After this long without a piece, a stream gets a comment.
    pub ping: Duration,
    /// How long a request waits for a budget of which others have the rest reserved.
    pub turn: Duration,
    /// Between two looks whether a budget that somebody was asked for has been raised.
    pub look: Duration,
    /// Until a program takes the next piece.
    pub reader: Duration,
    /// How often the ledger is told that a stream goes on: well within what it takes for the end of a broker.
    pub keep_alive: Duration,
    /// Bytes of requests in memory at the same time, of all attempts.
    pub request_memory: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            silence: Duration::from_secs(300),
            ping: Duration::from_secs(15),
            turn: Duration::from_secs(240),
            look: Duration::from_secs(1),
            reader: Duration::from_secs(300),
            keep_alive: Duration::from_secs(60),
            request_memory: 256 << 20,
        }
    }
}

/// Passes requests on to providers.
pub struct Broker<L, I, C>(Arc<Inner<L, I, C>>);

impl<L, I, C> Clone for Broker<L, I, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<L, I, C> {
    ledger: L,
    identity: I,
    client: Client<C, Full<Bytes>>,
    catalog: RwLock<Arc<Catalog>>,
    in_flight: Mutex<HashMap<String, Weak<Semaphore>>>,
    memory: Arc<Semaphore>,
    settings: Settings,
    exchanges: TaskTracker,
    begun: AtomicU64,
}

impl<L: Ledger, I: Identity, C: Connect + Clone + Send + Sync + 'static> Broker<L, I, C> {
    /// With what it needs. `connector` reaches providers, with TLS over [`tcp`](crate::connect::tcp); it is asked for
    /// their hosts alone.
    pub fn new(ledger: L, identity: I, connector: C, catalog: Catalog, settings: Settings) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let memory = usize::try_from(settings.request_memory / KIB).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            ledger,
            identity,
            client,
            catalog: RwLock::new(Arc::new(catalog)),
            in_flight: Mutex::default(),
            memory: Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS))),
            settings,
            exchanges: TaskTracker::new(),
            begun: AtomicU64::new(0),
        }))
    }

    /// Has other providers and models from now on.
    pub fn replace_catalog(&self, catalog: Catalog) {
        *self.0.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }

    /// The ledger.
    pub fn ledger(&self) -> &L {
        &self.0.ledger
    }

    /// Waits until all exchanges that have begun are settled. New ones should not come any more.
    pub async fn drained(&self) {
        self.0.exchanges.close();
        self.0.exchanges.wait().await;
    }

    /// Answers the requests of a connection until its end.
    ///
    /// # Errors
    /// If it breaks off, or what comes is no HTTP.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<()> {
        let service = service_fn(|request| async { Ok::<_, std::convert::Infallible>(self.handle(request).await) });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.0.settings.head);
        server.serve_connection(TokioIo::new(stream), service).await
    }

    /// Answers a request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let dialect = Route::dialect_of_path(request.uri().path());
        let answer = self.route(request).await;
        answer.unwrap_or_else(|refusal| refusal.response(dialect).map(full))
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Response<Body>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let inner = &self.0;
        let (parts, body) = request.into_parts();
        let caller = inner.caller(parts.headers.get(header::AUTHORIZATION)).await?;
        let path = parts.uri.path();
        if parts.method == Method::GET && path == EXCHANGES {
            return inner.record(&caller).await;
        }
        let (call, counts) = match Route::of(&parts.method, path, parts.uri.query())? {
            Route::Hello => return Ok(Response::new(full(""))),
            Route::Models => return Ok(models(&caller)),
            Route::Generate(call) => (call, false),
            Route::CountTokens(call) => (call, true),
        };
        let turn = inner.turn(&caller).await?;
        let room = inner.room(&caller, &parts.headers).await?;
        let body = read_whole(body, caller.max_request_bytes, inner.settings.body).await?;
        let asked = exchange::Asked { caller, call, counts, path: path.to_owned(), headers: parts.headers, body };
        let (head, response) = tokio::sync::oneshot::channel();
        let exchange = exchange::opening(&asked, inner.begun.fetch_add(1, Ordering::Relaxed));
        let id = HeaderValue::try_from(&exchange.id);
        let exchanging = self.0.clone();
        inner.exchanges.spawn(async move {
            exchanging.exchange(asked, exchange, head).await;
            drop((turn, room));
        });
        let response = response.await.map_err(|_| Refusal::new(Code::Unavailable, "the broker could not answer"));
        response.map(|mut response| {
            response.headers_mut().extend(id.ok().map(|id| (EXCHANGE, id)));
            response
        })
    }
}

impl<L: Ledger, I: Identity, C> Inner<L, I, C> {
    async fn caller(&self, authorization: Option<&HeaderValue>) -> Result<Arc<Caller>, Refusal> {
        let token = authorization.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let unknown = || Refusal::new(Code::Unauthenticated, IdentityError::Unknown);
        let token = token.filter(|token| !token.is_empty()).ok_or_else(unknown)?;
        self.identity.identify(token).await.map_err(|error| match error {
            IdentityError::Unknown => unknown(),
            IdentityError::Unavailable(why) => {
                tracing::warn!(error = %why, "who asks for a model cannot be found out");
                Refusal::new(Code::Unavailable, "it cannot be found out who asks")
            }
        })
    }

    /// Waits until fewer exchanges of the attempt are open than may be. Not refused: Codex never tries again.
    async fn turn(&self, caller: &Caller) -> Result<OwnedSemaphorePermit, Refusal> {
        let turns = {
            let mut all = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            match all.get(&caller.attempt).and_then(Weak::upgrade) {
                Some(turns) => turns,
                None => {
                    all.retain(|_, turns| turns.strong_count() > 0);
                    let turns = Arc::new(Semaphore::new(caller.max_in_flight.max(1)));
                    all.insert(caller.attempt.clone(), Arc::downgrade(&turns));
                    turns
                }
            }
        };
        turns.acquire_owned().await.map_err(|_| Refusal::new(Code::Unavailable, "the broker ends"))
    }

    /// Room for a body, as much as it announces or as it may have.
    async fn room(&self, caller: &Caller, headers: &http::HeaderMap) -> Result<OwnedSemaphorePermit, Refusal> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let most = announced.unwrap_or(caller.max_request_bytes);
        if most > caller.max_request_bytes {
            let message = format!("the request has more than {} bytes", caller.max_request_bytes);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let all = self.settings.request_memory / KIB;
        let units = u32::try_from(most.div_ceil(KIB).min(all)).unwrap_or(u32::MAX);
        let room = tokio::time::timeout(self.settings.body, self.memory.clone().acquire_many_owned(units)).await;
        let none = || Refusal::new(Code::Unavailable, "too many requests are being read");
        room.map_err(|_| none())?.map_err(|_| none())
    }

    /// Waits a while until no exchange of the attempt is open: one that its program has left is settled a moment later.
    async fn quiet(&self, caller: &Caller) {
        let turns = {
            let all = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(&caller.attempt).and_then(Weak::upgrade)
        };
        let Some(turns) = turns else { return };
        let all = u32::try_from(caller.max_in_flight.max(1)).unwrap_or(u32::MAX);
        if tokio::time::timeout(SETTLING, turns.acquire_many(all)).await.is_err() {
            tracing::warn!(attempt = caller.attempt, "the record of models is told while exchanges are open");
        }
    }

    async fn record(&self, caller: &Caller) -> Result<Response<Body>, Refusal> {
        self.quiet(caller).await;
        let unavailable = |error: &dyn std::fmt::Display| {
            tracing::warn!(attempt = caller.attempt, %error, "the record of models cannot be read");
            Refusal::new(Code::Unavailable, "the record cannot be read")
        };
        let exchanges = self.ledger.exchanges(&caller.attempt).await.map_err(|error| unavailable(&error))?;
        let mut lines = String::new();
        for exchange in &exchanges {
            lines.push_str(&exchange.to_line().map_err(|error| unavailable(&error))?);
            lines.push('\n');
        }
        let mut response = Response::new(full(lines));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
        Ok(response)
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The models that an attempt may ask, as OpenAI and Anthropic list them.
fn models(caller: &Caller) -> Response<Body> {
    let listed = caller.aliases.iter().map(|alias| {
        json!({"id": alias, "object": "model", "type": "model", "display_name": alias, "created": 0,
            "created_at": "1970-01-01T00:00:00Z", "owned_by": "jct"})
    });
    let list = json!({"object": "list", "data": listed.collect::<Vec<_>>(), "has_more": false});
    let mut response = Response::new(full(list.to_string()));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
