//! Connections, accepted, bounded and served.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt as _};
use tracing::{debug, warn};

use super::Tls;
use super::connections::{Activity, Connections, KeepBusy, Place};

/// What a port takes. Times count for one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections, in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_of_one: usize,
    /// How long the TLS handshake may take.
    pub handshake: Duration,
    /// How long the first head of a request may take, from the connection's begin.
    pub head: Duration,
    /// How long a connection may be idle between two requests, the head of the second one included; what an answer takes to be
    /// sent counts. Longer than clients keep idle connections (those of Go, such as the API server: 90 seconds): a request that
    /// is sent while the connection is being closed is lost.
    pub idle: Duration,
    /// How long answers under way may take at the end: of the connection, and of the server.
    pub grace: Duration,
}

/// The most that is kept of a request's head, and the least window of HTTP/2.
const BUFFER: u32 = 64 * 1024;
/// The greatest list of headers in HTTP/2.
const HEADERS: u32 = 16 * 1024;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;
/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait when no connection can be accepted, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection comes from.
    pub address: IpAddr,
    /// Whether a client certificate has shown who it is.
    pub certified: bool,
}

/// Serves `router` on `address` until `shutdown`, then lets requests under way end.
///
/// # Errors
/// If the port cannot be bound.
pub async fn serve(
    address: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    serve_on(listener, tls, router, limits, shutdown).await;
    Ok(())
}

/// The same, on a port that is bound already.
pub async fn serve_on(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let connections = Connections::new(limits.connections, limits.connections_of_one);
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "a connection cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        let Some(place) = connections.place(address) else {
            debug!(%address, "a connection is closed at once: there are too many");
            continue;
        };
        let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
        tasks.spawn(async move {
            let close = place.close.clone();
            let served = one(stream, address, tls, router, limits, place, shutdown);
            // One that nothing was asked on goes without a word.
            close.run_until_cancelled(served).await;
        });
    }
    drop(listener);
    tasks.close();
    if timeout(limits.grace, tasks.wait()).await.is_err() {
        warn!("connections are closed with requests under way");
    }
}

/// Serves one connection.
async fn one(
    stream: TcpStream,
    address: IpAddr,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    place: Place,
    shutdown: CancellationToken,
) {
    // Answers are small, and waited for.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return converse(stream, Peer { address, certified: false }, router, limits, &place, shutdown).await;
    };
    let shaken = timeout(limits.handshake, TlsAcceptor::from(tls.config()).accept(stream)).await;
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%address, %error, "no TLS"),
        Err(_) => return debug!(%address, "no TLS in time"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certified = certificates.and_then(<[_]>::first).is_some_and(|certificate| tls.believes(certificate));
    converse(stream, Peer { address, certified }, router, limits, &place, shutdown).await;
}

async fn converse<Io>(io: Io, peer: Peer, router: Router, limits: Limits, place: &Place, shutdown: CancellationToken)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = Noted { router, peer, connections: place.connections(), activity: place.activity.clone() };
    let builder = builder(limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service)));
    let mut look = interval(LOOK.min(limits.idle / 4).max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(address = %peer.address, error = error.to_string(), "a connection broke off");
                }
                return;
            }
            () = shutdown.cancelled() => break,
            _ = look.tick() => if is_over(place, limits) { break },
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.grace, connection).await;
}

/// Whether a connection has been idle for too long.
fn is_over(place: &Place, limits: Limits) -> bool {
    let patience = if place.activity.has_served() { limits.idle } else { limits.head };
    !place.activity.is_busy() && u128::from(place.idle_millis()) >= patience.as_millis()
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Counted from the answer before: for `head`, see `is_over`.
        .header_read_timeout(limits.idle)
        .max_buf_size(BUFFER as usize)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        // What is sent and not read yet is in memory: with the default, a MiB for each connection.
        .initial_stream_window_size(BUFFER)
        .initial_connection_window_size(BUFFER)
        .max_send_buf_size(BUFFER as usize);
    builder
}

/// The router, told who asks, and watched.
#[derive(Clone)]
struct Noted {
    router: Router,
    peer: Peer,
    connections: Arc<Connections>,
    activity: Arc<Activity>,
}

