//! Bodies: those that are read whole, within limits, and those that go by.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::{Code, Refusal};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Reads all of a request's body.
///
/// # Errors
/// If it has more bytes, takes longer, or breaks off.
pub async fn read_whole<B>(body: B, limit: u64, patience: Duration) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let until = Instant::now() + patience;
    let too_large = || Refusal::new(Code::TooLarge, format!("the request has more than {limit} bytes"));
    if body.size_hint().lower() > limit {
        return Err(too_large());
    }
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    loop {
        let frame = timeout_at(until, body.frame()).await;
        match frame.map_err(|_| Refusal::new(Code::TooSlow, "the request did not come in time"))? {
            None => return Ok(whole.freeze()),
            Some(Err(_)) => return Err(Refusal::new(Code::Invalid, "the request broke off")),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if (whole.len() + data.len()) as u64 > limit {
                    return Err(too_large());
                }
                whole.extend_from_slice(&data);
            }
        }
    }
}

/// What another task writes. A body that is not ended breaks off.
#[derive(Debug)]
pub(crate) struct Piped(mpsc::Receiver<Result<Bytes, Cut>>);

/// The answer ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
pub(crate) struct Cut;

/// So many pieces may wait for a program that reads slowly.
const PIECES: usize = 8;

pub(crate) fn piped() -> (mpsc::Sender<Result<Bytes, Cut>>, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, Piped(receiver).map_err(Into::into).boxed_unsync())
}

impl HttpBody for Piped {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
