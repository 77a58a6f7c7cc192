//! An answer on its way: its bytes go on as they are, and are read.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::Inner;
use super::exchange::{Open, millis, not_reserved};
use crate::body::Cut;
use crate::ledger::Ledger;
use crate::sse::{self, PING, Splitter};
use crate::usage::Meter;
use crate::{Code, Dialect, Refusal};

/// Of an answer that is no stream, so many bytes are kept to read its usage.
const KEPT: usize = 8 << 20;

/// What came of an answer.
pub(super) struct Answer {
    pub meter: Meter,
    /// Why it has not come to its end, if it is for us or the program.
    pub cut: Option<Code>,
}

/// How an answer ends.
enum End {
    /// As it should.
    Whole,
    /// The provider broke off.
    Broken,
    /// The program has gone.
    Gone,
    /// We cut it.
    Refused(Refusal),
}

pub(super) struct Pump<'a, L, I, C> {
    dialect: Dialect,
    is_stream: bool,
    inner: &'a Inner<L, I, C>,
    to: &'a mpsc::Sender<Result<Bytes, Cut>>,
    meter: Meter,
    splitter: Splitter,
    kept: BytesMut,
    read: u64,
}

impl<'a, L: Ledger, I, C> Pump<'a, L, I, C> {
    pub(super) fn new(
        dialect: Dialect,
        is_stream: bool,
        inner: &'a Inner<L, I, C>,
        to: &'a mpsc::Sender<Result<Bytes, Cut>>,
    ) -> Self {
        let (splitter, kept) = (Splitter::default(), BytesMut::new());
        Self { dialect, is_stream, inner, to, meter: Meter::new(dialect), splitter, kept, read: 0 }
    }

    /// Passes an answer on until its end, but leaves that open.
    pub(super) async fn run(mut self, open: &mut Open<'_>, body: Incoming) -> Answer {
        let end = self.pass(open, body).await;
        if !self.is_stream {
            let kept = std::mem::take(&mut self.kept);
            self.meter.read_whole(&kept);
        }
        let cut = match end {
            End::Whole => None,
            End::Broken => {
                // The program sees what happened, and does what it does then.
                let _ = self.to.send(Err(Cut)).await;
                Some(Code::BadUpstream)
            }
            End::Gone => Some(Code::Invalid),
            End::Refused(refusal) => {
                if self.is_stream {
                    let _ = self.send(open, refusal.event(self.dialect)).await;
                } else {
                    let _ = self.to.send(Err(Cut)).await;
                }
                Some(refusal.code)
            }
        };
        Answer { meter: self.meter, cut }
    }

    async fn pass(&mut self, open: &mut Open<'_>, mut body: Incoming) -> End {
        let settings = self.inner.settings;
        let mut heard = Instant::now();
        let mut ping = heard + settings.ping;
        let mut keep = heard + settings.keep_alive;
        loop {
            if Instant::now() >= keep {
                keep = Instant::now() + settings.keep_alive;
                if let Err(error) = self.inner.ledger.keep_alive(&open.reservation).await {
                    tracing::warn!(id = open.exchange.id, %error, "a stream that goes on may be taken for one whose broker is gone");
                }
            }
            let frame = tokio::select! {
                biased;
                () = self.to.closed() => return End::Gone,
                frame = body.frame() => frame,
                () = sleep_until(heard + settings.silence) => {
                    let message = format!("the provider has been silent for {} s", settings.silence.as_secs());
                    return End::Refused(Refusal::new(Code::Silent, message));
                }
                () = sleep_until(keep) => continue,
                () = sleep_until(ping), if self.is_stream => {
                    ping = Instant::now() + settings.ping;
                    if self.send(open, Bytes::from_static(PING)).await.is_err() {
                        return End::Gone;
                    }
                    continue;
                }
            };
            let data = match frame {
                None => return self.finish(open).await,
                Some(Err(error)) => {
                    tracing::warn!(provider = open.model.provider.name, %error, "a provider broke off");
                    return End::Broken;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            heard = Instant::now();
            ping = heard + settings.ping;
            self.read += data.len() as u64;
            if self.read > open.asked.caller.max_response_bytes {
                let message = format!("the answer has more than {} bytes", open.asked.caller.max_response_bytes);
                return End::Refused(Refusal::new(Code::ResponseTooLarge, message));
            }
            if let Err(end) = self.take(open, data).await {
                return end;
            }
        }
    }

    /// Reads a piece and passes it on, as long as what was reserved is enough.
    async fn take(&mut self, open: &mut Open<'_>, data: Bytes) -> Result<(), End> {
        if !self.is_stream {
            if self.kept.len() + data.len() <= KEPT {
                self.kept.extend_from_slice(&data);
            }
            return self.send(open, data).await;
        }
        self.splitter.push(&data);
        let mut events = BytesMut::new();
        while let Some(event) = self.splitter.next() {
            let only_usage = self.meter.read_event(&sse::data(&event));
            if !(only_usage && open.inspected.usage_is_ours) {
                events.extend_from_slice(&event);
            }
        }
        self.splitter.waiting();
        self.stay_within(open).await?;
        if events.is_empty() { Ok(()) } else { self.send(open, events.freeze()).await }
    }

    /// Gets more if what was reserved is used up, or ends the answer. One that has told its usage has come to its end.
    async fn stay_within(&mut self, open: &mut Open<'_>) -> Result<(), End> {
        if self.meter.reported().is_some() {
            return Ok(());
        }
        let used = open.used(&self.meter.so_far(open.asked.body.len() as u64));
        if !used.passes(open.reservation.granted) {
            return Ok(());
        }
        let want = open.more(used);
        let caller = &open.asked.caller;
        let extended = self.inner.ledger.extend(&mut open.reservation, &caller.budgets, &want).await;
        extended.map_err(|error| End::Refused(not_reserved(&caller.attempt, &error)))
    }

    async fn finish(&mut self, open: &mut Open<'_>) -> End {
        let rest = self.splitter.rest();
        if !rest.is_empty() {
            self.meter.read_event(&sse::data(&rest));
            if self.send(open, rest).await.is_err() {
                return End::Gone;
            }
        }
        End::Whole
    }

    async fn send(&self, open: &mut Open<'_>, bytes: Bytes) -> Result<(), End> {
        open.response.add(&bytes);
        open.exchange.first_byte_ms.get_or_insert(millis(open.began));
        match timeout(self.inner.settings.reader, self.to.send(Ok(bytes))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}
