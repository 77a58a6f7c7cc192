//! One exchange: from a request that has been read to its place in the ledger.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::Connect;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::pump::{Answer, Pump};
use super::reply::Reply;
use super::{Caller, Identity, Inner, WhenUsedUp};
use crate::body::Body;
use crate::budget::{Amount, Want};
use crate::catalog::Model;
use crate::ledger::{Hold, Ledger, Reservation, ReserveError};
use crate::record::{Exchange, Tally, UsageSource};
use crate::request::{Inspected, inspect};
use crate::usage::estimated_input;
use crate::{Call, Code, Refusal, Tokens, Usd, headers};

/// Output tokens that are reserved for an answer, at most: all that it may have would block a small budget for nothing.
const OUTPUT_RESERVED: u64 = 16_000;
/// Output tokens for which it is worth beginning.
const OUTPUT_LEAST: u64 = 256;
/// Output tokens that a stream gets more when it has used up what was reserved.
const OUTPUT_MORE: u64 = 4_000;
/// The longest error of a provider that is passed on.
const LONGEST_ERROR: usize = 1 << 20;
/// How often and how long the ledger is asked to keep an exchange.
const SETTLE_TRIES: u32 = 6;
/// The status of an answer that nobody waited for, as nginx has it.
const GONE: u16 = 499;
/// Between two looks at what is left of a budget.
const AGAIN: Duration = Duration::from_millis(100);

/// A request that has been read.
pub(super) struct Asked {
    pub caller: Arc<Caller>,
    pub call: Call,
    pub counts: bool,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An exchange that is open: what is reserved for it, and what will be recorded.
pub(super) struct Open<'a> {
    pub asked: &'a Asked,
    pub inspected: &'a Inspected,
    pub model: &'a Model,
    pub reservation: Reservation,
    pub exchange: Exchange,
    pub began: Instant,
    pub response: Tally,
}

