//! What a budget does to a program, and many programs to a budget.

use std::sync::atomic::Ordering;

use futures::future::join_all;
use http::StatusCode;
use jct_fake_model::Fault;
use jct_model_gateway::broker::WhenUsedUp;
use jct_model_gateway::budget::Limits;
use jct_model_gateway::ledger::{Budget, Scope};
use jct_model_gateway::{Dialect, Usd};
use rstest::rstest;
use serde_json::json;

use crate::support::{Bench, PATIENCE, ask, impatient, price, read, usd};

fn dollars(limit: f64) -> Limits {
    Limits { usd: Some(usd(limit)), ..Limits::default() }
}

#[rstest]
#[case(Dialect::Anthropic, 429)]
#[case(Dialect::OpenaiResponses, 429)]
#[case(Dialect::OpenaiChat, 403)]
#[case(Dialect::Gemini, 403)]
#[tokio::test]
async fn when_it_is_used_up_the_answer_stops_the_program(#[case] dialect: Dialect, #[case] expected: u16) {
    let bench = Bench::new().await;
    // Enough to begin one, and no more: each takes 432 to 600 of a million dollars.
    bench.limit(dollars(0.004_5));
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let response = bench.ask(ask(dialect, true, json!({}))).await;
        statuses.push(response.status().as_u16());
        let headers = response.headers().clone();
        let (_, said) = read(response).await;
        if statuses.last() == Some(&expected) {
            assert_eq!(headers["x-should-retry"], "false");
            assert!(said.contains("spend limit reached: the budget of this attempt is used up (dollars)"), "{said}");
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&expected), "{statuses:?}");
    assert!(statuses.len() > 1 && statuses.iter().rev().skip(1).all(|status| *status == 200), "{statuses:?}");
    assert!(bench.account().spent.usd <= usd(0.004_5));
    assert_eq!(bench.exchanges().await.last().unwrap().refused.as_deref(), Some("BUDGET_EXCEEDED"));
    assert_eq!(bench.fake.requests().len(), statuses.len() - 1, "nothing is asked that is not paid for");
}

#[rstest]
#[tokio::test]
async fn a_stream_is_cut_where_its_budget_ends(
    #[values(Dialect::Anthropic, Dialect::OpenaiResponses, Dialect::OpenaiChat)] dialect: Dialect,
) {
    let bench = Bench::new().await;
    // 40,000 tokens, of which about 1,300 are paid for.
    bench.fake.script().text = "word ".repeat(32_000);
    bench.limit(dollars(0.02));
    let (status, said) = bench.answer(dialect, true).await;
    assert_eq!(status, StatusCode::OK);
    let last = said.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("spend limit reached") && last.contains("insufficient_quota"), "{last}");
    bench.settled().await;
    let exchange = bench.exchanges().await.remove(0);
    assert_eq!(exchange.refused.as_deref(), Some("BUDGET_EXCEEDED"));
    let spent = bench.account().spent.usd;
    assert!(spent >= usd(0.019) && spent <= usd(0.022), "{spent}");
    let words = said.matches("word ").count();
    assert!((900..1400).contains(&words), "{words}");
    assert_eq!(bench.ask(ask(dialect, true, json!({}))).await.status().as_u16() / 100, 4);
}

#[tokio::test]
async fn a_long_answer_gets_more_while_there_is_some() {
    let bench = Bench::new().await;
    bench.fake.script().text = "word ".repeat(32_000);
    bench.limit(dollars(10.0));
    let (_, said) = bench.answer(Dialect::Anthropic, true).await;
    assert!(said.contains("message_stop"));
    assert_eq!((bench.account().reserved.usd, bench.exchanges().await[0].refused.as_deref()), (Usd::ZERO, None));
}

#[tokio::test]
async fn many_at_once_overspend_nothing() {
    let bench = Bench::new().await;
    bench.fake.script().pause_ms = 2;
    let limit = 0.05;
    bench.caller(|caller| {
        caller.budgets = vec![
            Budget { scope: Scope::Attempt(crate::support::ATTEMPT.into()), limits: Limits::default() },
            Budget { scope: Scope::NamespaceDay("team".into()), limits: dollars(limit) },
            Budget { scope: Scope::GrantDay("all".into()), limits: Limits { requests: Some(60), ..dollars(1.0) } },
        ];
    });
    let asked = (0..100).map(|i| bench.answer(Dialect::ALL[i % 4], true));
    let statuses: Vec<u16> = join_all(asked).await.into_iter().map(|(status, _)| status.as_u16()).collect();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    // One takes at most 0.000645 dollars; those that find the rest reserved wait until others have ended.
    assert_eq!(answered, 60, "{statuses:?}");
    let spent: Usd = bench.exchanges().await.iter().map(|exchange| exchange.usd).sum();
    assert!(spent > Usd::ZERO && spent <= usd(limit), "{spent}");
    assert_eq!(bench.account().spent.usd, spent);
    assert_eq!(bench.account().reserved, Default::default());
    assert_eq!(bench.fake.requests().len(), answered);
}

