//! What providers, programs, the broker and the ledger do when they should not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use jct_fake_model::Fault;
use jct_model_gateway::record::UsageSource;
use jct_model_gateway::{Dialect, Usd};
use rstest::rstest;
use serde_json::json;

use crate::support::{Bench, ask, impatient, price, read};

#[rstest]
#[tokio::test]
async fn errors_of_providers_pass_on_and_cost_nothing(#[values(401, 429, 500, 529)] status: u16) {
    let bench = Bench::new().await;
    for dialect in Dialect::ALL {
        bench.faults([Fault::Status(status)]);
        let response = bench.ask(ask(dialect, true, json!({}))).await;
        assert_eq!(response.status().as_u16(), status);
        let retry = response.headers().get("retry-after").is_some();
        assert_eq!((retry, response.headers().get("set-cookie")), (matches!(status, 429 | 529), None));
        assert!(read(response).await.1.contains("as the script says"));
    }
    let exchanges = bench.exchanges().await;
    assert_eq!(exchanges.len(), 4);
    let free = |exchange: &jct_model_gateway::record::Exchange| {
        (exchange.status, exchange.usage, exchange.usd, exchange.refused.clone())
    };
    assert!(exchanges.iter().all(|exchange| free(exchange) == (status, UsageSource::None, Usd::ZERO, None)));
    assert_eq!(bench.account().reserved.usd, Usd::ZERO);
}

#[rstest]
#[tokio::test]
async fn a_stream_that_breaks_off_breaks_off(
    #[values(Dialect::Anthropic, Dialect::OpenaiResponses, Dialect::OpenaiChat, Dialect::Gemini)] dialect: Dialect,
    #[values(true, false)] streams: bool,
) {
    let bench = Bench::new().await;
    bench.fake.script().text = "some words to be cut".into();
    bench.faults([Fault::Cut]);
    let response = bench.ask(ask(dialect, streams, json!({}))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err(), "the program sees that it was cut");
    bench.settled().await;
    let exchange = bench.exchanges().await.remove(0);
    assert_eq!((exchange.usage, exchange.refused.as_deref()), (UsageSource::Estimated, Some("BAD_UPSTREAM")));
    assert!(exchange.input_tokens > 0 && exchange.usd > Usd::ZERO);
}

#[tokio::test]
async fn a_silent_provider_is_pinged_over_and_then_left() {
    for dialect in Dialect::ALL {
        let bench = Bench::with(impatient(), Some(price())).await;
        bench.faults([Fault::Silence]);
        let (status, said) = bench.answer(dialect, true).await;
        assert_eq!(status, StatusCode::OK);
        let pings = said.matches(": ping\n\n").count();
        assert!((2..=4).contains(&pings), "{pings} pings: {said}");
        let last = said.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.contains("silent for") && last.contains("data: {"), "{last}");
        bench.settled().await;
        assert_eq!(bench.exchanges().await[0].refused.as_deref(), Some("UPSTREAM_SILENT"));
    }
    // A plain answer can't be told anything: it breaks off.
    let bench = Bench::with(impatient(), Some(price())).await;
    bench.faults([Fault::Silence]);
    assert!(bench.ask(ask(Dialect::Anthropic, false, json!({}))).await.into_body().collect().await.is_err());
    // Nor can one that has not begun: it is an error then.
    bench.faults([Fault::Mute]);
    let (status, said) = bench.answer(Dialect::Anthropic, true).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(said.contains("has not answered"), "{said}");
}

/// Otherwise another broker would take this one for gone, and charge what it has reserved.
#[tokio::test]
async fn a_long_stream_says_that_it_goes_on() {
    let bench = Bench::with(impatient(), Some(price())).await;
    bench.answer(Dialect::Anthropic, true).await;
    assert_eq!(bench.ledger.kept_alive.load(Ordering::SeqCst), 0, "a short one has nothing to say");
    bench.fake.script().text = "word ".repeat(40);
    bench.fake.script().pause_ms = 20;
    bench.answer(Dialect::Anthropic, true).await;
    let written = bench.ledger.kept_alive.load(Ordering::SeqCst);
    assert!(written >= 3, "{written} times in 800 ms or more, every 150 ms");
}

#[tokio::test]
async fn a_slow_provider_is_waited_for() {
    let bench = Bench::with(impatient(), Some(price())).await;
    bench.fake.script().pause_ms = 150;
    let (status, said) = bench.answer(Dialect::Anthropic, true).await;
    assert!(status == StatusCode::OK && said.contains(": ping\n\n") && said.contains("message_stop"), "{said}");
    let bench = Bench::with(impatient(), Some(price())).await;
    bench.faults([Fault::Slow(1)]);
    let (_, said) = bench.answer(Dialect::Gemini, true).await;
    assert!(said.contains("Done."));
    assert_eq!(bench.exchanges().await[0].output_tokens, 9);
}

#[rstest]
#[tokio::test]
async fn garbage_is_passed_on_and_estimated(#[values(true, false)] streams: bool) {
    let bench = Bench::new().await;
    for dialect in Dialect::ALL {
        bench.faults([Fault::Garbage]);
        let bytes = bench.ask(ask(dialect, streams, json!({}))).await.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), 100_000);
    }
    let exchanges = bench.exchanges().await;
    assert!(exchanges.iter().all(|exchange| exchange.usage == UsageSource::Estimated && exchange.input_tokens > 0));
}