impl<L: Ledger, I: Identity, C: Connect + Clone + Send + Sync + 'static> Inner<L, I, C> {
    /// Carries an exchange out. `head` gets the answer, whose body goes on to come; when nobody waits for it, the exchange is
    /// ended.
    pub(super) async fn exchange(&self, asked: Asked, mut exchange: Exchange, head: oneshot::Sender<Response<Body>>) {
        let began = Instant::now();
        let mut reply = Reply::Waiting(head);
        let prepared = self.prepare(&asked, &mut exchange, &mut reply).await;
        let mut response = Tally::default();
        let (inspected, model, reservation) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let last = reply.refusal(&refusal, asked.call.dialect);
                response.add(last.body());
                exchange.answered(last.status(), &response, began);
                exchange.refused = Some(refusal.code.name().into());
                if let Err(error) = self.ledger.refuse(exchange).await {
                    tracing::error!(attempt = asked.caller.attempt, %error, "a refused request is not recorded");
                }
                return reply.end(last).await;
            }
        };
        let open = Open { asked: &asked, inspected: &inspected, model: &model, reservation, exchange, began, response };
        self.pass_on(open, reply).await;
    }

    /// Finds out what is asked, and reserves what that may cost.
    async fn prepare(
        &self,
        asked: &Asked,
        exchange: &mut Exchange,
        reply: &mut Reply,
    ) -> Result<(Inspected, Model, Reservation), Refusal> {
        let Asked { caller, call, .. } = asked;
        let inspected = inspect(call, &asked.body)?;
        exchange.alias.clone_from(&inspected.alias);
        let catalog = self.catalog();
        let model = catalog
            .get(&inspected.alias)
            .filter(|model| caller.aliases.contains(&model.alias) && model.provider.dialect == call.dialect);
        let model = model.ok_or_else(|| {
            let message = format!(
                "the model {:?} is not there for this attempt in this dialect; there are: {}",
                inspected.alias,
                caller.aliases.join(", ")
            );
            Refusal::new(Code::ModelNotAllowed, message)
        })?;
        exchange.provider = Some(model.provider.name.clone());
        exchange.model = Some(model.model.clone());
        exchange.price_sha256 = model.price.map(|price| price.sha256());
        let dollars_are_limited = caller.budgets.iter().any(|budget| budget.limits.usd.is_some());
        if model.price.is_none() && dollars_are_limited && !asked.counts {
            let message = format!("the model {:?} has no price, and dollars are limited", inspected.alias);
            return Err(Refusal::new(Code::NoPrice, message));
        }
        let want = want(asked, &inspected, model);
        let asks = match caller.when_used_up {
            WhenUsedUp::Ask(patience) if inspected.streams && !asked.counts => Some(patience),
            WhenUsedUp::Ask(_) | WhenUsedUp::End => None,
        };
        let reserved = self.reserve(caller, &want, asks, reply).await;
        let reservation = reserved.map_err(|error| {
            let refusal = not_reserved(&caller.attempt, &error);
            // What can't wait is refused, while something else may be waiting.
            let is_final = refusal.is_final && (asks.is_some() || caller.when_used_up == WhenUsedUp::End);
            Refusal { is_final, ..refusal }
        })?;
        Ok((inspected, model.clone(), reservation))
    }

    /// Reserves. What is not used up, but reserved by others, is waited for: who is refused may not try again. What is used up
    /// is waited for where somebody is asked for more.
    async fn reserve(
        &self,
        caller: &Caller,
        want: &Want,
        asks: Option<Duration>,
        reply: &mut Reply,
    ) -> Result<Reservation, ReserveError> {
        let until = Instant::now() + self.settings.turn;
        let mut is_held = false;
        loop {
            let error = match self.ledger.reserve(&caller.attempt, &caller.budgets, want).await {
                Ok(reservation) if is_held => {
                    self.ledger.resume(&caller.attempt).await?;
                    return Ok(reservation);
                }
                Ok(reservation) => return Ok(reservation),
                Err(error) => error,
            };
            let ReserveError::Exhausted { scope, unit, is_reserved } = &error else { return Err(error) };
            if reply.is_gone() {
                return Err(error);
            }
            if *is_reserved {
                if Instant::now() + AGAIN > until {
                    return Err(error);
                }
                sleep(AGAIN).await;
                continue;
            }
            let Some(patience) = asks else { return Err(error) };
            if self.ledger.hold(&caller.attempt, scope, *unit, patience).await? == Hold::End {
                return Err(error);
            }
            is_held = true;
            reply.hold(self.settings.ping).await;
            sleep(self.settings.look).await;
        }
    }

    async fn pass_on(&self, mut open: Open<'_>, mut reply: Reply) {
        let dialect = open.asked.call.dialect;
        let sent = timeout(self.settings.silence, self.client.request(open.request()));
        let got = tokio::select! {
            got = sent => got,
            () = reply.gone() => {
                // The provider may have begun, and charges for what it read.
                open.exchange.status = GONE;
                return self.settle(open, None, Some(Code::Invalid)).await;
            }
        };
        let answer = match got {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(provider = open.model.provider.name, ?error, "a provider cannot be reached");
                let refusal = Refusal::new(Code::Unavailable, "the provider cannot be reached");
                return self.refuse(open, refusal, reply).await;
            }
            Err(_) => {
                let message = format!("the provider has not answered for {} s", self.settings.silence.as_secs());
                return self.refuse(open, Refusal::new(Code::Silent, message), reply).await;
            }
        };
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            return self.pass_error_on(open, answer, reply).await;
        }
        let is_stream = is_event_stream(answer.headers());
        let is_held = matches!(reply, Reply::Begun { .. });
        if let Err(refusal) = check(&answer, is_held && !is_stream) {
            return self.refuse(open, refusal, reply).await;
        }
        open.exchange.status = status.as_u16();
        let Some(to) = reply.begin(status, headers::to_program(answer.headers())) else {
            return self.settle(open, None, Some(Code::Invalid)).await;
        };
        let pump = Pump::new(dialect, is_stream, self, &to);
        let Answer { meter, cut } = pump.run(&mut open, answer.into_body()).await;
        open.exchange.stop_reason_of(&meter);
        self.settle(open, Some(meter), cut).await;
        // Only now the answer has its end.
        drop(to);
    }

    /// A provider's error: nothing is charged for it, and it goes on as it is, so that the program tries again if it should.
    async fn pass_error_on(&self, open: Open<'_>, answer: Response<Incoming>, reply: Reply) {
        let (parts, body) = answer.into_parts();
        let read = timeout(self.settings.body, Limited::new(body, LONGEST_ERROR).collect()).await;
        let bytes = read.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut error = Response::new(bytes);
        *error.status_mut() = parts.status;
        *error.headers_mut() = headers::to_program(&parts.headers);
        let last = reply.error(error, open.asked.call.dialect);
        self.end(open, last, reply).await;
    }

    async fn refuse(&self, mut open: Open<'_>, refusal: Refusal, reply: Reply) {
        let last = reply.refusal(&refusal, open.asked.call.dialect);
        open.exchange.refused = Some(refusal.code.name().into());
        self.end(open, last, reply).await;
    }

    /// Ends an exchange that costs nothing.
    async fn end(&self, mut open: Open<'_>, last: Response<Bytes>, reply: Reply) {
        open.response.add(last.body());
        open.exchange.status = last.status().as_u16();
        open.exchange.charge(&Tokens::default(), UsageSource::None, Usd::ZERO);
        self.keep(open, Amount { requests: 1, ..Amount::default() }).await;
        reply.end(last).await;
    }

    /// Charges what an answer used up, as far as that is known.
    async fn settle(&self, mut open: Open<'_>, meter: Option<crate::usage::Meter>, cut: Option<Code>) {
        let Open { asked, model, .. } = open;
        let reported = meter.as_ref().and_then(crate::usage::Meter::reported);
        let meter = meter.unwrap_or_else(|| crate::usage::Meter::new(asked.call.dialect));
        let (tokens, source) = match reported {
            _ if asked.counts => (Tokens::default(), UsageSource::None),
            Some(reported) => (reported, UsageSource::Reported),
            None => (meter.so_far(asked.body.len() as u64), UsageSource::Estimated),
        };
        let usd = model.price.map_or(Usd::ZERO, |price| price.of(&tokens));
        open.exchange.refused = cut.map(|code| code.name().into());
        open.exchange.charge(&tokens, source, usd);
        self.keep(open, Amount { usd, tokens: tokens.total(), requests: 1 }).await;
    }

    /// Has the ledger keep it. What it does not keep stays reserved: nobody has it for nothing.
    async fn keep(&self, open: Open<'_>, used: Amount) {
        let Open { asked, reservation, mut exchange, began, response, .. } = open;
        let status = StatusCode::from_u16(exchange.status).unwrap_or_default();
        exchange.answered(status, &response, began);
        let caller = &asked.caller;
        for attempt in 0..SETTLE_TRIES {
            match self.ledger.settle(&reservation, &caller.budgets, &used, exchange.clone()).await {
                Ok(()) => return,
                Err(error) if attempt + 1 == SETTLE_TRIES => {
                    tracing::error!(attempt = caller.attempt, id = exchange.id, %error, "an exchange is not settled");
                }
                Err(_) => sleep(Duration::from_millis(50 << attempt)).await,
            }
        }
    }
}

