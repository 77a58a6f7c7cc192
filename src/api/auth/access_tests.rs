use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

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
        let caller = access.identify(&bearer("good")).await.unwrap();
        assert!(access.require(&caller, &Right::tasks("get", "team")).await.is_ok());
        assert!(access.require(&caller, &Right::tasks("create", "team")).await.is_err());
        assert_eq!(access.identify(&bearer("bad")).await.unwrap_err().status, 401);
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 4);
    let caller = access.identify(&bearer("good")).await.unwrap();
    assert!(access.require(&caller, &Right::tasks("get", "other")).await.is_ok());
    assert_eq!(script.asked.load(Ordering::SeqCst), 5, "another namespace is another decision");
}

#[tokio::test]
async fn an_identity_is_not_kept_beyond_its_token() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    let ended = format!("good.{}.x", BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 1000}"#));
    for _ in 0..3 {
        access.identify(&bearer(&ended)).await.unwrap();
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_no_token_is_not_asked_about() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    let none = access.identify(&HeaderMap::new()).await.unwrap_err();
    assert_eq!((none.status.as_u16(), none.challenge), (401, Some(CHALLENGE)));
    for bad in ["", "a b", "é"] {
        let refused = access.identify(&bearer(bad)).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.challenge), (401, Some(REFUSAL)));
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_authority_that_is_away_lets_nobody_in() {
    let script = Arc::new(Script { away: true, ..Script::default() });
    let problem = access(&script).identify(&bearer("good")).await.unwrap_err();
    assert_eq!((problem.status.as_u16(), problem.retry_after_seconds), (503, Some(5)));
}

#[tokio::test]
async fn a_refusal_names_what_is_missing() {
    let script = Arc::new(Script::default());
    let access = access(&script);
    let caller = access.identify(&bearer("good")).await.unwrap();
    let problem = access.require(&caller, &Right::tasks("create", "team")).await.unwrap_err();
    assert_eq!(
        problem.detail,
        json!({
            "error": "forbidden", "message": "user \"ada\" may not create tasks.jct.dev in namespace \"team\"",
            "verb": "create", "resource": "tasks.jct.dev", "namespace": "team",
        })
    );
    let everywhere = access.require_list(&caller, "tasks", None, "namespace").await.unwrap_err();
    assert!(everywhere.detail["message"].as_str().unwrap().contains("?namespace="));
}
