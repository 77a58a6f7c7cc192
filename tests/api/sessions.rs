//! Sessions, from the object to what its token is good for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use jct::crd::stamps::{Issuer, Seal, Sealed, Stamps};
use jct::domain::{Principal, submitted_digest};
use jct::runtime::{Clock, Metrics};
use jct::sessions::Sessions;
use jct_session::KeyPair;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{ADA, Answer, World, request, trust};

fn ada() -> Principal {
    let groups = ["makers".to_owned(), "system:authenticated".to_owned()];
    let extra = BTreeMap::from([("scopes.example.org".to_owned(), vec!["tasks".to_owned()])]);
    Principal::new("ada", Some("uid-of-ada".into()), &groups, &extra)
}

/// A Session as it is once it came past the webhook.
fn sealed(name: &str, public_key: &str, owner: &Principal) -> Value {
    let spec = json!({"publicKey": public_key});
    let stamps = Stamps { submitter: owner.clone(), trace_id: "a-trace-id".parse().unwrap(), run: None };
    let object = Sealed { kind: "Session", namespace: "team", name, generate_name: "" };
    let seal = Seal { issuer: Issuer::ApiServer, at: Timestamp::now() };
    json!({
        "apiVersion": "jct.dev/v1", "kind": "Session",
        "metadata": {
            "name": name, "namespace": "team", "uid": format!("uid-of-{name}"), "resourceVersion": "1",
            "creationTimestamp": Timestamp::now().round(jiff::Unit::Second).unwrap().to_string(),
            "annotations": stamps.annotations(&object, &submitted_digest("Session", &spec), &seal, &trust().keys),
        },
        "spec": spec,
    })
}

impl World {
    fn put(&self, session: Value) {
        let text = |field: &str| session["metadata"][field].as_str().unwrap().to_owned();
        self.cluster.sessions.lock().unwrap().insert((text("namespace"), text("name")), session);
    }

    fn session(&self, name: &str) -> Option<Value> {
        self.cluster.sessions.lock().unwrap().get(&("team".to_owned(), name.to_owned())).cloned()
    }

    /// A replica that answers Sessions until what is returned is dropped.
    fn answering(&self, life: Duration) -> DropGuard {
        let stop = CancellationToken::new();
        let trust = tokio::sync::watch::Sender::new(Arc::new(trust())).subscribe();
        let (client, clock, metrics) = (self.cluster.client(), Clock::default(), Metrics::default());
        tokio::spawn(Sessions { client, trust, clock, metrics, life }.run(stop.clone()));
        stop.drop_guard()
    }

