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
    pub connections: usize,
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
#[path = "server_tests.rs"]
mod tests;
