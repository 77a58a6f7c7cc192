//! What relay and broker add to a request and to each token of an answer, against the same server asked directly; and what many streams
//! take at the same time: a table. `cargo bench --bench models`.
//!
//! Connections are warm and plain, budgets are on, and the accounts are in SQLite in a folder of `target`, synced to its disk, or in the
//! database of `JCT_BENCH_DATABASE_URL`.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Uri};
use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jct::broker::{BrokerMetrics, StoreLedger};
use jct::domain::Id;
use jct::domain::model::{Dialect, Limits, Price, Usd};
use jct::store::{Store, StoreSettings};
use jct_fake_model::{FakeModel, Script};
use jct_model_gateway::broker::{Settings, WhenUsedUp};
use jct_model_gateway::catalog::{Catalog, Model, Provider};
use jct_model_gateway::connect::tcp;
use jct_model_gateway::ledger::{Budget, Scope};
use jct_model_gateway::{Broker, Caller, Identity, IdentityError, Relay, relay};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;

/// Requests, and answers of so many tokens.
const TIMES: usize = 1000;
const TOKENS: usize = 500;
/// Streams at the same time, each of so many tokens, so far apart.
const STREAMS: usize = 200;
const OF_EACH: usize = 100;
const APART_MS: u64 = 10;

struct One(Arc<Caller>);

impl Identity for One {
    async fn identify(&self, _: &str) -> Result<Arc<Caller>, IdentityError> {
        Ok(self.0.clone())
    }
}

fn main() -> anyhow::Result<()> {
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let url = env::var("JCT_BENCH_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", folder.path().join("jct.db").display()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&StoreSettings::new(url.parse()?)).await?;
        let way = Way::new(&store).await?;
        println!("on {}", if url.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" });
        way.latency("a request", 1, TIMES).await?;
        way.latency("an answer of 500 tokens", TOKENS, TIMES / 10).await?;
        way.many().await?;
        store.close().await;
        Ok(())
    })
}

/// A provider, and the way to it: a relay, and a broker behind it.
struct Way {
    fake: FakeModel,
    directly: Uri,
    through: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Way {
    async fn new(store: &Store) -> anyhow::Result<Self> {
        let fake = FakeModel::new(Script::default());
        let provider = fake.listen().await?;
        let usd = |dollars| Usd::from_dollars(dollars).unwrap_or(Usd::MAX);
        let price = Price { input: usd(3.0), cached_input: None, cache_write: None, output: usd(15.0) };
        let of =
            Provider::new("p", Dialect::Anthropic, &format!("http://{provider}"), "key").map_err(anyhow::Error::msg)?;
        let model = Model { alias: "m".into(), provider: Arc::new(of), model: "m".into(), price: Some(price) };
        let catalog = Catalog::new([model]).map_err(anyhow::Error::msg)?;
        let id = Id::derive(Timestamp::now(), "bench");
        let limits = Limits { usd: Some(usd(1e6)), tokens: Some(1 << 50), requests: Some(1 << 40) };
        let scopes = [Scope::Task(id.to_string()), Scope::GrantDay("g".into()), Scope::NamespaceDay("n".into())];
        let caller = Caller {
            attempt: format!("{id}/1"),
            trace_id: "bench".into(),
            aliases: vec!["m".into()],
            budgets: scopes.map(|scope| Budget { scope, limits }).to_vec(),
            when_used_up: WhenUsedUp::End,
            max_in_flight: STREAMS,
            max_request_bytes: 1 << 20,
            max_response_bytes: 64 << 20,
        };
        let ledger = StoreLedger::new(store.clone(), BrokerMetrics::default())?;
        let broker = Broker::new(ledger, One(Arc::new(caller)), tcp(), catalog, Settings::default());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let of_broker = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let broker = broker.clone();
                tokio::spawn(async move { broker.serve(stream).await });
            }
        });
        let limits = relay::Limits { in_flight: STREAMS, connections: STREAMS + 1, ..relay::Limits::default() };
        let relay = Relay::new(format!("http://{of_broker}").parse()?, tcp(), Arc::new(|| Ok("token".into())), limits);
        let through = serve(relay).await?;
        let client = Client::builder(TokioExecutor::new()).build(tcp());
        let at = |address: SocketAddr| format!("http://{address}/v1/messages").parse();
        Ok(Self { fake, directly: at(provider)?, through: at(through)?, client })
    }

    async fn ask(&self, at: &Uri) -> anyhow::Result<usize> {
        let body = json!({"model": "m", "max_tokens": 1000, "stream": true, "system": "x".repeat(50_000),
            "messages": [{"role": "user", "content": "hi"}]});
        let request = Request::post(at.clone()).header("content-type", "application/json");
        let answer = self.client.request(request.body(Full::from(body.to_string()))?).await?;
        anyhow::ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(answer.into_body().collect().await?.to_bytes().len())
    }

    async fn latency(&self, what: &str, words: usize, times: usize) -> anyhow::Result<()> {
        self.fake.script().text = "word ".repeat(words);
        let (mut directly, mut through) = (Vec::new(), Vec::new());
        // Turn by turn, so that whatever else the machine does is done to both.
        for _ in 0..times {
            for (at, took) in [(&self.directly, &mut directly), (&self.through, &mut through)] {
                let began = Instant::now();
                self.ask(at).await?;
                took.push(began.elapsed());
            }
        }
        let (directly, through) = (median(directly), median(through));
        let added = through.saturating_sub(directly);
        println!(
            "{what:<24} {directly:>10.2?} directly, {through:>10.2?} through: {added:.2?} more, {:.2?} a token, {:.1} times as long (median of {times})",
            added / u32::try_from(words)?,
            through.as_secs_f64() / directly.as_secs_f64(),
        );
        Ok(())
    }

    async fn many(&self) -> anyhow::Result<()> {
        self.fake.script().text = "word ".repeat(OF_EACH);
        self.fake.script().pause_ms = APART_MS;
        let before = resident();
        for (what, at) in [("directly", &self.directly), ("through", &self.through)] {
            let began = Instant::now();
            let streams = join_all((0..STREAMS).map(|_| self.ask(at)));
            let watched = async {
                tokio::time::sleep(Duration::from_millis(700)).await;
                resident()
            };
            let (answers, during) = tokio::join!(streams, watched);
            let answers: Vec<usize> = answers.into_iter().collect::<anyhow::Result<_>>()?;
            println!(
                "{STREAMS} streams of {OF_EACH} tokens, {APART_MS} ms apart, {what}: {:.2?}, {} bytes; {} KiB in memory during, {before} before, for all of them in one process",
                began.elapsed(),
                answers.iter().sum::<usize>(),
                during,
            );
        }
        Ok(())
    }
}

/// Serves the relay at TCP, so that the same client asks both: its own connections are pairs of Unix sockets.
async fn serve(relay: Relay<HttpConnector>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let relay = relay.clone();
            tokio::spawn(async move { relay.serve(stream).await });
        }
    });
    Ok(address)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// KiB of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}
