//! Answers that last: fed piece by piece by a task of their own, with the caller's rights asked again on the way.
//!
//! A stream has room for two pieces. Who does not read keeps its feeder waiting, and is cut in the end: nothing piles up.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures::future::BoxFuture;
use futures::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Asker;
use crate::api::Api;
use crate::api::auth::Right;
use crate::api::error::Problem;
use crate::api::frame::Full;
use crate::api::metrics::{StreamEndLabels, StreamLabels};

/// How long a reader may take for one piece.
const STALL: Duration = Duration::from_secs(30);
/// How often in a row the authority may leave a question unanswered before a stream ends.
const UNANSWERED: u32 = 3;
/// The least time between two questions.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Ended,
    /// Nobody reads it any more.
    Gone,
    /// The caller is nobody any more, or lacks the right.
    Forbidden,
    /// It cannot be found out whether they have it.
    Unanswered,
    /// The reader was too slow.
    Slow,
    Stopped,
    /// The file is not what was sealed.
    Changed,
    Removed,
    /// The volume or the record cannot be read.
    Broken,
}

impl End {
    /// The word for it, in metrics and at the end of what is followed.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Gone => "gone",
            Self::Forbidden => "forbidden",
            Self::Slow => "slow",
            Self::Stopped => "shutdown",
            Self::Changed => "trace_changed",
            Self::Removed => "trace_removed",
            Self::Unanswered | Self::Broken => "unavailable",
        }
    }
}

/// What stands at the end of a stream, after all that was sent; an error breaks the connection off.
pub type Trailer = Option<io::Result<Bytes>>;

/// Nothing after the whole, and a connection that is broken off after less.
pub fn trailer_of_file(end: End) -> Trailer {
    (end != End::Ended).then(|| Err(io::Error::other(end.reason())))
}

type Ask = Box<dyn Fn() -> BoxFuture<'static, Result<bool, Problem>> + Send + Sync>;

/// Where the pieces of a stream go.
pub struct Feed {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    stop: CancellationToken,
    ask: Ask,
    ask_next: Box<dyn Fn() -> Instant + Send + Sync>,
    next: Instant,
    unanswered: u32,
    sent: prometheus_client::metrics::counter::Counter,
}

impl Feed {
    /// Sends a piece.
    ///
    /// # Errors
    /// Why the stream ends now.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), End> {
        self.check().await?;
        let bytes = piece.len() as u64;
        tokio::select! {
            () = self.stop.cancelled() => Err(End::Stopped),
            sent = timeout(STALL, self.pieces.send(Ok(piece))) => match sent {
                Ok(Ok(())) => {
                    self.sent.inc_by(bytes);
                    Ok(())
                }
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Slow),
            },
        }
    }

    /// Waits for `time`.
    ///
    /// # Errors
    /// Why the stream ends now.
    pub async fn wait(&mut self, time: Duration) -> Result<(), End> {
        tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            () = self.pieces.closed() => return Err(End::Gone),
            () = sleep(time) => {}
        }
        self.check().await
    }

    /// Asks again whether the caller may have this, when it is time to.
    async fn check(&mut self) -> Result<(), End> {
        if Instant::now() < self.next {
            return Ok(());
        }
        match (self.ask)().await {
            Ok(true) => self.unanswered = 0,
            Ok(false) => return Err(End::Forbidden),
            Err(_) if self.unanswered + 1 >= UNANSWERED => return Err(End::Unanswered),
            Err(_) => self.unanswered += 1,
        }
        self.next = (self.ask_next)();
        Ok(())
    }
}

/// What a stream is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// For metrics: `file`, `archive`, `events`, `log`.
    pub kind: &'static str,
    /// Whether it ends as soon as the operator is to end; others have until connections are closed.
    pub stops: bool,
    /// What stands at its end.
    pub last: fn(End) -> Trailer,
}

/// A body that `work` feeds, for a caller who may read the traces of `namespace`.
///
/// # Errors
/// 429 if the caller has as many streams as one may have, 503 if there are too many.
pub fn open<Work, Fed>(api: &Api, asker: Asker, namespace: &str, shape: Shape, work: Work) -> Result<Body, Problem>
where
    Work: FnOnce(Feed) -> Fed + Send + 'static,
    Fed: Future<Output = Result<(), End>> + Send + 'static,
{
    let Asker { caller, credential, keep_busy } = asker;
    let held = api.results.streams.hold(caller.username()).map_err(too_many)?;
    let (pieces, received) = mpsc::channel(1);
    let (last, last_received) = oneshot::channel();
    let keep = api.settings.keep_decisions.max(LEAST_PAUSE);
    let again = credential.clone();
    let ask_next: Box<dyn Fn() -> Instant + Send + Sync> = Box::new(move || again.ask_next(keep));
    let ask: Ask = {
        let (api, namespace) = (api.clone(), namespace.to_owned());
        Box::new(move || {
            let (api, credential, namespace) = (api.clone(), credential.clone(), namespace.clone());
            let rights = [Right::tasks("get", &namespace), super::right(&namespace)];
            Box::pin(async move { credential.still(&api.access, &rights).await })
        })
    };
    let metrics = api.health.metrics.clone();
    let feed = Feed {
        pieces,
        stop: if shape.stops { api.results.stop.clone() } else { CancellationToken::new() },
        next: ask_next(),
        ask,
        ask_next,
        unanswered: 0,
        sent: metrics.stream_bytes.clone(),
    };
    let labels = StreamLabels { kind: shape.kind };
    metrics.streams.get_or_create(&labels).inc();
    tokio::spawn(async move {
        // Busy and counted for as long as there is something to send.
        let (_held, _busy) = (held, keep_busy.map(|keep| keep.begin()));
        let end = work(feed).await.err().unwrap_or(End::Ended);
        let _ = last.send((shape.last)(end));
        metrics.streams.get_or_create(&labels).dec();
        metrics.stream_ends.get_or_create(&StreamEndLabels { kind: shape.kind, reason: end.reason() }).inc();
    });
    Ok(body(received, last_received))
}