#[rstest]
#[tokio::test]
async fn an_answer_without_end_is_cut(#[values(true, false)] streams: bool) {
    let most = 4 << 20;
    for dialect in Dialect::ALL {
        let bench = Bench::new().await;
        bench.faults([Fault::Endless(10_000_000_000)]);
        let got = bench.ask(ask(dialect, streams, json!({}))).await.into_body().collect().await;
        match got {
            Ok(got) => {
                assert!(streams);
                let said = got.to_bytes();
                assert!(said.len() as u64 <= most + 1000);
                let end = String::from_utf8_lossy(&said[said.len() - 500..]).into_owned();
                assert!(end.contains("the answer has more than"), "{end}");
            }
            Err(_) => assert!(!streams),
        }
        bench.settled().await;
        assert_eq!(bench.exchanges().await[0].refused.as_deref(), Some("RESPONSE_TOO_LARGE"));
        // Of what was sent, some is in the kernel's buffers: nobody has read it.
        let sent = bench.fake.sent();
        assert!(sent > most && sent <= most + (4 << 20), "{sent} bytes were sent");
    }
}

#[tokio::test]
async fn nothing_is_followed_or_decoded() {
    let bench = Bench::new().await;
    for fault in [Fault::Redirect, Fault::Encoded] {
        bench.faults([fault]);
        let response = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
        assert_eq!((response.status(), response.headers().get("location")), (StatusCode::BAD_GATEWAY, None));
    }
    assert_eq!(bench.fake.requests().len(), 2);
    assert_eq!(bench.exchanges().await[0].refused.as_deref(), Some("BAD_UPSTREAM"));
}

#[tokio::test]
async fn a_program_that_goes_away_is_charged_and_its_reservation_ends() {
    let bench = Bench::new().await;
    bench.fake.script().pause_ms = 50;
    let mut response = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    bench.settled().await;
    let exchange = bench.exchanges().await.remove(0);
    assert_eq!((exchange.usage, exchange.input_tokens), (UsageSource::Estimated, 150));

    // Before the answer has begun.
    bench.faults([Fault::Mute]);
    let asked = bench.ask(ask(Dialect::Anthropic, true, json!({})));
    assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err());
    for _ in 0..500 {
        if bench.exchanges().await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let exchange = bench.exchanges().await.remove(1);
    assert_eq!((exchange.status, exchange.usage), (499, UsageSource::Estimated));
    bench.settled().await;
}

#[tokio::test]
async fn a_broker_that_is_killed_loses_nothing_settled_and_is_waited_for() {
    let bench = Bench::new().await;
    bench.answer(Dialect::OpenaiResponses, true).await;
    bench.fake.script().pause_ms = 100;
    let mut open = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
    open.body_mut().frame().await.unwrap().unwrap();
    bench.kill().await;
    assert!(open.into_body().collect().await.is_err(), "the program sees it, and tries again");
    bench.fake.script().pause_ms = 0;
    let held = bench.ask(ask(Dialect::Anthropic, true, json!({})));
    tokio::pin!(held);
    assert!(tokio::time::timeout(Duration::from_millis(700), &mut held).await.is_err(), "it is held");
    bench.restart().await;
    assert_eq!(read(held.await).await.0, StatusCode::OK);
    let exchanges = bench.exchanges().await;
    assert_eq!(exchanges[0].dialect, Dialect::OpenaiResponses);
    assert_eq!(exchanges.last().unwrap().usage, UsageSource::Reported);
}

#[tokio::test]
async fn without_a_ledger_nothing_is_asked_and_what_was_answered_is_kept() {
    let bench = Bench::new().await;
    bench.ledger.failures.store(1, Ordering::SeqCst);
    let (status, said) = bench.answer(Dialect::Anthropic, true).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!said.contains("as the test says"), "{said}");
    assert!(bench.fake.requests().is_empty());
    // It is there to reserve, and not for a while afterwards.
    let response = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
    bench.ledger.failures.store(0, Ordering::SeqCst);
    assert_eq!(read(response).await.0, StatusCode::OK);
    bench.fake.script().pause_ms = 20;
    let response = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
    bench.ledger.failures.store(3, Ordering::SeqCst);
    assert_eq!(read(response).await.0, StatusCode::OK);
    let answered: Vec<_> = bench.exchanges().await.into_iter().filter(|exchange| exchange.status == 200).collect();
    assert_eq!(answered.len(), 2);
    assert_eq!(bench.account().reserved.usd, Usd::ZERO);
}

#[tokio::test]
async fn a_broker_that_ends_waits_for_what_is_open() {
    let bench = Bench::new().await;
    bench.fake.script().pause_ms = 30;
    let response = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
    let reading = tokio::spawn(read(response));
    bench.broker.drained().await;
    assert_eq!(bench.exchanges().await[0].usage, UsageSource::Reported);
    assert_eq!(reading.await.unwrap().0, StatusCode::OK);
}
