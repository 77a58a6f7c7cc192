//! A fake provider, a broker and a relay, and a program in front of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use jct_fake_model::{FakeModel, Fault, Script};
use jct_model_gateway::body::Body;
use jct_model_gateway::broker::{Settings, WhenUsedUp};
use jct_model_gateway::budget::{Account, Amount, Limits, Unit, Want};
use jct_model_gateway::catalog::{Catalog, Model, Provider};
use jct_model_gateway::connect::tcp;
use jct_model_gateway::ledger::{Budget, Hold, MemoryLedger, Reservation, ReserveError, Scope, Unavailable};
use jct_model_gateway::record::Exchange;
use jct_model_gateway::{Broker, Caller, Dialect, Identity, IdentityError, Ledger, Price, Relay, Usd, relay};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const KEY: &str = "sk-the-real-key";
pub const ATTEMPT: &str = "attempt-1";
const TOKEN: &str = "token-of-the-pod";

/// How long somebody is asked.
pub const PATIENCE: Duration = Duration::from_secs(77);

/// A ledger that fails when it is told to.
#[derive(Default)]
pub struct TestLedger {
    pub memory: MemoryLedger,
    /// So many calls fail.
    pub failures: AtomicU32,
    /// So often a request that wants more of a budget waits on.
    pub holds: AtomicU32,
    /// So often an exchange said that it goes on.
    pub kept_alive: AtomicU32,
    /// So often what had waited went on.
    pub resumed: AtomicU32,
    /// What every budget was raised to.
    pub raised: Mutex<Option<Limits>>,
}

impl TestLedger {
    fn fails(&self) -> Result<(), Unavailable> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(Unavailable("as the test says".into())),
            Err(_) => Ok(()),
        }
    }
}

impl Ledger for TestLedger {
    async fn reserve(&self, attempt: &str, budgets: &[Budget], want: &Want) -> Result<Reservation, ReserveError> {
        self.fails()?;
        let mut budgets = budgets.to_vec();
        if let Some(limits) = *self.raised.lock().unwrap() {
            budgets.iter_mut().for_each(|budget| budget.limits = limits);
        }
        self.memory.reserve(attempt, &budgets, want).await
    }

    async fn hold(&self, attempt: &str, scope: &Scope, unit: Unit, patience: Duration) -> Result<Hold, Unavailable> {
        assert_eq!((attempt, scope, unit), (ATTEMPT, &Scope::Attempt(ATTEMPT.into()), Unit::Usd));
        assert_eq!(patience, PATIENCE);
        let one_less = |left: u32| left.checked_sub(1);
        let waits = self.holds.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        Ok(if waits { Hold::Wait } else { Hold::End })
    }

    async fn resume(&self, _: &str) -> Result<(), Unavailable> {
        self.resumed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn keep_alive(&self, _: &Reservation) -> Result<(), Unavailable> {
        self.kept_alive.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn extend(&self, reservation: &mut Reservation, budgets: &[Budget], want: &Want) -> Result<(), ReserveError> {
        self.memory.extend(reservation, budgets, want).await
    }

    async fn settle(
        &self,
        reservation: &Reservation,
        budgets: &[Budget],
        used: &Amount,
        exchange: Exchange,
    ) -> Result<(), Unavailable> {
        self.fails()?;
        self.memory.settle(reservation, budgets, used, exchange).await
    }

    async fn refuse(&self, exchange: Exchange) -> Result<(), Unavailable> {
        self.memory.refuse(exchange).await
    }

    async fn exchanges(&self, attempt: &str) -> Result<Vec<Exchange>, Unavailable> {
        self.memory.exchanges(attempt).await
    }
}

/// Knows one token.
pub struct OneCaller(Mutex<Arc<Caller>>);

impl Identity for OneCaller {
    async fn identify(&self, token: &str) -> Result<Arc<Caller>, IdentityError> {
        if token == TOKEN { Ok(self.0.lock().unwrap().clone()) } else { Err(IdentityError::Unknown) }
    }
}

pub type TestBroker = Broker<Arc<TestLedger>, Arc<OneCaller>, HttpConnector>;

pub struct Bench {
    pub fake: FakeModel,
    pub ledger: Arc<TestLedger>,
    pub relay: Relay<HttpConnector>,
    pub broker: TestBroker,
    caller: Arc<OneCaller>,
    address: SocketAddr,
    serving: Mutex<JoinHandle<()>>,
}

/// As impatient as tests are.
pub fn impatient() -> Settings {
    let millis = Duration::from_millis;
    Settings {
        silence: millis(400),
        ping: millis(100),
        look: millis(50),
        keep_alive: millis(150),
        ..Settings::default()
    }
}

pub fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

pub fn price() -> Price {
    Price { input: usd(3.0), cached_input: Some(usd(0.3)), cache_write: Some(usd(3.75)), output: usd(15.0) }
}

/// The alias of the dialect's model.
pub fn alias(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "claude",
        Dialect::OpenaiResponses => "gpt",
        Dialect::OpenaiChat => "jct/fake",
        Dialect::Gemini => "gemini",
    }
}

pub fn catalog(fake: SocketAddr, price: Option<Price>) -> Catalog {
    let models = Dialect::ALL.map(|dialect| {
        let provider = Provider::new(dialect.as_str(), dialect, &format!("http://{fake}"), KEY).unwrap();
        let model = format!("real-{}", dialect.as_str());
        Model { alias: alias(dialect).into(), provider: Arc::new(provider), model, price }
    });
    Catalog::new(models).unwrap()
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(Settings::default(), Some(price())).await
    }