    /// The status of a Session, once it has one.
    async fn status(&self, name: &str) -> Value {
        for _ in 0..500 {
            match self.session(name) {
                Some(session) if !session["status"].is_null() => return session["status"].clone(),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("no answer: {:?}", self.cluster.calls.lock().unwrap())
    }

    /// The token of a new Session of this user.
    async fn token_of(&self, name: &str, owner: &Principal) -> String {
        let keys = KeyPair::generate().unwrap();
        self.put(sealed(name, &keys.public().to_string(), owner));
        let _answering = self.answering(HOUR);
        let status = self.status(name).await;
        let encrypted = status["encryptedToken"].as_str().unwrap_or_else(|| panic!("{status}"));
        keys.decrypt(encrypted, &format!("uid-of-{name}")).unwrap()
    }

    async fn with_header(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let asked = headers.iter().fold(request(method, "", path), |asked, (name, value)| asked.header(*name, *value));
        self.send(asked.body(Body::empty()).unwrap()).await
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const LIST: &str = "/tasks?namespace=team";

#[tokio::test]
async fn who_makes_a_session_is_who_they_are_with_all_that_decides_on_rights() {
    let world = World::new().await;
    let token = world.token_of("s", &ada()).await;
    let status = world.session("s").unwrap()["status"].clone();
    assert_eq!((&status["user"], &status["conditions"][0]["reason"]), (&json!("ada"), &json!("Issued")));
    let ends: Timestamp = status["expiresAt"].as_str().unwrap().parse().unwrap();
    let left = ends.duration_since(Timestamp::now()).as_secs();
    assert!((3_590..=3_600).contains(&left), "{left}");
    assert!(!status.to_string().contains(&token), "the object tells no token");
    assert_eq!(world.get(&token, LIST).await.status, 200);
    let asked = world.cluster.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!((&asked["user"], &asked["uid"]), (&json!("ada"), &json!("uid-of-ada")));
    assert_eq!(asked["groups"], json!(["makers", "system:authenticated"]));
    assert_eq!(asked["extra"], json!({"scopes.example.org": ["tasks"]}));
    let made = world.post(&token, "/tasks/enqueue", &crate::world::task(json!({}))).await;
    assert_eq!((made.status, &made.body["task"]["submitted_by"]), (201, &json!("ada")));
    assert_eq!(world.get(&token, "/audit").await.status, 403, "and may do what they may do");
    assert_eq!(world.cluster.called("tokenreviews"), 0, "it is nobody else's to know");
}

#[tokio::test]
async fn a_token_comes_in_either_header() {
    let world = World::new().await;
    let token = world.token_of("s", &ada()).await;
    assert_eq!(world.with_header("GET", LIST, &[("x-jct-token", &token)]).await.status, 200);
    let with_proxy = [("x-jct-token", token.as_str()), ("authorization", "Basic cHJveHk6eA==")];
    assert_eq!(world.with_header("GET", LIST, &with_proxy).await.status, 200);
    assert_eq!(world.with_header("GET", LIST, &[("x-jct-token", ADA)]).await.status, 200, "of a service account too");
    let other = [("x-jct-token", "made-up"), ("authorization", &format!("Bearer {ADA}"))];
    assert_eq!(world.with_header("GET", LIST, &other).await.status, 401);
}

#[tokio::test]
async fn a_token_ends_with_its_session() {
    let mut world = World::new().await;
    let token = world.token_of("s", &ada()).await;
    assert_eq!(world.get(&token, LIST).await.status, 200);
    world.restart();
    assert_eq!(world.get(&token, LIST).await.status, 200, "whoever restarts, and every replica, knows it");
    // Deleted, and made again by the same name.
    let session = world.session("s").unwrap();
    world.cluster.sessions.lock().unwrap().clear();
    world.restart();
    assert_eq!(world.get(&token, LIST).await.status, 401);
    let mut another = session.clone();
    another["metadata"]["uid"] = json!("uid-of-another");
    world.put(another);
    world.restart();
    assert_eq!(world.get(&token, LIST).await.status, 401);
    let mut going = session.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
    world.put(going);
    world.restart();
    assert_eq!(world.get(&token, LIST).await.status, 401);
    world.put(session);
    world.restart();
    assert_eq!(world.get(&token, LIST).await.status, 200, "the control");
}

#[tokio::test]
async fn whoever_has_a_token_can_end_it() {
    let world = World::new().await;
    let token = world.token_of("s", &ada()).await;
    assert_eq!(world.get(&token, LIST).await.status, 200);
    assert_eq!(world.call("DELETE", ADA, "/session", &Value::Null).await.status, 404, "others end by themselves");
    assert!(world.session("s").is_some());
    assert_eq!(world.call("DELETE", &token, "/session", &Value::Null).await.status, 204);
    assert!(world.session("s").is_none());
    assert_eq!(world.get(&token, LIST).await.status, 401, "at once");
}

/// Somebody who may write objects past the webhook, or change them, is nobody else by that.
#[tokio::test]
async fn a_session_without_its_seal_is_nobody() {
    let mut world = World::new().await;
    let token = world.token_of("s", &ada()).await;
    let session = world.session("s").unwrap();
    let mut forged = Vec::new();
    for (path, value) in [
        ("/metadata/annotations/jct.dev~1submitted-by", json!("root")),
        ("/metadata/annotations/jct.dev~1submitted-by-groups", json!(r#"["system:masters"]"#)),
        ("/metadata/annotations/jct.dev~1stamp", json!("v2.api-server.0.00.00")),
        ("/spec/publicKey", json!("B".repeat(43) + "=")),
    ] {
        let mut changed = session.clone();
        *changed.pointer_mut(path).unwrap() = value;
        forged.push(changed);
    }
    for changed in forged {
        world.put(changed.clone());
        world.restart();
        assert_eq!(world.get(&token, LIST).await.status, 401, "{changed}");
    }
    world.put(session);
    world.restart();
    assert_eq!(world.get(&token, LIST).await.status, 200, "the control");
}

#[rstest]
#[case(None, "A", "InvalidKey")]
#[case(None, &"A".repeat(1 << 20), "InvalidKey")]
// A key of which everybody knows the secret.
#[case(None, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "InvalidKey")]
#[case(Some("team"), "k", "Unsealed")]
#[tokio::test]
async fn a_hostile_session_is_told_why_and_gets_nothing(
    #[case] unsealed: Option<&str>,
    #[case] key: &str,
    #[case] reason: &str,
) {
    let world = World::new().await;
    let mut session = sealed("s", key, &ada());
    if unsealed.is_some() {
        session["metadata"]["annotations"] = json!({"jct.dev/submitted-by": "root"});
    }
    world.put(session);
    let _answering = world.answering(HOUR);
    let status = world.status("s").await;
    assert_eq!(status["encryptedToken"], Value::Null);
    let condition = &status["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!(reason)), "{status}");
    assert!((10..300).contains(&condition["message"].as_str().unwrap().len()), "{status}");
}

#[tokio::test]
async fn one_user_gets_so_many_tokens_and_others_get_theirs() {
    let world = World::new().await;
    let key = KeyPair::generate().unwrap().public().to_string();
    for n in 0..40 {
        world.put(sealed(&format!("a-{n:02}"), &key, &ada()));
    }
    world.put(sealed("z", &key, &Principal::named("eve")));
    let _answering = world.answering(HOUR);
    assert_eq!(world.status("z").await["user"], json!("eve"));
    let reasons: Vec<Value> = world
        .cluster
        .sessions
        .lock()
        .unwrap()
        .values()
        .map(|session| session["status"]["conditions"][0]["reason"].clone())
        .collect();
    let count = |reason: &str| reasons.iter().filter(|found| **found == reason).count();
    assert_eq!((count("Issued"), count("TooManySessions")), (33, 8));
}

#[tokio::test]
async fn what_has_ended_goes() {
    let world = World::new().await;
    let key = KeyPair::generate().unwrap().public().to_string();
    let mut old = sealed("old", &key, &ada());
    old["status"] = json!({
        "user": "ada", "encryptedToken": "x", "expiresAt": "2026-03-01T12:00:00Z",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Issued", "message": "",
            "lastTransitionTime": "2026-03-01T11:00:00Z",
        }],
    });
    world.put(old);
    world.put(sealed("new", &key, &ada()));
    let _answering = world.answering(HOUR);
    world.status("new").await;
    for _ in 0..1000 {
        if world.session("old").is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.session("old").is_none() && world.session("new").is_some());
}

#[tokio::test]
async fn two_replicas_give_one_answer() {
    let world = World::new().await;
    let keys = KeyPair::generate().unwrap();
    for n in 0..10 {
        world.put(sealed(&format!("s-{n}"), &keys.public().to_string(), &ada()));
    }
    let _two = (world.answering(HOUR), world.answering(HOUR));
    for n in 0..10 {
        let status = world.status(&format!("s-{n}")).await;
        let token = keys.decrypt(status["encryptedToken"].as_str().unwrap(), &format!("uid-of-s-{n}")).unwrap();
        assert_eq!(world.get(&token, LIST).await.status, 200);
    }
    let versions: Vec<Value> = world
        .cluster
        .sessions
        .lock()
        .unwrap()
        .values()
        .map(|session| session["metadata"]["resourceVersion"].clone())
        .collect();
    assert_eq!(versions, vec![json!("2"); 10], "each was written once");
}