fn body(received: mpsc::Receiver<io::Result<Bytes>>, last: oneshot::Receiver<Trailer>) -> Body {
    Body::from_stream(stream::unfold((received, Some(last)), |(mut received, last)| async move {
        if let Some(piece) = received.recv().await {
            return Some((piece, (received, last)));
        }
        // A feeder that is gone without a word has failed.
        let last = last?.await.unwrap_or_else(|error| Some(Err(io::Error::other(error))))?;
        Some((last, (received, None)))
    }))
}

/// The refusal of one more stream.
pub fn too_many(full: Full) -> Problem {
    match full {
        Full::OfCaller => {
            let message = "you follow or download as much at once as one may; try again when some of it has ended";
            Problem::named(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message).retry_after(5)
        }
        Full::OfAll => {
            let message = "too much is being followed and downloaded; try again";
            Problem::named(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(5)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const PIECE: Bytes = Bytes::from_static(b"x");

    /// A feed into a channel, whose questions are answered by `answers`, one after the other; the last one stays.
    pub fn feed(answers: Vec<Option<bool>>) -> (Feed, mpsc::Receiver<io::Result<Bytes>>) {
        let (pieces, received) = mpsc::channel(1);
        let answers = Arc::new(Mutex::new(answers));
        let ask: Ask = Box::new(move || {
            let mut answers = answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
            Box::pin(async move { answer.ok_or_else(|| Problem::unavailable("away")) })
        });
        let ask_next = || Box::new(|| Instant::now() + Duration::from_secs(10)) as Box<_>;
        let feed = Feed {
            pieces,
            stop: CancellationToken::new(),
            ask,
            ask_next: ask_next(),
            next: Instant::now() + Duration::from_secs(10),
            unanswered: 0,
            sent: Default::default(),
        };
        (feed, received)
    }

    async fn until_it_ends(feed: &mut Feed) -> (End, Duration) {
        let began = Instant::now();
        loop {
            if let Err(end) = feed.wait(Duration::from_secs(1)).await {
                return (end, began.elapsed());
            }
            if began.elapsed() > Duration::from_secs(100) {
                return (End::Ended, began.elapsed());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_lost_ends_a_stream_and_one_that_is_kept_does_not() {
        let (mut lost, _reader) = feed(vec![Some(true), Some(false)]);
        assert_eq!(until_it_ends(&mut lost).await, (End::Forbidden, Duration::from_secs(20)));
        let (mut kept, _reader) = feed(vec![Some(true)]);
        assert_eq!(until_it_ends(&mut kept).await.0, End::Ended);
        let (mut sending, _reader) = feed(vec![Some(false)]);
        sending.next = Instant::now();
        assert_eq!(sending.send(PIECE).await, Err(End::Forbidden), "nothing is sent any more");
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_stays_away_ends_a_stream_and_one_that_comes_back_does_not() {
        let (mut away, _reader) = feed(vec![None]);
        assert_eq!(until_it_ends(&mut away).await, (End::Unanswered, Duration::from_secs(30)));
        let (mut back, _reader) = feed(vec![None, None, Some(true), None, None, Some(true)]);
        assert_eq!(until_it_ends(&mut back).await.0, End::Ended);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_cut_and_told_why() {
        let (mut slow, reader) = feed(vec![Some(true)]);
        slow.send(PIECE).await.unwrap();
        let began = Instant::now();
        assert_eq!(slow.send(PIECE).await, Err(End::Slow));
        assert_eq!(began.elapsed(), STALL);
        drop(slow);
        let body = body(reader, sent(Some(Ok(Bytes::from_static(b"slow")))));
        let all = axum::body::to_bytes(body, 100).await.unwrap();
        assert_eq!(&all[..], b"xslow", "what was sent before comes first");
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_and_who_stops_ends_it_at_once() {
        let (mut left, reader) = feed(vec![Some(true)]);
        drop(reader);
        assert_eq!(until_it_ends(&mut left).await, (End::Gone, Duration::ZERO));
        let (mut stopped, _reader) = feed(vec![Some(true)]);
        stopped.stop.cancel();
        assert_eq!(until_it_ends(&mut stopped).await, (End::Stopped, Duration::ZERO));
    }

    fn sent(last: Trailer) -> oneshot::Receiver<Trailer> {
        let (sender, receiver) = oneshot::channel();
        sender.send(last).unwrap();
        receiver
    }

    #[tokio::test]
    async fn what_breaks_off_is_no_whole_answer() {
        let silent = oneshot::channel().1;
        for (last, is_whole) in
            [(sent(trailer_of_file(End::Changed)), false), (silent, false), (sent(trailer_of_file(End::Ended)), true)]
        {
            let (pieces, reader) = mpsc::channel(1);
            pieces.send(Ok(PIECE)).await.unwrap();
            drop(pieces);
            assert_eq!(axum::body::to_bytes(body(reader, last), 100).await.is_ok(), is_whole);
        }
    }
}
