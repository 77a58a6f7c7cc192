//! Reading a body: no more bytes than are allowed, than there is room for, and no longer than is patient.

use std::time::Duration;

use axum::body::{Body as Stream, BodyDataStream};
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::budget::{Budget, Charge};

/// What a body may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Its bytes.
    pub bytes: usize,
    /// How long it may wait for room.
    pub wait: Duration,
    /// How long it may take to arrive, once there is room.
    pub read: Duration,
}

/// A body, with the room that it takes: keep it as long as the bytes, or what was made of them.
#[derive(Debug)]
pub struct Body {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its room.
    pub charge: Charge,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than are allowed.
    #[error("the body is too large")]
    TooLarge,
    /// There was no room for it in time.
    #[error("too many bodies are being read")]
    NoRoom,
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// It broke off.
    #[error("the body broke off")]
    Broken,
}

/// Reads `stream`, the body that goes with `headers`, for `source`.
///
/// The room is taken before the first byte is read: as much as the head announces, or, where it announces nothing, as the
/// greatest body needs.
///
/// # Errors
/// [`BodyError`] says what was too much.
pub async fn read(
    headers: &HeaderMap,
    stream: Stream,
    limits: BodyLimits,
    budget: &Budget,
    source: &str,
) -> Result<Body, BodyError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let most = announced.unwrap_or(limits.bytes);
    if most > limits.bytes {
        return Err(BodyError::TooLarge);
    }
    let charge = budget.charge(source, most, limits.wait).await;
    let until = Instant::now() + limits.read;
    let mut stream = stream.into_data_stream();
    let Some(mut charge) = charge else {
        let _ = timeout_at(until, discard(&mut stream, most)).await;
        return Err(BodyError::NoRoom);
    };
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = timeout_at(until, stream.next()).await.map_err(|_| BodyError::TooSlow)? {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if bytes.len() + chunk.len() > most {
            return Err(BodyError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    bytes.shrink_to_fit();
    charge.keep(bytes.len());
    Ok(Body { bytes, charge })
}

/// Takes what is sent and keeps none of it, up to `most` bytes: who is in the middle of sending reads no answer, but sees a broken
/// connection.
async fn discard(stream: &mut BodyDataStream, most: usize) {
    let mut read = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        read += chunk.len();
        if read > most {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Bytes;

    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { bytes: 100, wait: Duration::from_millis(10), read: Duration::from_millis(10) };

    fn announcing(length: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, length.parse().unwrap())])
    }

    fn endless() -> Stream {
        Stream::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64]))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_whole_or_not_at_all() {
        let budget = Budget::new(200, 200);
        let read = |headers: HeaderMap, stream: Stream| {
            let budget = &budget;
            async move { super::read(&headers, stream, LIMITS, budget, "ada").await.map(|body| body.bytes) }
        };
        assert_eq!(read(HeaderMap::new(), "hello".into()).await, Ok(b"hello".to_vec()));
        assert_eq!(read(announcing("5"), "hello".into()).await, Ok(b"hello".to_vec()));
        assert_eq!(read(announcing("101"), endless()).await, Err(BodyError::TooLarge));
        assert_eq!(read(HeaderMap::new(), endless()).await, Err(BodyError::TooLarge));
        assert_eq!(read(announcing("3"), endless()).await, Err(BodyError::TooLarge), "more than it announced");
        let silent = Stream::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(HeaderMap::new(), silent).await, Err(BodyError::TooSlow));
        let broken = Stream::from_stream(futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(read(HeaderMap::new(), broken).await, Err(BodyError::Broken));
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_taken_before_the_first_byte_and_held_as_long_as_the_body() {
        let budget = Budget::new(100, 100);
        let held = super::read(&announcing("60"), Stream::from("x".repeat(60)), LIMITS, &budget, "ada").await.unwrap();
        let refused = super::read(&HeaderMap::new(), endless(), LIMITS, &budget, "bob").await.err();
        assert_eq!(refused, Some(BodyError::NoRoom));
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let chunks = futures::stream::iter([30, 20]).inspect(move |length| {
            counter.fetch_add(*length, Ordering::Relaxed);
        });
        let chunks = Stream::from_stream(chunks.map(|length| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; length]))));
        assert_eq!(super::read(&announcing("50"), chunks, LIMITS, &budget, "bob").await.err(), Some(BodyError::NoRoom));
        assert_eq!(
            sent.load(Ordering::Relaxed),
            50,
            "what is refused is taken all the same, so that the answer is read"
        );
        drop(held);
        assert!(super::read(&HeaderMap::new(), Stream::from("x"), LIMITS, &budget, "bob").await.is_ok());
    }
}
