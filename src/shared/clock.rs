//! The API server's clock, as far as its answers tell: times of objects are the API server's, and what is compared with them has to
//! be too, however wrong the clock of this machine is.
//!
//! Every answer has a `Date`, in whole seconds. Carried on by a clock that nobody sets, the latest of them is never ahead of the API
//! server's clock, and behind by little more than a second. While this machine's own clock is no further from that, it counts, for it
//! is the more exact; else what the answers tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Response, header};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::gauge::Gauge;
use tower::util::MapResponseLayer;
use tracing::{info, warn};

/// How long what an answer told counts beside what later ones tell: a clock that was set back is followed after twice of that.
const WINDOW: Duration = Duration::from_secs(60);
/// How exactly the answers tell.
const EXACT: SignedDuration = SignedDuration::from_secs(2);
/// How far this machine's clock may be off before that is told, and how near it has to come for that to end.
const WARNING_SKEW: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(30), SignedDuration::from_secs(10));

/// When it is told again that a node's clock is behind, and of how many that is told meanwhile.
const AGAIN: Duration = Duration::from_secs(600);
const MOST_NODES: usize = 100;

/// The clock. Cheap to clone; all clones share what is known. Before the first answer it is this machine's.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    known: Mutex<Known>,
    skew_seconds: Gauge,
    /// Nodes whose clock was told to be behind, and when.
    nodes: Mutex<HashMap<String, Instant>>,
}

/// When `start` was by the API server's clock, in microseconds: by the answers of this window, and of the one before.
#[derive(Debug, Default)]
struct Known {
    started_at: Option<i64>,
    started_at_before: Option<i64>,
    window: Duration,
    is_off: bool,
}

impl Default for Clock {
    /// One whose skew nobody measures.
    fn default() -> Self {
        Self::new(Gauge::default())
    }
}

impl Clock {
    /// One that tells `skew_seconds` how far this machine's clock is off.
    pub fn new(skew_seconds: Gauge) -> Self {
        let known = Mutex::default();
        Self(Arc::new(Shared { start: Instant::now(), known, skew_seconds, nodes: Mutex::default() }))
    }

    pub fn now(&self) -> Timestamp {
        let own = Timestamp::now();
        match self.estimate() {
            Some(estimate) if own.duration_since(estimate).abs() > EXACT => estimate,
            _ => own,
        }
    }

    /// What the answers tell.
    fn estimate(&self) -> Option<Timestamp> {
        let started_at = self.0.known.lock().unwrap_or_else(PoisonError::into_inner).started_at()?;
        let passed = i64::try_from(self.0.start.elapsed().as_micros()).ok()?;
        Timestamp::from_microsecond(started_at.checked_add(passed)?).ok()
    }

    /// The same for who counts from 1970.
    pub fn system_time(&self) -> SystemTime {
        self.now().into()
    }

    /// How far this machine's clock is ahead, if it is off by more than half a minute.
    pub fn skew(&self) -> Option<SignedDuration> {
        let is_off = self.0.known.lock().unwrap_or_else(PoisonError::into_inner).is_off;
        is_off.then(|| Timestamp::now().duration_since(self.now()))
    }

    /// Takes note of an answer that comes at this moment, which the API server began at `date` by its clock.
    pub fn note(&self, date: Timestamp) {
        let passed = self.0.start.elapsed();
        let started_at = date.as_microsecond().saturating_sub(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX));
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).note(started_at, passed);
        let skew = Timestamp::now().duration_since(self.now());
        self.0.skew_seconds.set(skew.as_secs());
        let turned = self.0.known.lock().unwrap_or_else(PoisonError::into_inner).turned(skew.abs());
        match turned {
            Some(true) => warn!(
                ahead_seconds = skew.as_secs(),
                "this machine's clock and the API server's differ: durations are told by the API server's; set the clocks (NTP)"
            ),
            Some(false) => info!("this machine's clock and the API server's agree again"),
            None => {}
        }
    }

    /// Tells that the clock of a node, by its address, is behind, if it is by more than half a minute: once in ten minutes.
    pub fn node_is_behind(&self, node: &str, by: SignedDuration) {
        if by < WARNING_SKEW.0 {
            return;
        }
        let mut nodes = self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, warned_at| warned_at.elapsed() < AGAIN);
        if nodes.len() < MOST_NODES && !nodes.contains_key(node) {
            nodes.insert(node.to_owned(), Instant::now());
            warn!(node, seconds = by.as_secs(), "the clock of a node is behind the API server's: set the clocks (NTP)");
        }
    }

    /// What a client needs for this clock to know of its answers.
    pub fn layer<B>(&self) -> MapResponseLayer<impl Fn(Response<B>) -> Response<B> + Clone + use<B>> {
        let clock = self.clone();
        MapResponseLayer::new(move |response: Response<B>| {
            if let Some(date) = date(response.headers()) {
                clock.note(date);
            }
            response
        })
    }
}

