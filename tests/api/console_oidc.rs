//! Signing in to the console at an issuer: by whom it is believed, and what it takes of what comes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jct::console::{Oidc, OidcSettings};
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::console_browser::{Browser, ORIGIN, Page};
use crate::world::{ADA, World};

type Fields = BTreeMap<String, String>;

/// An issuer that signs everybody in whose code is `good`.
#[derive(Clone)]
struct Issuer {
    url: String,
    /// The claims of the token that it gives next.
    claims: Arc<Mutex<Value>>,
    /// What it was asked for tokens, and by whom.
    asked: Arc<Mutex<Vec<(Fields, String)>>>,
    /// What it says of itself, changed.
    metadata: Arc<Mutex<Value>>,
    /// Answers a code so instead.
    answer: Arc<Mutex<Option<(u16, &'static str)>>>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize?tenant=a"), "token_endpoint": format!("{url}/token"),
        });
        let issuer = Self {
            url,
            claims: Arc::default(),
            asked: Arc::default(),
            metadata: Arc::new(Mutex::new(metadata)),
            answer: Arc::default(),
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(Self::metadata))
            .route("/token", post(Self::token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    async fn metadata(State(issuer): State<Self>) -> Json<Value> {
        Json(issuer.metadata.lock().unwrap().clone())
    }

    async fn token(State(issuer): State<Self>, headers: HeaderMap, Form(fields): Form<Fields>) -> Response {
        let known = headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
        issuer.asked.lock().unwrap().push((fields.clone(), known));
        match *issuer.answer.lock().unwrap() {
            Some((302, to)) => return Redirect::to(to).into_response(),
            Some((status, body)) => return (StatusCode::from_u16(status).unwrap(), body).into_response(),
            None => {}
        }
        if fields["code"] != "good" {
            return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
        }
        Json(json!({"id_token": issuer.id_token(), "token_type": "Bearer"})).into_response()
    }

    fn id_token(&self) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.signature", part(&json!({"alg": "none"})), part(&self.claims.lock().unwrap()))
    }

    fn settings(&self, client_secret: Option<&str>) -> OidcSettings {
        OidcSettings {
            issuer: self.url.clone(),
            client_id: "jct".into(),
            client_secret: client_secret.map(str::to_owned),
            scopes: vec!["groups".into()],
            ca: None,
        }
    }
}

/// A world whose API server gives Ada's Session to whoever has a token of the issuer's; and which tokens it was shown, in which
/// namespaces.
async fn world(issuer: &Issuer, client_secret: Option<&str>) -> (World, Arc<Mutex<Vec<(String, String)>>>) {
    let shown: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let mut world = World::new().await;
    let session = {
        let shown = shown.clone();
        Arc::new(move |token: String, namespace: String| {
            shown.lock().unwrap().push((token, namespace.clone()));
            let answer = if namespace == "team" { Ok(ADA.to_owned()) } else { Err("sessions is forbidden".to_owned()) };
            Box::pin(async move { answer }) as futures::future::BoxFuture<'static, _>
        })
    };
    let oidc = Oidc::new(issuer.settings(client_secret), "team".into(), session).unwrap();
    world.restart_with(Some(oidc));
    (world, shown)
}

/// Where a page sends the browser, and the parameters.
fn sent_to(page: &Page) -> (String, Fields) {
    assert_eq!(page.status, 200, "{}", page.text);
    let url = page.header("refresh").strip_prefix("0; url=").expect("the page leads on").to_owned();
    let Query(fields) = Query::try_from_uri(&url.parse().unwrap()).unwrap();
    (url.split_once('?').unwrap().0.to_owned(), fields)
}

/// Goes to the issuer, which will give a token for this browser.
async fn go(browser: &Browser<'_>, issuer: &Issuer, path: &str) -> Fields {
    let (_, fields) = sent_to(&browser.get(path).await);
    *issuer.claims.lock().unwrap() = json!({
        "iss": issuer.url, "aud": "jct", "sub": "ada", "nonce": fields["nonce"], "exp": Timestamp::now().as_second() + 300,
    });
    fields
}