impl Open<'_> {
    /// What is sent to the provider.
    fn request(&self) -> Request<Full<Bytes>> {
        let Self { asked, inspected, model, .. } = self;
        let path = asked.call.path(&model.model, asked.counts);
        let body = inspected.rewrite(&asked.body, &model.model);
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        if let Some(address) = model.provider.address(&path) {
            *request.uri_mut() = address;
        }
        let sent = request.headers_mut();
        *sent = headers::to_provider(&asked.headers);
        sent.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        model.provider.authorize(sent);
        request
    }

    /// What is used up so far.
    pub(super) fn used(&self, tokens: &Tokens) -> Amount {
        let usd = self.model.price.map_or(Usd::ZERO, |price| price.of(tokens));
        Amount { usd, tokens: tokens.total(), requests: 1 }
    }

    /// What is to be reserved besides, when this is used up.
    pub(super) fn more(&self, used: Amount) -> Want {
        let output = |output| self.used(&Tokens { output, ..Tokens::default() });
        let granted = self.reservation.granted;
        let missing = |part: Amount| Amount {
            usd: (used.usd + part.usd).less(granted.usd),
            tokens: used.tokens.saturating_add(part.tokens).saturating_sub(granted.tokens),
            requests: 0,
        };
        Want { most: missing(output(OUTPUT_MORE)), least: missing(output(1)) }
    }
}

