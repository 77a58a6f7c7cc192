//! Where an answer goes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use crate::body::{Body, Cut, full, piped};
use crate::sse::PING;
use crate::{Code, Dialect, Refusal};

/// The way to who asked.
pub(super) enum Reply {
    /// Nothing has been said yet.
    Waiting(oneshot::Sender<Response<Body>>),
    /// A stream has begun, and since then is kept awake.
    Begun { to: mpsc::Sender<Result<Bytes, Cut>>, pinged: Instant },
    /// Nobody is there any more.
    Gone,
}

impl Reply {
    /// Whether nobody waits for it any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Waiting(head) => head.is_closed(),
            Self::Begun { to, .. } => to.is_closed(),
            Self::Gone => true,
        }
    }

    /// Waits until nobody waits for it.
    pub(super) async fn gone(&mut self) {
        match self {
            Self::Waiting(head) => head.closed().await,
            Self::Begun { to, .. } => to.closed().await,
            Self::Gone => {}
        }
    }

    /// Begins a stream of which nothing is known yet, or keeps it awake.
    pub(super) async fn hold(&mut self, ping: Duration) {
        match std::mem::replace(self, Self::Gone) {
            Self::Waiting(head) => {
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
                if let Some(to) = begin(head, StatusCode::OK, headers) {
                    let _ = to.send(Ok(Bytes::from_static(PING))).await;
                    *self = Self::Begun { to, pinged: Instant::now() };
                }
            }
            Self::Begun { to, pinged } if pinged.elapsed() >= ping => {
                let _ = to.try_send(Ok(Bytes::from_static(PING)));
                *self = Self::Begun { to, pinged: Instant::now() };
            }
            other => *self = other,
        }
    }

    /// Begins the answer, or goes on with a stream that was held.
    pub(super) fn begin(self, status: StatusCode, headers: HeaderMap) -> Option<mpsc::Sender<Result<Bytes, Cut>>> {
        match self {
            Self::Waiting(head) => begin(head, status, headers),
            Self::Begun { to, .. } => Some(to).filter(|to| !to.is_closed()),
            Self::Gone => None,
        }
    }

    /// A refusal as it can still be told.
    pub(super) fn refusal(&self, refusal: &Refusal, dialect: Dialect) -> Response<Bytes> {
        match self {
            Self::Begun { .. } => Response::new(refusal.event(dialect)),
            Self::Waiting(_) | Self::Gone => refusal.response(dialect),
        }
    }

    /// An error of the provider as it can still be told.
    pub(super) fn error(&self, error: Response<Bytes>, dialect: Dialect) -> Response<Bytes> {
        match self {
            Self::Begun { .. } => {
                let message = format!("the provider answered {}", error.status());
                self.refusal(&Refusal::new(Code::Unavailable, message), dialect)
            }
            Self::Waiting(_) | Self::Gone => error,
        }
    }

    /// Says the last that there is to say, or all.
    pub(super) async fn end(self, last: Response<Bytes>) {
        match self {
            Self::Waiting(head) => drop(head.send(last.map(full))),
            Self::Begun { to, .. } => drop(to.send(Ok(last.into_body())).await),
            Self::Gone => {}
        }
    }
}

fn begin(
    head: oneshot::Sender<Response<Body>>,
    status: StatusCode,
    headers: HeaderMap,
) -> Option<mpsc::Sender<Result<Bytes, Cut>>> {
    let (to, body) = piped();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    head.send(response).ok().map(|()| to)
}
