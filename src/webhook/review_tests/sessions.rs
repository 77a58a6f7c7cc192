//! Sessions: stamped, and nothing else of what Tasks are.

use super::*;

fn session(change: Value) -> Value {
    let mut session = json!({
        "apiVersion": "jct.dev/v1", "kind": "Session", "metadata": {"name": "t", "namespace": "team", "uid": "uid-of-s", "generation": 1},
        "spec": {"publicKey": "A".repeat(43) + "="},
    });
    json_patch::merge(&mut session, &change);
    session
}

#[test]
fn a_session_is_stamped_with_who_makes_it_and_held_by_nothing() {
    let forged = json!({"metadata": {"annotations": {SUBMITTED_BY: "root", "jct.dev/submitted-by-groups": "[\"system:masters\"]"}}});
    let made = stamped(&session(forged), "ada");
    let owner = believed(&made).submitted.unwrap().submitter;
    assert_eq!((owner.user.as_str(), owner.groups()), ("ada", Some(vec!["makers".to_owned()])));
    assert_eq!(owner.uid.as_deref(), Some("uid-of-ada"));
    assert_eq!(made["metadata"]["finalizers"], Value::Null, "nothing is recorded of it");
    assert!(review(Endpoint::Validate, &request("CREATE", "ada", &made, None)).allowed);
    assert!(!review(Endpoint::Validate, &request("CREATE", "eve", &made, None)).allowed, "the stamps are of another");
    let mut renewed = made.clone();
    renewed["spec"]["publicKey"] = json!("B".repeat(43) + "=");
    assert!(!review(Endpoint::Mutate, &request("UPDATE", "ada", &renewed, Some(&made))).allowed, "it never changes");
    let bad = request("CREATE", "ada", &session(json!({"spec": {"publicKey": "hello"}})), None);
    assert!(!review(Endpoint::Mutate, &bad).allowed);
    let findings = reviewer().review(Endpoint::Mutate, Caller::Authenticated, &bad, [1; 16], now()).findings;
    assert!(!findings.is_empty());
    assert_eq!(reviewer().denial(&bad, findings, Caller::Authenticated, [1; 16], now()), None, "it asks for no work");
}