/// What is noted of an exchange as it goes.
trait Noted {
    fn answered(&mut self, status: StatusCode, response: &Tally, began: Instant);
    fn stop_reason_of(&mut self, meter: &crate::usage::Meter);
}

impl Noted for Exchange {
    fn answered(&mut self, status: StatusCode, response: &Tally, began: Instant) {
        self.status = status.as_u16();
        self.response_bytes = response.bytes;
        self.response_sha256 = response.sha256();
        self.latency_ms = millis(began);
    }

    fn stop_reason_of(&mut self, meter: &crate::usage::Meter) {
        self.finish_reasons = meter.stop_reason.iter().cloned().collect();
        self.response_id.clone_from(&meter.response_id);
        self.response_model.clone_from(&meter.model);
    }
}

/// What a request may cost: its own size from above, and an answer.
fn want(asked: &Asked, inspected: &Inspected, model: &Model) -> Want {
    let once = Amount { requests: 1, ..Amount::default() };
    if asked.counts {
        return Want { most: once, least: once };
    }
    let input = estimated_input(asked.body.len() as u64);
    let amount = |output| {
        let tokens = Tokens { input, output, ..Tokens::default() };
        let usd = model.price.map_or(Usd::ZERO, |price| price.of(&tokens));
        Amount { usd, tokens: tokens.total(), requests: 1 }
    };
    let output = inspected.max_output_tokens.unwrap_or(OUTPUT_RESERVED);
    Want { most: amount(output.min(OUTPUT_RESERVED)), least: amount(output.min(OUTPUT_LEAST)) }
}

pub(super) fn not_reserved(attempt: &str, error: &ReserveError) -> Refusal {
    match error {
        ReserveError::Exhausted { scope, unit, .. } => {
            let message = format!("spend limit reached: the budget {scope} is used up ({})", unit.as_str());
            Refusal::new(Code::BudgetExceeded, message)
        }
        ReserveError::Unavailable(error) => {
            tracing::error!(attempt, %error, "nothing can be reserved");
            Refusal::new(Code::Unavailable, "the ledger is not available")
        }
    }
}

/// What the record says from the start.
pub(super) fn opening(asked: &Asked, number: u64) -> Exchange {
    let Asked { caller, call, counts, path, headers, body } = asked;
    let mut request = Tally::default();
    request.add(body);
    let said = |name| Some(headers.get(name)?.to_str().ok()?.chars().take(200).collect());
    let sha256 = request.sha256();
    let ts = jiff::Timestamp::now();
    Exchange {
        ts,
        seq: 0,
        id: format!("{:x}-{number:x}-{}", ts.as_millisecond(), sha256.get(..8).unwrap_or_default()),
        attempt: caller.attempt.clone(),
        trace_id: caller.trace_id.clone(),
        dialect: call.dialect,
        path: path.clone(),
        alias: call.model.clone().unwrap_or_default(),
        provider: None,
        operation: if *counts { "count_tokens" } else { call.dialect.operation_name() }.into(),
        provider_name: call.dialect.provider_name().into(),
        model: None,
        response_model: None,
        response_id: None,
        finish_reasons: Vec::new(),
        input_tokens: 0,
        cached_tokens: 0,
        cache_written_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
        usage: UsageSource::None,
        usd: Usd::ZERO,
        price_sha256: None,
        status: 0,
        refused: None,
        request_bytes: request.bytes,
        request_sha256: sha256,
        response_bytes: 0,
        response_sha256: Tally::default().sha256(),
        first_byte_ms: None,
        latency_ms: 0,
        agent: said(headers::AGENT),
        conversation: said(headers::SESSION),
    }
}

/// Whether an answer can be passed on.
fn check(answer: &Response<Incoming>, is_no_stream: bool) -> Result<(), Refusal> {
    if answer.status() != StatusCode::OK {
        let message = format!("the provider answered {}: it is not followed elsewhere", answer.status());
        return Err(Refusal::new(Code::BadUpstream, message));
    }
    let encoding = answer.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::new(Code::BadUpstream, "the provider answered in an encoding that was not asked for"));
    }
    if is_no_stream {
        return Err(Refusal::new(Code::BadUpstream, "the provider did not answer with a stream"));
    }
    Ok(())
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
