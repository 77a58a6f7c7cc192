use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use serde_json::json;

use super::*;

/// Knows the tokens that begin with `good`; lets everybody `get`, and counts what it is asked.
#[derive(Default)]
struct Script {
    asked: AtomicU32,
    away: bool,
}

#[async_trait]
impl Authority for Script {
    async fn identify(&self, token: &str) -> Result<Option<Identity>, AuthorityError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away {
            return Err(AuthorityError { action: "review a token", cause: "refused".into() });
        }
        let known = token.starts_with("good");
        Ok(known.then(|| Identity { username: "ada".into(), ..Identity::default() }))
    }

    async fn permit(&self, _: &Identity, right: &Right) -> Result<bool, AuthorityError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(matches!(right, Right::Resource { verb: "get", .. }))
    }
}

fn access(script: &Arc<Script>) -> Access {
    Access::new(script.clone(), Duration::from_secs(3600))
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
}

#[tokio::test]
async fn decisions_are_asked_for_once() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    for _ in 0..3 {
        let caller = access.identify(&bearer("good"), "here").await.unwrap();
        assert!(access.require(&caller, &Right::tasks("get", "team")).await.is_ok());
        assert!(access.require(&caller, &Right::tasks("create", "team")).await.is_err());
        assert_eq!(access.identify(&bearer("bad"), "here").await.unwrap_err().status, 401);
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 4);
    let caller = access.identify(&bearer("good"), "here").await.unwrap();
    assert!(access.require(&caller, &Right::tasks("get", "other")).await.is_ok());
    assert_eq!(script.asked.load(Ordering::SeqCst), 5, "another namespace is another decision");
}

#[tokio::test]
async fn an_identity_is_not_kept_beyond_its_token() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    let ended = format!("good.{}.x", BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 1000}"#));
    for _ in 0..3 {
        access.identify(&bearer(&ended), "here").await.unwrap();
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_no_token_is_not_asked_about() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    let none = access.identify(&HeaderMap::new(), "here").await.unwrap_err();
    assert_eq!((none.status.as_u16(), none.challenge), (401, Some(CHALLENGE)));
    for bad in ["", "a b", "é"] {
        let refused = access.identify(&bearer(bad), "here").await.unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.challenge), (401, Some(REFUSAL)));
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_authority_that_is_away_lets_nobody_in() {
    let script = Arc::new(Script { away: true, ..Script::default() });
    let problem = access(&script).identify(&bearer("good"), "here").await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.retry_after_seconds), (503, Some(5)));
}

#[tokio::test]
async fn a_refusal_names_what_is_missing() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    let caller = access.identify(&bearer("good"), "here").await.unwrap();
    let problem = access.require(&caller, &Right::tasks("create", "team")).await.unwrap_err();
    assert_eq!(
        json!(problem.detail),
        json!({
            "error": "forbidden", "message": "user \"ada\" may not create tasks.jct.dev in namespace \"team\"",
            "verb": "create", "resource": "tasks.jct.dev", "namespace": "team",
        })
    );
    let everywhere = access.require_list(&caller, "tasks", None, "namespace").await.unwrap_err();
    assert!(everywhere.to_string().contains("?namespace="));
}

/// Takes its time.
struct Slow {
    at_once: AtomicU32,
    most: AtomicU32,
}

#[async_trait]
impl Authority for Slow {
    async fn identify(&self, token: &str) -> Result<Option<Identity>, AuthorityError> {
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok((token == "good").then(|| Identity { username: "ada".into(), ..Identity::default() }))
    }

    async fn permit(&self, _: &Identity, _: &Right) -> Result<bool, AuthorityError> {
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_tokens_wear_out_neither_the_authority_nor_those_who_are_known() {
    let slow = Arc::new(Slow { at_once: AtomicU32::new(0), most: AtomicU32::new(0) });
    let access = Access::new(slow.clone(), Duration::from_secs(3600));
    access.identify(&bearer("good"), "ada").await.unwrap();
    let headers: Vec<HeaderMap> = (0..1000).map(|n| bearer(&format!("bad-{n}"))).collect();
    let flood = futures::future::join_all(headers.iter().map(|headers| access.identify(headers, "mallory")));
    let known = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let known = tokio::time::timeout(Duration::from_millis(5), access.identify(&bearer("good"), "ada")).await;
        let new = tokio::time::timeout(Duration::from_secs(1), access.identify(&bearer("new"), "bob")).await;
        (known.unwrap().unwrap(), new.unwrap().unwrap_err().status.as_u16())
    };
    let (flood, (known, new)) = tokio::join!(flood, known);
    assert_eq!((known.username(), new), ("ada", 401), "who is known waits for nobody, and who is not has a turn");
    let rejected = flood.iter().filter(|answer| answer.as_ref().is_err_and(|problem| problem.status == 503)).count();
    assert!(rejected >= 1000 - STRANGERS.1, "{rejected}");
    assert!(slow.most.load(Ordering::SeqCst) <= 8);
}