#[rstest]
#[case::with_a_secret(Some("s:cret/ä"), "Basic amN0OnMlM0FjcmV0JTJGJUMzJUE0")]
#[case::without(None, "")]
#[tokio::test]
async fn one_signs_in_at_the_issuer_and_comes_back(#[case] secret: Option<&str>, #[case] authorization: &str) {
    let issuer = Issuer::start().await;
    let (world, shown) = world(&issuer, secret).await;
    let browser = Browser::new(&world);
    let page = browser.get("/console/sign-in").await;
    assert!(page.text.contains("action=\"/console/sign-in/oidc\"") && page.text.contains("Sign in at 127.0.0.1"));

    let path = "/console/sign-in/oidc?then=%2Fconsole%2Ftasks%3Fnamespace%3Dteam&namespace=";
    let (place, _) = sent_to(&browser.get(path).await);
    let fields = go(&browser, &issuer, path).await;
    assert_eq!(place, format!("{}/authorize", issuer.url));
    let of = |name: &str| fields[name].as_str();
    assert_eq!(
        [of("tenant"), of("response_type"), of("client_id"), of("scope"), of("code_challenge_method")],
        ["a", "code", "jct", "openid groups", "S256"]
    );
    assert_eq!(of("redirect_uri"), format!("{ORIGIN}/console/sign-in/oidc/callback"));
    let pending = browser.cookie.lock().unwrap().clone();
    assert!(pending.starts_with("__Host-jct-sign-in=") && !pending.contains(of("state")), "{pending}");

    let page = browser.get(&format!("/console/sign-in/oidc/callback?code=good&state={}", of("state"))).await;
    assert_eq!((page.status, page.header("location")), (303, "/console/tasks?namespace=team"), "{}", page.text);
    let set: Vec<_> = page.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(set.iter().any(|one| one.starts_with("__Host-jct-sign-in=; ") && one.ends_with("Max-Age=0")), "{set:?}");
    assert_eq!(*shown.lock().unwrap(), [(issuer.id_token(), "team".to_owned())], "the API server is shown the token");
    let (asked, known) = issuer.asked.lock().unwrap().pop().unwrap();
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&asked["code_verifier"])), of("code_challenge"));
    assert_eq!((asked["grant_type"].as_str(), &asked["redirect_uri"]), ("authorization_code", &fields["redirect_uri"]));
    assert_eq!((known.as_str(), asked.contains_key("client_id")), (authorization, secret.is_none()));
    assert_eq!(browser.get("/console/tasks?namespace=team").await.status, 200);
}

