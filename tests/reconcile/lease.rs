//! The Lease against a scripted API server. That its writes are compare-and-set is what keeps two replicas apart.

use std::time::{Duration, Instant};

use jct::runtime::lease::{Lease, LeaseSettings};
use serde_json::{Value, json};

use crate::api::{Answer, Call, call, scripted};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/jct-system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/jct-system/leases/jct";

fn lease(holder: &str, version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "jct", "namespace": "jct-system", "resourceVersion": version},
        // A clock that is years ahead: times of others are not believed.
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 1, "leaseTransitions": 4,
            "renewTime": "2066-01-01T00:00:00.000000Z"},
    })
}

/// What is called while `act` has its way with the Lease; all that is expected must be.
async fn calls(script: Vec<Call>, act: impl AsyncFnOnce(&mut Lease)) -> Vec<(String, String, Value)> {
    let (expected, (client, server, made)) = (script.len(), scripted(script));
    let settings = LeaseSettings {
        namespace: "jct-system".into(),
        name: "jct".into(),
        identity: "me".into(),
        duration: Duration::from_millis(1000),
    };
    let mut lease = Lease::new(client, settings);
    tokio::time::timeout(Duration::from_secs(20), act(&mut lease)).await.expect("it never ended");
    drop(lease);
    server.await.unwrap();
    let made = made.lock().unwrap().clone();
    assert_eq!(made.len(), expected);
    made
}

#[tokio::test]
async fn a_lease_that_is_not_there_is_made() {
    let script = vec![call("GET", LEASE, Answer::Failure(404)), call("POST", LEASES, Answer::Echo)];
    let made = calls(script, async |lease| lease.acquire().await).await;
    let spec = &made[1].2["spec"];
    assert_eq!((&spec["holderIdentity"], &spec["leaseDurationSeconds"]), (&json!("me"), &json!(1)));
    assert!(spec["acquireTime"].is_string() && spec["renewTime"].is_string());
}

#[tokio::test]
async fn another_ones_is_taken_when_it_is_not_renewed_for_its_time() {
    let looks = |version| call("GET", LEASE, Answer::Object(lease("other", version)));
    // Renewed once, then silent for a second, at five looks a second.
    let mut script = vec![looks("1")];
    script.extend((0..6).map(|_| looks("2")));
    script.push(call("PUT", LEASE, Answer::Echo));
    let began = Instant::now();
    let made = calls(script, async |lease| lease.acquire().await).await;
    assert!(began.elapsed() >= Duration::from_millis(1200), "{:?}", began.elapsed());
    let taken = &made.last().unwrap().2;
    assert_eq!(taken["metadata"]["resourceVersion"], "2", "compare and set");
    assert_eq!((&taken["spec"]["holderIdentity"], &taken["spec"]["leaseTransitions"]), (&json!("me"), &json!(5)));
}

#[tokio::test]
async fn of_two_who_take_it_one_gets_it() {
    let script = vec![
        call("GET", LEASE, Answer::Object(lease("", "1"))),
        call("PUT", LEASE, Answer::Failure(409)),
        call("GET", LEASE, Answer::Object(lease("other", "2"))),
        call("GET", LEASE, Answer::Object(lease("", "3"))),
        call("PUT", LEASE, Answer::Echo),
    ];
    calls(script, async |lease| lease.acquire().await).await;
}

#[tokio::test]
async fn a_lease_that_is_held_is_renewed_until_another_one_has_it_and_is_then_not_given_back() {
    let script = vec![
        call("GET", LEASE, Answer::Object(lease("", "1"))),
        call("PUT", LEASE, Answer::Echo),
        call("GET", LEASE, Answer::Object(lease("me", "100"))),
        call("PUT", LEASE, Answer::Echo),
        call("GET", LEASE, Answer::Object(lease("other", "101"))),
    ];
    let made = calls(script, async |lease| {
        lease.acquire().await;
        lease.hold().await;
        lease.release().await;
    })
    .await;
    let transitions = |call: usize| &made[call].2["spec"]["leaseTransitions"];
    assert_eq!((transitions(1), transitions(3)), (&json!(5), &json!(5)), "a renewal is no transition");
}

#[tokio::test]
async fn one_that_cannot_be_renewed_is_given_up_before_others_may_take_it() {
    let mut script = vec![call("GET", LEASE, Answer::Failure(404)), call("POST", LEASES, Answer::Echo)];
    script.extend((0..3).map(|_| call("GET", LEASE, Answer::Failure(500))));
    let mut held = Duration::ZERO;
    calls(script, async |lease| {
        lease.acquire().await;
        let since = Instant::now();
        lease.hold().await;
        held = since.elapsed();
    })
    .await;
    assert!((Duration::from_millis(600)..Duration::from_millis(1000)).contains(&held), "{held:?}");
}

#[tokio::test]
async fn a_lease_is_given_back_at_the_end() {
    let script = vec![
        call("GET", LEASE, Answer::Failure(404)),
        call("POST", LEASES, Answer::Echo),
        call("PUT", LEASE, Answer::Echo),
    ];
    let made = calls(script, async |lease| {
        lease.acquire().await;
        lease.release().await;
    })
    .await;
    assert_eq!(made[2].2["spec"].get("holderIdentity"), None);
    assert_eq!(made[2].2["metadata"]["resourceVersion"], "100", "not if it is another one's by now");
}