#[tokio::test]
async fn a_model_without_price_is_refused_where_dollars_are_limited() {
    let bench = Bench::with(jct_model_gateway::broker::Settings::default(), None).await;
    assert_eq!(bench.answer(Dialect::Anthropic, true).await.0, StatusCode::OK);
    bench.limit(Limits { tokens: Some(1_000_000), ..Limits::default() });
    assert_eq!(bench.answer(Dialect::Anthropic, true).await.0, StatusCode::OK);
    bench.limit(dollars(100.0));
    let (status, said) = bench.answer(Dialect::Anthropic, true).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(said.contains("has no price"), "{said}");
    assert_eq!(bench.exchanges().await.last().unwrap().refused.as_deref(), Some("MODEL_WITHOUT_PRICE"));
}

#[tokio::test]
async fn the_relay_learns_that_a_budget_is_used_up_for_good_and_the_program_does_not() {
    let ended = async |bench: &Bench| {
        let used_up = bench.relay.used_up();
        tokio::time::timeout(std::time::Duration::from_millis(100), used_up).await.is_ok()
    };
    for dialect in Dialect::ALL {
        let bench = Bench::new().await;
        bench.answer(dialect, true).await;
        assert!(!ended(&bench).await, "the control");
        bench.limit(dollars(0.0));
        let response = bench.ask(ask(dialect, true, json!({}))).await;
        assert!(!response.headers().keys().any(|name| name.as_str().starts_with("x-jct")), "{:?}", response.headers());
        assert!(ended(&bench).await);
    }
    // Where somebody is asked, what can't wait is refused, and that is not the end.
    let bench = asking(1000).await;
    assert!(bench.answer(Dialect::Anthropic, false).await.0.is_client_error());
    assert!(!ended(&bench).await);
    // It is where they gave no more.
    bench.ledger.holds.store(0, Ordering::SeqCst);
    assert!(bench.answer(Dialect::Anthropic, true).await.0.is_client_error());
    assert!(ended(&bench).await);
}

/// With a budget that is used up, and somebody who is asked so often.
async fn asking(holds: u32) -> Bench {
    let bench = Bench::with(impatient(), Some(price())).await;
    bench.limit(dollars(0.0));
    bench.caller(|caller| caller.when_used_up = WhenUsedUp::Ask(PATIENCE));
    bench.ledger.holds.store(holds, Ordering::SeqCst);
    bench
}

#[tokio::test]
async fn where_somebody_is_asked_streams_wait_and_go_on_when_there_is_more() {
    for dialect in Dialect::ALL {
        let bench = asking(1000).await;
        let response = bench.ask(ask(dialect, true, json!({}))).await;
        assert_eq!(
            (response.status(), response.headers()["content-type"].as_bytes()),
            (StatusCode::OK, &b"text/event-stream"[..])
        );
        let reading = tokio::spawn(read(response));
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(bench.fake.requests().is_empty(), "nothing is asked before it is paid for");
        *bench.ledger.raised.lock().unwrap() = Some(dollars(1.0));
        let (_, said) = reading.await.unwrap();
        let pings = said.matches(": ping\n\n").count();
        assert!((2..=5).contains(&pings) && said.contains("Done."), "{said}");
        assert_eq!(bench.ledger.resumed.load(Ordering::SeqCst), 1, "the ledger knows that it does not wait any more");
        assert_eq!(bench.exchanges().await[0].refused, None);
    }
}

#[tokio::test]
async fn where_nobody_gives_more_the_stream_ends_and_all_else_is_refused_at_once() {
    for dialect in Dialect::ALL {
        let bench = asking(3).await;
        let (status, said) = bench.answer(dialect, true).await;
        assert_eq!(status, StatusCode::OK);
        let last = said.trim_end().rsplit("\n\n").next().unwrap();
        assert!(said.starts_with(": ping\n\n") && last.contains("spend limit reached"), "{said}");
        let exchange = bench.exchanges().await.remove(0);
        assert_eq!(exchange.refused.as_deref(), Some("BUDGET_EXCEEDED"));
        assert!(exchange.response_bytes > 0);
        bench.ledger.holds.store(3, Ordering::SeqCst);
        assert!(bench.answer(dialect, false).await.0.is_client_error());
        assert_eq!(bench.ledger.holds.load(Ordering::SeqCst), 3, "nobody is asked");
    }
    let bench = asking(3).await;
    bench.caller(|caller| caller.when_used_up = WhenUsedUp::End);
    assert!(bench.answer(Dialect::Anthropic, true).await.0.is_client_error());
}

#[tokio::test]
async fn what_goes_wrong_after_waiting_is_told_in_the_stream() {
    for fault in [Fault::Status(429), Fault::Redirect, Fault::Mute] {
        let bench = asking(3).await;
        bench.faults([fault]);
        let response = bench.ask(ask(Dialect::Anthropic, true, json!({}))).await;
        *bench.ledger.raised.lock().unwrap() = Some(dollars(1.0));
        let (status, said) = read(response).await;
        assert_eq!(status, StatusCode::OK);
        assert!(said.contains("event: error\n") && said.contains("the provider"), "{said}");
        assert_eq!(bench.account().reserved.usd, Usd::ZERO);
    }
    // A program that does not wait any longer is forgotten.
    let bench = asking(1000).await;
    drop(bench.ask(ask(Dialect::Anthropic, true, json!({}))).await);
    for _ in 0..200 {
        if bench.exchanges().await.len() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is held for nobody");
}
