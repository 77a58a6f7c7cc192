//! What goes through, and what does not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jct_model_gateway::budget::Limits;
use jct_model_gateway::record::UsageSource;
use jct_model_gateway::{Dialect, Relay, relay};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{ATTEMPT, Bench, KEY, ask, path, read, request, shown, usd};

/// What the fake provider says without anything between.
async fn said_directly(bench: &Bench, dialect: Dialect, streams: bool, model: &str) -> String {
    let fake = bench.fake.listen().await.unwrap();
    let mut body = request(dialect, streams);
    body["model"] = model.into();
    let path = path(dialect, streams).replace("/gemini:", &format!("/{model}:"));
    let asked = Request::post(format!("http://{fake}{path}")).body(Full::<Bytes>::from(body.to_string())).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.request(asked).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[rstest]
#[tokio::test]
async fn answers_pass_unchanged_and_are_counted(
    #[values(Dialect::Anthropic, Dialect::OpenaiResponses, Dialect::OpenaiChat, Dialect::Gemini)] dialect: Dialect,
    #[values(true, false)] streams: bool,
) {
    let bench = Bench::new().await;
    bench.fake.script().text = "Many words, one after the other; and an ü.".into();
    let response = bench.ask(ask(dialect, streams, json!({}))).await;
    let kind = response.headers()["content-type"].clone();
    assert_eq!(kind, if streams { "text/event-stream" } else { "application/json" });
    let (status, got) = read(response).await;
    let model = format!("real-{}", dialect.as_str());
    assert_eq!(
        (status, got.as_str()),
        (StatusCode::OK, said_directly(&bench, dialect, streams, &model).await.as_str())
    );

    let sent = &bench.fake.requests()[0];
    let headers = shown(&sent.headers);
    let credential = match dialect {
        Dialect::Anthropic => format!("x-api-key: {KEY}\n"),
        Dialect::Gemini => format!("x-goog-api-key: {KEY}\n"),
        _ => format!("authorization: Bearer {KEY}\n"),
    };
    assert!(headers.contains(&credential) && headers.contains("accept-encoding: identity\n"), "{headers}");
    assert!(headers.contains("anthropic-version: 2023-06-01\n"), "{headers}");
    for left_behind in ["dummy", "cookie", "token-of-the-pod", "agent-7"] {
        assert!(!headers.contains(left_behind) && !sent.path.contains(left_behind), "{left_behind} in {headers}");
    }
    let mut expected = request(dialect, streams);
    match dialect {
        Dialect::Gemini => assert!(sent.path.contains(&format!("/{model}:")), "{}", sent.path),
        _ => expected["model"] = model.clone().into(),
    }
    assert_eq!(sent.json(), expected);

    let exchanges = bench.exchanges().await;
    let [exchange] = exchanges.as_slice() else { panic!("{exchanges:?}") };
    let line: Value = serde_json::from_str(&exchange.to_line().unwrap()).unwrap();
    let (input, cached, written) = if dialect == Dialect::Anthropic { (150, 30, 20) } else { (100, 30, 0) };
    for (name, value) in [
        ("attempt", json!(ATTEMPT)),
        ("trace_id", json!("trace-1")),
        ("seq", json!(1)),
        ("alias", json!(crate::support::alias(dialect))),
        ("gen_ai.request.model", json!(model)),
        ("gen_ai.usage.input_tokens", json!(input)),
        ("gen_ai.usage.cache_read.input_tokens", json!(cached)),
        ("gen_ai.usage.cache_creation.input_tokens", json!(written)),
        ("gen_ai.usage.output_tokens", json!(9)),
        ("gen_ai.agent.id", json!("agent-7")),
        ("usage", json!("reported")),
        ("http.response.status_code", json!(200)),
        ("response_bytes", json!(got.len())),
        ("error.type", Value::Null),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!(line["gen_ai.response.finish_reasons"].as_array().unwrap().len(), 1);
    assert!(!line.to_string().contains(KEY) && !got.contains(KEY));
    let fresh = f64::from(input - cached - written);
    let cost = (fresh * 3.0 + f64::from(cached) * 0.3 + f64::from(written) * 3.75 + 9.0 * 15.0) / 1e6;
    assert_eq!(exchange.usd, usd(cost));
    assert_eq!((bench.account().spent.usd, bench.account().reserved.usd), (exchange.usd, usd(0.0)));
}

#[tokio::test]
async fn usage_that_was_not_asked_for_is_counted_and_not_told() {
    let bench = Bench::new().await;
    let (_, with) = bench.answer(Dialect::OpenaiChat, true).await;
    let unasked = ask(Dialect::OpenaiChat, true, json!({"stream_options": null}));
    let (_, without) = read(bench.ask(unasked).await).await;
    let usage = with.split_inclusive("\n\n").find(|event| event.contains("\"usage\":{")).unwrap();
    assert_eq!(without, with.replace(usage, ""));
    let exchanges = bench.exchanges().await;
    assert!(exchanges.iter().all(|exchange| exchange.usage == UsageSource::Reported && exchange.output_tokens == 9));
    assert_eq!(exchanges[1].response_bytes, without.len() as u64);
}

#[tokio::test]
async fn the_record_is_a_line_for_each_exchange_also_for_those_that_were_refused() {
    let bench = Bench::new().await;
    bench.answer(Dialect::Anthropic, true).await;
    let search = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]});
    let (status, said) = read(bench.ask(ask(Dialect::Anthropic, true, search)).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(said.contains("tools[0]: not let through"), "{said}");
    let (status, said) = read(bench.ask(ask(Dialect::OpenaiResponses, true, json!({"model": "dear"}))).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(said.contains("model_not_found") && said.contains("claude, gpt"), "{said}");
    let wrong_dialect = ask(Dialect::OpenaiChat, true, json!({"model": "claude"}));
    assert_eq!(bench.ask(wrong_dialect).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(bench.fake.requests().len(), 1, "nothing else came to the provider");

    let record = String::from_utf8(bench.relay.record().await.unwrap().to_vec()).unwrap();
    let lines: Vec<Value> = record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<_> = lines.iter().map(|line| (line["seq"].clone(), line["error.type"].clone())).collect();
    assert_eq!(
        codes,
        [
            (json!(1), Value::Null),
            (json!(2), json!("HOSTED_REFUSED")),
            (json!(3), json!("MODEL_NOT_ALLOWED")),
            (json!(4), json!("MODEL_NOT_ALLOWED"))
        ]
    );
}

#[tokio::test]
async fn what_costs_nothing_is_answered_without_a_budget_of_dollars() {
    let bench = Bench::new().await;
    bench.limit(Limits { usd: Some(usd(0.0)), tokens: Some(0), requests: Some(2) });
    let get = |method: &str, path: &str| Request::builder().method(method).uri(path).body(Full::default()).unwrap();
    assert_eq!(bench.ask(get("HEAD", "/api/hello")).await.status(), StatusCode::OK);
    let (_, models) = read(bench.ask(get("GET", "/v1/models")).await).await;
    let models: Value = serde_json::from_str(&models).unwrap();
    assert_eq!(models["data"][0]["id"], "claude");
    assert!(bench.fake.requests().is_empty());
    for (path, dialect) in
        [("/v1/messages/count_tokens", Dialect::Anthropic), ("/v1beta/models/gemini:countTokens", Dialect::Gemini)]
    {
        let body = Full::from(request(dialect, false).to_string());
        let (status, said) = read(bench.ask(Request::post(path).body(body).unwrap()).await).await;
        assert_eq!(status, StatusCode::OK, "{said}");
    }
    assert_eq!((bench.account().spent.tokens, bench.account().spent.requests), (0, 2));
    assert_eq!(bench.fake.requests()[1].path, "/v1beta/models/real-gemini:countTokens");
}

#[tokio::test]
async fn who_is_not_known_gets_nothing() {
    let bench = Bench::new().await;
    for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic token-of-the-pod"), Some("token-of-the-pod")]
    {
        let mut asked = ask(Dialect::OpenaiChat, false, json!({}));
        asked.headers_mut().remove("authorization");
        if let Some(token) = token {
            asked.headers_mut().insert("authorization", token.parse().unwrap());
        }
        let (status, said) = read(bench.broker.handle(asked).await).await;
        assert_eq!((status, said.contains("authentication_error")), (StatusCode::UNAUTHORIZED, true), "{token:?}");
    }
    assert!(bench.fake.requests().is_empty());
}

#[tokio::test]
async fn requests_are_bounded_in_bytes_and_time() {
    let bench = Bench::new().await;
    let large = |bytes: usize| ask(Dialect::Anthropic, false, json!({"system": "x".repeat(bytes)}));
    assert_eq!(bench.ask(large(1 << 20)).await.status(), StatusCode::PAYLOAD_TOO_LARGE, "for the broker");
    assert_eq!(bench.ask(large(2 << 20)).await.status(), StatusCode::PAYLOAD_TOO_LARGE, "for the relay");
    assert_eq!(bench.ask(large(1 << 19)).await.status(), StatusCode::OK);

    // Programs that send slowly, byte by byte.
    let limits = relay::Limits {
        head: Duration::from_millis(200),
        body: Duration::from_millis(200),
        ..relay::Limits::default()
    };
    let address = "http://127.0.0.1:9".parse().unwrap();
    let connector = hyper_util::client::legacy::connect::HttpConnector::new();
    let relay = Relay::new(address, connector, Arc::new(|| Ok("x".into())), limits);
    for (sent, expected) in [
        ("POST /v1/messages HTTP/1.1\r\nx-a: ", ""),
        ("POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", "HTTP/1.1 408"),
    ] {
        let (mut program, side) = tokio::io::duplex(1024);
        let relay = relay.clone();
        let serving = tokio::spawn(async move { relay.serve(side).await });
        program.write_all(sent.as_bytes()).await.unwrap();
        let mut got = String::new();
        tokio::time::timeout(Duration::from_secs(5), program.read_to_string(&mut got)).await.unwrap().unwrap();
        assert!(got.starts_with(expected) && got.is_empty() == expected.is_empty(), "{got}");
        drop(program);
        let _ = serving.await.unwrap();
    }
}

#[tokio::test]
async fn no_more_are_open_than_may_be_and_the_rest_waits() {
    let bench = Bench::new().await;
    bench.caller(|caller| caller.max_in_flight = 1);
    bench.fake.script().pause_ms = 20;
    let first = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
    let second = bench.ask(ask(Dialect::Anthropic, true, json!({})));
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(60), &mut second).await;
    assert!(early.is_err() && bench.fake.requests().len() == 1, "the second waits");
    read(first).await;
    assert_eq!(read(second.await).await.0, StatusCode::OK);
    assert_eq!(bench.fake.requests().len(), 2);
}

#[tokio::test]
async fn models_can_be_replaced_while_it_runs() {
    let bench = Bench::new().await;
    bench.broker.replace_catalog(jct_model_gateway::catalog::Catalog::default());
    assert_eq!(bench.answer(Dialect::Anthropic, false).await.0, StatusCode::NOT_FOUND);
}