impl Known {
    /// The latest: an answer that was long under way tells of an earlier time.
    fn started_at(&self) -> Option<i64> {
        self.started_at.max(self.started_at_before)
    }

    fn note(&mut self, started_at: i64, passed: Duration) {
        if passed.saturating_sub(self.window) > WINDOW {
            // Of an answer before a long silence as much is known as ever.
            self.started_at_before = self.started_at.take();
            self.window = passed;
        }
        self.started_at = self.started_at.max(Some(started_at));
    }

    /// Whether the clock is off, where that is news.
    fn turned(&mut self, skew: SignedDuration) -> Option<bool> {
        let (off, on) = WARNING_SKEW;
        let is_off = if self.is_off { skew > on } else { skew > off };
        (is_off != self.is_off).then(|| {
            self.is_off = is_off;
            is_off
        })
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    rfc2822::parse(date).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use tower::{Layer as _, ServiceExt as _};

    use super::*;

    fn ago(seconds: i64) -> Timestamp {
        Timestamp::now() - SignedDuration::from_secs(seconds)
    }

    #[test]
    fn times_are_the_api_servers_however_wrong_this_machine_is() {
        for hour in [3600, -3600] {
            let skew_seconds = Gauge::default();
            let clock = Clock::new(skew_seconds.clone());
            let before = clock.now();
            assert!((Timestamp::now() - before).get_seconds() < 60, "nothing is known yet");
            assert_eq!(clock.skew(), None);
            clock.note(ago(hour));
            // An answer that was long under way changes nothing.
            clock.note(ago(hour + 20));
            let off = ago(hour).duration_since(clock.now()).abs();
            assert!(off < SignedDuration::from_secs(5), "{off}");
            let skew = clock.skew().unwrap().as_secs();
            assert!((skew - hour).abs() < 5, "{skew}");
            assert!((skew_seconds.get() - hour).abs() < 5);
        }
    }

    #[test]
    fn a_clock_that_agrees_is_not_told_to_be_off() {
        let clock = Clock::default();
        clock.note(ago(1));
        assert_eq!(clock.skew(), None);
        let off = Timestamp::now().duration_since(clock.now()).abs();
        assert!(off < SignedDuration::from_millis(100), "it is the more exact: {off}");
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed() {
        let mut known = Known::default();
        let hour = 3_600_000_000;
        known.note(hour, Duration::from_secs(1));
        known.note(0, Duration::from_secs(2));
        assert_eq!(known.started_at(), Some(hour));
        known.note(0, Duration::from_secs(62));
        known.note(0, Duration::from_secs(123));
        assert_eq!(known.started_at(), Some(0));
    }

    #[test]
    fn that_clocks_differ_is_told_once_and_so_is_its_end() {
        let mut known = Known::default();
        let turns: Vec<_> = [5, 31, 3600, 20, 9, 20].map(|skew| known.turned(SignedDuration::from_secs(skew))).into();
        assert_eq!(turns, [None, Some(true), None, None, Some(false), None]);
    }

    #[tokio::test]
    async fn a_client_with_the_layer_sets_it() {
        let clock = Clock::default();
        let date = ago(3600).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let server = tower::service_fn(move |()| {
            let answer = Response::builder().header(header::DATE, &date).body(()).unwrap();
            async { Ok::<_, std::convert::Infallible>(answer) }
        });
        clock.layer().layer(server).oneshot(()).await.unwrap();
        assert_eq!(clock.skew().map(|skew| skew.as_secs() / 60), Some(60));
    }

    #[test]
    fn dates_are_read_from_answers() {
        let mut headers = HeaderMap::new();
        assert_eq!(date(&headers), None);
        headers.insert(header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        assert_eq!(date(&headers), Some("1994-11-06T08:49:37Z".parse().unwrap()));
        headers.insert(header::DATE, "yesterday".parse().unwrap());
        assert_eq!(date(&headers), None);
    }
}
