//! The Secret with the signing keys, against a scripted API server.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jct::signing::{KeyError, KeyRing, PublicKey, SecretKeys, SecretSettings, SigningKey, public_keys};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{Answer, Call, call, scripted};

const SECRET: &str = "/api/v1/namespaces/jct-system/secrets/jct-signing";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32]).unwrap()
}

fn ring(byte: u8) -> KeyRing {
    KeyRing::new(key(byte), &[], "2026-03-01T12:00:00Z".parse().unwrap())
}

/// The Secret with this private key and these public ones, and an entry of somebody else.
fn secret(signing: &str, jwks: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "jct-signing", "resourceVersion": "7"}, "type": "Opaque",
        "data": {"signing.key": STANDARD.encode(signing), "jwks.json": STANDARD.encode(jwks), "note": STANDARD.encode("mine")},
    })
}

fn stored(ring: &KeyRing) -> Value {
    secret(ring.signing().pem(), &ring.to_jwks().to_string())
}

fn empty() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "jct-signing", "resourceVersion": "1"}})
}

fn read(found: Value) -> Call {
    call("GET", SECRET, Answer::Object(found))
}

fn written() -> Call {
    call("PUT", SECRET, Answer::Echo)
}

/// What came of it, and the bodies of the calls.
async fn with<T>(
    script: Vec<Call>,
    max_age: Option<Duration>,
    work: impl AsyncFnOnce(SecretKeys) -> T,
) -> (T, Vec<Value>) {
    let (client, server, made) = scripted(script);
    let settings = SecretSettings { namespace: "jct-system".into(), secret: "jct-signing".into(), max_age };
    let done = tokio::time::timeout(Duration::from_secs(30), work(SecretKeys::new(client, settings))).await.unwrap();
    server.abort();
    if let Err(error) = server.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    let bodies = made.lock().unwrap().iter().map(|(_, _, body)| body.clone()).collect();
    (done, bodies)
}

/// Private key and public keys of a Secret that was written.
fn entries(body: &Value) -> (SigningKey, Vec<PublicKey>) {
    let entry = |name: &str| STANDARD.decode(body["data"][name].as_str().unwrap()).unwrap();
    let signing = SigningKey::from_pem(&String::from_utf8(entry("signing.key")).unwrap()).unwrap();
    (signing, public_keys(&entry("jwks.json")).unwrap())
}

#[tokio::test]
async fn a_key_is_made_where_there_is_none_and_the_secret_if_that_is_gone() {
    for missing in [false, true] {
        let mut script = match missing {
            false => vec![read(empty())],
            true => vec![
                call("GET", SECRET, Answer::Failure(404)),
                call("PATCH", format!("{SECRET}?&fieldManager=jct"), Answer::Object(empty())),
            ],
        };
        script.push(written());
        let (ring, bodies) = with(script, None, async |keys| keys.ensure(&[]).await.unwrap()).await;
        if missing {
            assert_eq!((&bodies[1]["metadata"]["name"], &bodies[1]["data"]), (&json!("jct-signing"), &Value::Null));
        }
        let body = bodies.last().unwrap();
        assert_eq!(body["metadata"]["resourceVersion"], "1", "compare-and-set");
        let (signing, public) = entries(body);
        assert_eq!(signing.public().id(), ring.signing().public().id());
        assert_eq!(public, ring.public());
        assert!(public[0].created_at.is_some() && public[0].retired_at.is_none());
    }
}

#[tokio::test]
async fn keys_that_are_there_are_used_and_not_written() {
    let (found, _) =
        with(vec![read(stored(&ring(1)))], Some(DAY * 36_500), async |keys| keys.ensure(&[]).await.unwrap()).await;
    assert_eq!(found.public(), ring(1).public());
}

#[tokio::test]
async fn rotating_keeps_every_public_key_and_what_others_keep_there() {
    let (rotated, bodies) =
        with(vec![read(stored(&ring(1))), written()], None, async |keys| keys.rotate().await.unwrap()).await;
    let (signing, public) = entries(&bodies[1]);
    assert_ne!(signing.public().id(), key(1).public().id());
    assert_eq!(public, rotated.public());
    assert_eq!((public.len(), public[1].id()), (2, key(1).public().id()));
    assert_eq!(public[1].created_at, ring(1).public()[0].created_at);
    assert!(public[1].retired_at.is_some());
    assert_eq!(bodies[1]["data"]["note"], STANDARD.encode("mine"));
    assert_eq!(bodies[1]["metadata"]["resourceVersion"], "7");
}

