//! What the broker holds by itself, whatever a relay lets through: each test ends soon, also where a limit does not hold.

use std::time::Duration;

use http_body_util::BodyExt as _;
use jct_fake_model::Fault;
use jct_model_gateway::Dialect;
use serde_json::json;

use crate::support::{Bench, KEY, ask, shown};

#[tokio::test]
async fn no_credential_of_a_program_comes_to_a_provider_even_past_the_relay() {
    let bench = Bench::new().await;
    for dialect in Dialect::ALL {
        let mut asked = ask(dialect, false, json!({}));
        asked.headers_mut().insert("authorization", "Bearer token-of-the-pod".parse().unwrap());
        assert_eq!(bench.broker.handle(asked).await.status(), 200);
        let sent = shown(&bench.fake.requests().last().unwrap().headers);
        let credentials = ["authorization", "x-api-key", "x-goog-api-key", "cookie"];
        let count = credentials.iter().filter(|name| sent.contains(&format!("{name}: "))).count();
        assert_eq!((count, sent.matches(KEY).count()), (1, 1), "{}: {sent}", dialect.as_str());
        assert!(!sent.contains("dummy") && !sent.contains("token-of-the-pod"), "{sent}");
    }
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_may_be() {
    let most = 64 << 10;
    for streams in [true, false] {
        let bench = Bench::new().await;
        bench.caller(|caller| caller.max_response_bytes = most);
        // An end there is, so that without the limit all of it comes.
        bench.faults([Fault::Endless(16 << 20)]);
        let got = bench.ask(ask(Dialect::Anthropic, streams, json!({}))).await.into_body().collect().await;
        assert_eq!(got.is_ok(), streams, "what is no stream breaks off");
        if let Ok(got) = got {
            assert!(got.to_bytes().len() as u64 <= most + 1000);
        }
        bench.settled().await;
        assert_eq!(bench.exchanges().await[0].refused.as_deref(), Some("RESPONSE_TOO_LARGE"));
    }
}

#[tokio::test]
async fn no_more_exchanges_are_open_than_may_be_however_many_are_asked_for() {
    let bench = Bench::new().await;
    bench.caller(|caller| caller.max_in_flight = 2);
    bench.faults(vec![Fault::Mute; 6]);
    let asking = (0..6).map(|_| bench.ask(ask(Dialect::OpenaiChat, true, json!({}))));
    // None of them is ever answered.
    let all = tokio::time::timeout(Duration::from_millis(500), futures::future::join_all(asking)).await;
    assert!(all.is_err());
    assert_eq!(bench.fake.requests().len(), 2);
}