impl<B> Service<axum::http::Request<B>> for Noted
where
    B: axum::body::HttpBody<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<B>) -> Self::Future {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(KeepBusy::new(&self.connections, &self.activity));
        let in_flight = Place::begin(&self.connections, &self.activity);
        let router = self.router.clone();
        Box::pin(async move {
            let response = router.oneshot(request).await;
            drop(in_flight);
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 8,
        connections_of_one: 4,
        handshake: Duration::from_millis(300),
        head: Duration::from_millis(300),
        idle: Duration::from_millis(600),
        grace: Duration::from_millis(300),
    };

    struct Port {
        address: SocketAddr,
        shutdown: CancellationToken,
        server: tokio::task::JoinHandle<()>,
    }

    async fn open(limits: Limits) -> Port {
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route(
                "/lasting",
                get(|axum::Extension(busy): axum::Extension<KeepBusy>| async move { lasting(Some(busy.begin())) }),
            )
            .route("/unwatched", get(|| async { lasting(None) }))
            .route("/slow", get(|| async { sleep(Duration::from_secs(1)).await }))
            .route("/body", post(|body: axum::body::Bytes| async move { body.len().to_string() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve_on(listener, None, router, limits, shutdown.clone()));
        Port { address, shutdown, server }
    }

    /// A body that takes longer than a connection may be idle, and the time to end it.
    fn lasting(busy: Option<crate::serve::InFlight>) -> axum::body::Body {
        let pieces = futures::stream::unfold((0, busy), |(count, busy)| async move {
            sleep(Duration::from_millis(250)).await;
            (count < 8).then(|| (Ok::<_, std::io::Error>("piece"), (count + 1, busy)))
        });
        axum::body::Body::from_stream(pieces)
    }

    impl Port {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// What is answered to `text`, until the connection is closed.
        async fn answer(&self, text: &str) -> String {
            let mut stream = self.connect().await;
            // It may be closed before all is sent.
            let _ = stream.write_all(text.as_bytes()).await;
            rest(&mut stream).await
        }
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    const ASK: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn connections_that_send_nothing_or_little_are_closed_and_others_answered_meanwhile() {
        let port = open(LIMITS).await;
        let began = Instant::now();
        let mut silent = Vec::new();
        for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nx-a: b", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = port.connect().await;
            stream.write_all(beginning.as_bytes()).await.unwrap();
            silent.push(stream);
        }
        assert!(port.answer(ASK).await.ends_with("hello"), "there is no place beside them");
        for mut stream in silent {
            rest(&mut stream).await;
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
        let port = open(LIMITS).await;
        let mut stream = port.connect().await;
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let began = Instant::now();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"), "longer than it may be idle");
        let took = began.elapsed();
        assert!((Duration::from_millis(1200)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }

    /// As API servers keep theirs: closed under it, a request of theirs would be lost, and a Task refused.
    #[tokio::test]
    async fn a_connection_that_was_used_may_be_idle_for_longer_than_a_first_head_may_take() {
        let limits = Limits { head: Duration::from_millis(50), idle: Duration::from_secs(60), ..LIMITS };
        let port = open(limits).await;
        let mut stream = port.connect().await;
        let mut answer = [0; 512];
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let read = stream.read(&mut answer).await.unwrap();
            assert!(answer[..read].ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer[..read]));
            sleep(Duration::from_millis(400)).await;
        }
    }

    #[tokio::test]
    async fn an_answer_that_lasts_is_sent_whole_where_its_handler_says_so() {
        let port = open(LIMITS).await;
        let pieces = async |path: &str| {
            port.answer(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await.matches("piece").count()
        };
        let (lasting, unwatched) = tokio::join!(pieces("/lasting"), pieces("/unwatched"));
        assert_eq!(lasting, 8);
        assert!(unwatched < 8, "the control: {unwatched}");
    }

    #[tokio::test]
    async fn a_crowd_from_one_place_has_its_share() {
        let port = open(Limits { head: Duration::from_secs(60), ..LIMITS }).await;
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(port.connect().await);
        }
        assert!(port.answer(ASK).await.ends_with("hello"));
        let mut closed = 0;
        for stream in &mut crowd[..96] {
            closed += usize::from(timeout(Duration::from_secs(1), stream.read_u8()).await.is_ok());
        }
        assert_eq!(closed, 96, "those that were there first have gone");
    }

    #[tokio::test]
    async fn heads_are_bounded() {
        let port = open(LIMITS).await;
        let long = "a".repeat(200_000);
        let uri = port.answer(&format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(uri.is_empty() || uri.contains("414") || uri.contains("431"), "{uri:.100}");
        let header = port.answer(&format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n")).await;
        assert!(header.is_empty() || header.contains("431"), "{header:.100}");
        let many = "a: b\r\n".repeat(5000);
        let many = port.answer(&format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
        assert!(many.is_empty() || many.contains("431"), "{many:.100}");
        let trailers = format!("{ASK_CHUNKED}1\r\na\r\n0\r\n{}\r\n", "t: v\r\n".repeat(20_000));
        let trailers = port.answer(&trailers).await;
        assert!(!trailers.contains("200 OK"), "{trailers:.100}");
        let extension = format!("{ASK_CHUNKED}1;{}\r\na\r\n0\r\n\r\n", "x=y;".repeat(20_000));
        let extension = port.answer(&extension).await;
        assert!(!extension.contains("200 OK"), "{extension:.100}");
        assert!(port.answer(&format!("{ASK_CHUNKED}1\r\na\r\n0\r\n\r\n")).await.ends_with('1'), "a small one is fine");
    }

    const ASK_CHUNKED: &str =
        "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";

    #[tokio::test]
    async fn requests_in_a_row_on_one_connection_are_answered_one_after_the_other() {
        let port = open(LIMITS).await;
        let row = format!("{}{ASK}", ASK.replace("close", "keep-alive").repeat(1000));
        assert_eq!(port.answer(&row).await.matches("hello").count(), 1001);
    }

    #[tokio::test]
    async fn a_shutdown_lets_requests_end_and_waits_for_no_idle_connection() {
        let port = open(Limits { grace: Duration::from_secs(5), idle: Duration::from_secs(60), ..LIMITS }).await;
        let _idle = port.connect().await;
        let slow = async { port.answer("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await };
        let stop = async {
            sleep(Duration::from_millis(200)).await;
            port.shutdown.cancel();
        };
        let (answer, ()) = tokio::join!(slow, stop);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        timeout(Duration::from_secs(2), port.server).await.unwrap().unwrap();
    }
}