#[tokio::test]
async fn of_two_replicas_that_make_a_key_one_takes_the_others() {
    let script = vec![read(empty()), call("PUT", SECRET, Answer::Failure(409)), read(stored(&ring(2)))];
    let (found, _) = with(script, None, async |keys| keys.ensure(&[]).await.unwrap()).await;
    assert_eq!(found.signing().public().id(), key(2).public().id());
}

#[tokio::test]
async fn of_two_replicas_that_find_a_key_too_old_one_replaces_it() {
    let fresh = KeyRing::new(key(2), ring(1).public(), jiff::Timestamp::now());
    let script = vec![read(stored(&ring(1))), call("PUT", SECRET, Answer::Failure(409)), read(stored(&fresh))];
    let (found, _) = with(script, Some(DAY), async |keys| keys.ensure(&[]).await.unwrap()).await;
    assert_eq!(found.public(), fresh.public());
}

#[tokio::test]
async fn a_rotation_that_was_overtaken_comes_after_the_other() {
    let other = KeyRing::new(key(2), ring(1).public(), jiff::Timestamp::now());
    let script =
        vec![read(stored(&ring(1))), call("PUT", SECRET, Answer::Failure(409)), read(stored(&other)), written()];
    let (found, _) = with(script, None, async |keys| keys.rotate().await.unwrap()).await;
    let ids: Vec<String> = found.public().iter().skip(1).map(PublicKey::id).collect();
    assert_eq!(ids, [key(2).public().id(), key(1).public().id()]);
}

#[tokio::test]
async fn public_keys_outlive_a_secret_that_was_deleted() {
    let known = KeyRing::new(key(2), ring(1).public(), "2026-03-03T12:00:00Z".parse().unwrap());
    let script =
        vec![call("GET", SECRET, Answer::Failure(404)), call("PATCH", SECRET, Answer::Object(empty())), written()];
    let (found, _) = with(script, None, async |keys| keys.ensure(known.public()).await.unwrap()).await;
    let ids: Vec<String> = found.public().iter().map(PublicKey::id).collect();
    assert_eq!(ids[1..], [key(2).public().id(), key(1).public().id()]);
    assert!(found.public()[1..].iter().all(|key| key.retired_at.is_some()));
}

#[tokio::test]
async fn a_public_key_that_was_taken_out_stays_out() {
    let known = KeyRing::new(key(2), ring(1).public(), "2026-03-03T12:00:00Z".parse().unwrap());
    let script = vec![read(stored(&ring(2)))];
    let (found, _) = with(script, None, async |keys| keys.ensure(known.public()).await.unwrap()).await;
    assert_eq!(found.public(), ring(2).public());
}

#[tokio::test]
async fn a_key_that_somebody_brings_is_taken_into_use() {
    let brought = secret(key(3).pem(), &ring(1).to_jwks().to_string());
    let (found, bodies) =
        with(vec![read(brought), written()], None, async |keys| keys.ensure(&[]).await.unwrap()).await;
    assert_eq!(found.signing().public().id(), key(3).public().id());
    assert_eq!(entries(&bodies[1]).1.len(), 2);
}

#[rstest]
#[case("garbage", "", "entry signing.key")]
#[case("", "garbage", "entry jwks.json")]
#[tokio::test]
async fn an_entry_that_cannot_be_used_is_named_and_left_alone(
    #[case] signing: &str,
    #[case] jwks: &str,
    #[case] named: &str,
) {
    let (result, _) = with(vec![read(secret(signing, jwks))], None, async |keys| keys.ensure(&[]).await).await;
    assert!(result.unwrap_err().to_string().contains(named));
}

#[tokio::test]
async fn showing_writes_nothing() {
    let (result, _) = with(vec![read(empty())], None, async |keys| keys.read().await).await;
    assert!(matches!(result, Err(KeyError::None(_))));
    let (result, _) = with(vec![read(stored(&ring(1)))], None, async |keys| keys.read().await).await;
    assert_eq!(result.unwrap().public(), ring(1).public());
}