#[rstest]
#[case::as_it_is("", None, 303)]
#[case::by_another_browser("cookie", None, 403)]
#[case::by_a_cookie_of_its_own_making("forged", None, 403)]
#[case::of_another_sign_in("state", None, 403)]
#[case::the_issuer_says_no("error", None, 403)]
#[case::a_code_it_does_not_know("code", None, 502)]
#[case::a_token_of_another_sign_in("", Some(json!({"nonce": "other"})), 502)]
#[case::a_token_without_a_sign_in("", Some(json!({"nonce": null})), 502)]
#[case::a_token_of_another_issuer("", Some(json!({"iss": "https://other.example"})), 502)]
#[case::a_token_for_another_client("", Some(json!({"aud": ["other"]})), 502)]
#[case::a_token_for_several("", Some(json!({"aud": ["other", "jct"]})), 303)]
#[case::a_token_that_has_ended("", Some(json!({"exp": 1})), 502)]
#[tokio::test]
async fn what_comes_back_is_held_against_what_went(
    #[case] changed: &str,
    #[case] claims: Option<Value>,
    #[case] expected: u16,
) {
    let issuer = Issuer::start().await;
    let (world, shown) = world(&issuer, None).await;
    let browser = Browser::new(&world);
    let other = go(&browser, &issuer, "/console/sign-in/oidc").await;
    let fields = go(&browser, &issuer, "/console/sign-in/oidc").await;
    if let Some(claims) = claims {
        json_patch::merge(&mut issuer.claims.lock().unwrap(), &claims);
    }
    let state = if changed == "state" { &other["state"] } else { &fields["state"] };
    let code = if changed == "code" { "bad" } else { "good" };
    let end = if changed == "error" { "&error=access_denied" } else { "" };
    match changed {
        "cookie" => browser.cookie.lock().unwrap().clear(),
        "forged" => *browser.cookie.lock().unwrap() = format!("__Host-jct-sign-in={}", "A".repeat(80)),
        _ => {}
    }
    let page = browser.get(&format!("/console/sign-in/oidc/callback?code={code}&state={state}{end}")).await;
    assert_eq!(page.status, expected, "{}", page.text);
    let is_in = page.header("set-cookie").starts_with("__Host-jct=");
    assert_eq!((is_in, shown.lock().unwrap().len()), (expected == 303, usize::from(expected == 303)));
    let was_asked = !issuer.asked.lock().unwrap().is_empty();
    assert_eq!(was_asked, expected != 403, "a stranger's callback asks nothing of the issuer");
}

#[rstest]
#[case::html(200, "<html>")]
#[case::a_fault(500, "no")]
#[case::a_redirect(302, "/elsewhere")]
#[case::nothing(204, "")]
#[tokio::test]
async fn an_issuer_that_answers_something_else_signs_nobody_in(#[case] status: u16, #[case] body: &'static str) {
    let issuer = Issuer::start().await;
    let (world, shown) = world(&issuer, None).await;
    let browser = Browser::new(&world);
    let fields = go(&browser, &issuer, "/console/sign-in/oidc").await;
    *issuer.answer.lock().unwrap() = Some((status, body));
    let page = browser.get(&format!("/console/sign-in/oidc/callback?code=good&state={}", fields["state"])).await;
    assert_eq!((page.status, shown.lock().unwrap().len()), (502, 0), "{}", page.text);
    assert!(page.text.contains("127.0.0.1"), "it says whose answer it was: {}", page.text);
}

#[rstest]
#[case::of_another_issuer(json!({"issuer": "https://other.example"}))]
#[case::that_leads_to_plaintext(json!({"token_endpoint": "http://other.example/token"}))]
#[case::without_endpoints(json!({"authorization_endpoint": null}))]
#[tokio::test]
async fn an_issuer_that_says_something_else_of_itself_is_told(#[case] change: Value) {
    let issuer = Issuer::start().await;
    let (world, _) = world(&issuer, None).await;
    json_patch::merge(&mut issuer.metadata.lock().unwrap(), &change);
    let page = Browser::new(&world).get("/console/sign-in/oidc").await;
    assert_eq!((page.status, page.header("refresh")), (502, ""), "{}", page.text);
}

#[tokio::test]
async fn who_may_have_no_session_there_is_told_so() {
    let issuer = Issuer::start().await;
    let (world, _) = world(&issuer, None).await;
    let browser = Browser::new(&world);
    assert_eq!(browser.get("/console/sign-in/oidc?namespace=no%2Fname").await.status, 400);
    let fields = go(&browser, &issuer, "/console/sign-in/oidc?namespace=other").await;
    let page = browser.get(&format!("/console/sign-in/oidc/callback?code=good&state={}", fields["state"])).await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("sessions is forbidden"), "{}", page.text);
    // The control: nothing of it is there without an issuer.
    let plain = World::new().await;
    let browser = Browser::new(&plain);
    assert_eq!(browser.get("/console/sign-in/oidc").await.status, 404);
    assert!(!browser.get("/console/sign-in").await.text.contains("oidc"));
}