    pub async fn with(settings: Settings, price: Option<Price>) -> Self {
        let fake = FakeModel::new(Script::default());
        let provider = fake.listen().await.unwrap();
        let aliases = Dialect::ALL.map(|dialect| alias(dialect).to_owned()).to_vec();
        let caller = Arc::new(OneCaller(Mutex::new(Arc::new(Caller {
            attempt: ATTEMPT.into(),
            trace_id: "trace-1".into(),
            aliases,
            budgets: vec![Budget { scope: Scope::Attempt(ATTEMPT.into()), limits: Limits::default() }],
            when_used_up: WhenUsedUp::End,
            max_in_flight: 100,
            max_request_bytes: 1 << 20,
            max_response_bytes: 4 << 20,
        }))));
        let ledger = Arc::new(TestLedger::default());
        let connector = tcp();
        let broker = Broker::new(ledger.clone(), caller.clone(), connector.clone(), catalog(provider, price), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = relay::Limits { in_flight: 100, request_bytes: 2 << 20, ..relay::Limits::default() };
        let token = Arc::new(|| Ok(format!("{TOKEN}\n")));
        let relay = Relay::new(format!("http://{address}").parse().unwrap(), connector, token, limits);
        let serving = Mutex::new(serve(broker.clone(), listener));
        Self { fake, ledger, relay, broker, caller, address, serving }
    }

    /// Changes who asks.
    pub fn caller(&self, change: impl FnOnce(&mut Caller)) {
        let mut caller = self.caller.0.lock().unwrap();
        let mut changed = (**caller).clone();
        change(&mut changed);
        *caller = Arc::new(changed);
    }

    pub fn limit(&self, limits: Limits) {
        self.caller(|caller| caller.budgets[0].limits = limits);
    }

    pub fn faults(&self, faults: impl Into<VecDeque<Fault>>) {
        self.fake.script().faults = faults.into();
    }

    /// Kills the broker: its connections break off, and what it did is not done any more.
    pub async fn kill(&self) {
        self.serving.lock().unwrap().abort();
        while !self.serving.lock().unwrap().is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Another broker at the same address, with the same ledger.
    pub async fn restart(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        *self.serving.lock().unwrap() = serve(self.broker.clone(), listener);
    }

    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        self.relay.handle(request).await
    }

    /// All that a program gets.
    pub async fn answer(&self, dialect: Dialect, streams: bool) -> (StatusCode, String) {
        read(self.ask(ask(dialect, streams, json!({}))).await).await
    }

    pub async fn exchanges(&self) -> Vec<Exchange> {
        self.ledger.exchanges(ATTEMPT).await.unwrap()
    }

    /// The account of the attempt.
    pub fn account(&self) -> Account {
        let scope = Scope::Attempt(ATTEMPT.into());
        self.ledger.memory.account(&scope, jiff::civil::date(2026, 1, 1))
    }

    /// Waits until nothing is reserved any more.
    pub async fn settled(&self) {
        for _ in 0..500 {
            if self.account().reserved == Amount::default() && self.account().spent.requests > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.account());
    }
}

fn serve(broker: TestBroker, listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let broker = broker.clone();
            connections.spawn(async move { broker.serve(stream).await });
        }
    })
}

pub fn path(dialect: Dialect, streams: bool) -> String {
    match (dialect, streams) {
        (Dialect::Anthropic, _) => "/v1/messages?beta=true".into(),
        (Dialect::OpenaiResponses, _) => "/v1/responses".into(),
        (Dialect::OpenaiChat, _) => "/v1/chat/completions".into(),
        (Dialect::Gemini, false) => "/v1beta/models/gemini:generateContent".into(),
        (Dialect::Gemini, true) => "/v1beta/models/gemini:streamGenerateContent?alt=sse&key=dummy".into(),
    }
}

pub fn request(dialect: Dialect, streams: bool) -> Value {
    match dialect {
        Dialect::Anthropic => json!({"model": "claude", "max_tokens": 1000, "stream": streams,
            "messages": [{"role": "user", "content": "hi"}]}),
        Dialect::OpenaiResponses => json!({"model": "gpt", "store": false, "stream": streams, "input": "hi"}),
        Dialect::OpenaiChat => json!({"model": "jct/fake", "stream": streams, "max_tokens": 1000,
            "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "hi"}]}),
        Dialect::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    }
}

/// A request with all the credentials that a program could have, and these members besides.
pub fn ask(dialect: Dialect, streams: bool, members: Value) -> Request<Full<Bytes>> {
    let mut body = request(dialect, streams);
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post(path(dialect, streams))
        .header("authorization", "Bearer dummy")
        .header("x-api-key", "dummy")
        .header("x-goog-api-key", "dummy")
        .header("cookie", "a=b")
        .header("anthropic-version", "2023-06-01")
        .header("accept-encoding", "gzip, br")
        .header("content-type", "application/json")
        .header("x-claude-code-agent-id", "agent-7")
        .body(Full::from(body.to_string()))
        .unwrap()
}

pub async fn read(response: Response<Body>) -> (StatusCode, String) {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("the answer comes to its end").to_bytes();
    (parts.status, String::from_utf8_lossy(&bytes).into_owned())
}

/// Header names and values, for looking through.
pub fn shown(headers: &HeaderMap) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))).collect()
}
