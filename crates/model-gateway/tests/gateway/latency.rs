//! How much relay and broker add. Not a test of every run: `cargo test --release -p jct-model-gateway -- --ignored --nocapture latency`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jct_model_gateway::Dialect;
use jct_model_gateway::budget::Limits;
use jct_model_gateway::connect::tcp;
use serde_json::json;

use crate::support::{Bench, ask, path, request, usd};

const TIMES: usize = 1000;
const WORDS: usize = 500;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn latency_of_relay_and_broker() {
    let bench = Bench::new().await;
    bench.limit(Limits { usd: Some(usd(1e6)), tokens: Some(1 << 50), requests: Some(1 << 40) });
    let fake = bench.fake.listen().await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(tcp());
    let (dialect, system) = (Dialect::Anthropic, "x".repeat(50_000));
    for (what, words, times) in [("a request", 1, TIMES), ("500 tokens", WORDS, TIMES / 10)] {
        bench.fake.script().text = "word ".repeat(words);
        let mut body = request(dialect, true);
        body["system"] = system.clone().into();
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let asked = Request::post(format!("http://{fake}{}", path(dialect, true)));
            let asked = asked.body(Full::from(body.to_string())).unwrap();
            let began = Instant::now();
            client.request(asked).await.unwrap().into_body().collect().await.unwrap();
            direct.push(began.elapsed());
            let asked = ask(dialect, true, json!({"system": system}));
            let began = Instant::now();
            bench.ask(asked).await.into_body().collect().await.unwrap();
            through.push(began.elapsed());
        }
        let (direct, through) = (median(direct), median(through));
        println!("{what}: {direct:?} directly, {through:?} through relay and broker (median of {times})");
    }
    bench.fake.script().text = "word ".repeat(100);
    bench.fake.script().pause_ms = 10;
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned()
    };
    let before = memory();
    let began = Instant::now();
    let streams = join_all((0..200).map(|_| bench.answer(dialect, true)));
    let watched = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        memory()
    };
    let (answers, during) = tokio::join!(streams, watched);
    assert!(answers.iter().all(|(status, _)| status.is_success()));
    println!("200 streams of 100 tokens, 10 ms apart: {:?}; {before} before, {during} during", began.elapsed());
}
