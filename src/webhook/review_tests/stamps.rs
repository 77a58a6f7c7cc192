//! Stamps: who gets which, and what one is worth elsewhere.

use super::*;

#[rstest]
#[case(json!({}))]
#[case(json!({"metadata": {"annotations": {"a": "b"}, "finalizers": ["other/one"]}}))]
#[case(json!({"metadata": {"annotations": {
    SUBMITTED_BY: "root", TRACE_ID: "forged-trace", STAMP: "00", CANCELLED_BY: "x", CHANGED_BY: "x", RUN: A_RUN,
}}}))]
fn a_new_task_is_stamped_whatever_it_claims(#[case] change: Value) {
    let given = task(change);
    let object = stamped(&given, "ada@example.org");
    let trace_id = "01010101010101010101010101010101";
    assert_eq!(annotation(&object, SUBMITTED_BY), Some("ada@example.org"));
    assert_eq!(annotation(&object, TRACE_ID), Some(trace_id));
    assert!([CANCELLED_BY, CHANGED_BY, RUN].iter().all(|name| annotation(&object, name).is_none()), "{object}");
    let stamps = believed(&object).submitted.unwrap();
    assert_eq!((stamps.trace_id.as_str(), stamps.run), (trace_id, None));
    let ada = stamps.submitter;
    assert_eq!((ada.user.as_str(), ada.uid.as_deref()), ("ada@example.org", Some("uid-of-ada@example.org")));
    assert_eq!(ada.groups(), Some(vec!["makers".to_owned()]));
    assert!(object["metadata"]["finalizers"].as_array().unwrap().contains(&json!(FINALIZER)));
    assert_eq!(object["spec"], given["spec"], "the spec is never touched");
    assert!(review(Endpoint::Validate, &request("CREATE", "ada@example.org", &object, None)).allowed);
}

#[test]
fn ignored_stamps_are_told() {
    let object = task(json!({"metadata": {"annotations": {SUBMITTED_BY: "root"}}}));
    let response = review(Endpoint::Mutate, &request("CREATE", "ada", &object, None));
    assert!(response.warnings.unwrap()[0].contains(SUBMITTED_BY));
}

#[test]
fn the_operator_may_say_for_whom_it_creates_if_it_has_sealed_that() {
    let object = by_operator(&task(json!({})), "ada", None);
    let response = review(Endpoint::Mutate, &request("CREATE", OPERATOR, &object, None));
    assert_eq!(response.warnings, None);
    let created = patched(&object, &response);
    assert_eq!(created["metadata"]["annotations"], object["metadata"]["annotations"], "nothing is sealed again");
    assert_eq!(submitter(&created).as_deref(), Some("ada"));
    assert!(review(Endpoint::Validate, &request("CREATE", OPERATOR, &created, None)).allowed);
    // Somebody else with the operator's word: it is not theirs to give.
    let stolen = stamped(&object, "eve");
    assert_eq!(submitter(&stolen).as_deref(), Some("eve"));
    assert!(!review(Endpoint::Validate, &request("CREATE", "eve", &object, None)).allowed);
}

#[test]
fn the_operators_name_alone_buys_nobody_a_stamp_of_another_user_trace_or_run() {
    let forged =
        json!({"metadata": {"annotations": {SUBMITTED_BY: "ceo", TRACE_ID: "chosen-trace", RUN: A_RUN, STAMP: "00"}}});
    let created = stamped(&task(forged), OPERATOR);
    let stamps = believed(&created).submitted.unwrap();
    assert_eq!((stamps.submitter.user.as_str(), stamps.run), (OPERATOR, None));
    assert_ne!(stamps.trace_id.as_str(), "chosen-trace");
}

#[test]
fn what_another_webhook_changes_in_between_is_sealed_again() {
    for (user, given) in
        [(OPERATOR, by_operator(&task(json!({})), "ada", Some(A_RUN))), ("ada", stamped(&task(json!({})), "ada"))]
    {
        let mut changed = given.clone();
        changed["spec"]["maxAttempts"] = json!(2);
        assert_eq!(believed(&changed).submitted, None, "that is not what was sealed");
        assert!(!review(Endpoint::Validate, &request("CREATE", user, &changed, None)).allowed);
        let response = review(Endpoint::Mutate, &request("CREATE", user, &changed, None));
        assert_eq!(response.warnings, None, "nobody gave these but JCT");
        let again = patched(&changed, &response);
        let (before, after) = (believed(&given).submitted.unwrap(), believed(&again).submitted.unwrap());
        assert_eq!(after, before);
        assert!(review(Endpoint::Validate, &request("CREATE", user, &again, None)).allowed);
    }
}

#[test]
fn a_seal_had_from_the_port_is_worth_nothing_where_no_webhook_was_called() {
    // Whoever reaches the port can have a seal in any name.
    let bought = stamped(&task(json!({})), "ceo@example.org");
    assert_eq!(
        submitter(&bought).as_deref(),
        Some("ceo@example.org"),
        "the control: under webhooks it is that of a request"
    );
    assert_eq!(believed_in(&bought, "jct-system", &trust()).submitted, None);
    for covered_since in [None, Some(now() + jiff::SignedDuration::from_secs(1))] {
        assert_eq!(believed_in(&bought, "team", &Trust { covered_since, ..trust() }).submitted, None);
    }
    let request = request("CREATE", "ada", &task(json!({})), None);
    let response = reviewer().review(Endpoint::Mutate, Caller::Authenticated, &request, [1; 16], now()).response;
    let genuine = patched(&task(json!({})), &response);
    let gone = Trust { covered_since: None, ..trust() };
    assert!(believed_in(&genuine, "team", &gone).submitted.is_some(), "of an API server that showed its certificate");
    assert_eq!(believed_in(&genuine, "jct-system", &gone).submitted, None, "which never asks about that namespace");
}

#[rstest]
#[case::another_name(json!({"metadata": {"name": "u"}}))]
#[case::another_spec(json!({"spec": {"objective": "Look elsewhere"}}))]
#[case::another_kind(json!({"kind": "Issue"}))]
#[case::other_groups(json!({"metadata": {"annotations": {"jct.dev/submitted-by-groups": "[\"admins\"]"}}}))]
#[case::another_uid(json!({"metadata": {"annotations": {"jct.dev/submitted-by-uid": "x"}}}))]
#[case::another_user(json!({"metadata": {"annotations": {SUBMITTED_BY: "eve"}}}))]
#[case::another_trace(json!({"metadata": {"annotations": {TRACE_ID: "another-trace"}}}))]
#[case::a_run(json!({"metadata": {"annotations": {RUN: A_RUN}}}))]
fn stamps_of_one_object_are_worth_nothing_on_another(#[case] change: Value) {
    let object = stamped(&task(json!({})), "ada");
    assert_eq!(submitter(&object).as_deref(), Some("ada"));
    let mut other = object;
    json_patch::merge(&mut other, &change);
    assert_eq!(believed(&other).submitted, None);
}

#[test]
fn a_seal_can_not_be_kept_for_another_day() {
    let object = stamped(&task(json!({})), "ada");
    let mut metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
    metadata.namespace = Some("team".into());
    let mut made = |seconds| {
        let at = now() + jiff::SignedDuration::from_secs(seconds);
        metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
        trust().read("Task", &metadata, Some(&SpecDigests::of("Task", &object["spec"]))).submitted.is_some()
    };
    assert_eq!([made(1), made(-60), made(301), made(-301)], [true, true, false, false]);
}

#[test]
fn an_object_whose_name_the_api_server_makes_is_sealed_by_how_it_begins() {
    let given = task(json!({"metadata": {"name": null, "generateName": "nightly-"}}));
    let mut object = stamped(&given, "ada");
    object["metadata"]["name"] = json!("nightly-x7k2p");
    assert_eq!(submitter(&object).as_deref(), Some("ada"));
    assert!(review(Endpoint::Validate, &request("CREATE", "ada", &object, None)).allowed);
    object["metadata"]["name"] = json!("daily-x7k2p");
    assert_eq!(submitter(&object), None);
}

#[test]
fn stamps_of_the_version_before_hold_on_objects_from_then_and_on_no_others() {
    let key = StampKey::from_slice(&[7; 32]).unwrap();
    let trace = TraceId::derive("uid");
    let seal = key.seal_v1("team", "ada", &trace, None);
    let old = task(json!({"metadata": {"annotations": {SUBMITTED_BY: "ada", TRACE_ID: trace.as_str(), STAMP: seal}}}));
    let trust_since = |seconds| Trust {
        keys: StampKeys::new(key.clone(), Vec::new(), Some(now() + jiff::SignedDuration::from_secs(seconds))),
        ..trust()
    };
    let before = believed_in(&old, "team", &trust_since(1));
    assert_eq!((before.is_v1, before.submitted.map(|stamps| stamps.submitter.user).as_deref()), (true, Some("ada")));
    assert_eq!(believed_in(&old, "team", &trust_since(-1)).submitted, None, "copied onto a younger object");
    assert_eq!(believed_in(&old, "team", &trust()).submitted, None);
    assert_eq!(believed_in(&old, "jct-system", &trust_since(1)).submitted, None);
}

/// Replicas of both versions answer, one webhook each.
#[rstest]
#[case::in_time("ada", "ada", 1, true)]
#[case::too_late("ada", "ada", -1, false)]
#[case::of_another_user("ada", "eve", 1, false)]
#[case::made_for_somebody("ada", OPERATOR, 1, true)]
#[case::with_the_operators_own_name(OPERATOR, OPERATOR, 1, false)]
fn stamps_of_the_version_before_are_accepted_while_an_update_rolls_out(
    #[case] stamped: &str,
    #[case] user: &str,
    #[case] since: i64,
    #[case] is_accepted: bool,
) {
    let key = StampKey::from_slice(&[7; 32]).unwrap();
    let trace = TraceId::derive("uid");
    let seal = key.seal_v1("team", stamped, &trace, None);
    let annotations = json!({SUBMITTED_BY: stamped, TRACE_ID: trace.as_str(), STAMP: seal});
    let object = task(json!({"metadata": {"annotations": annotations}}));
    let since = Some(now() + jiff::SignedDuration::from_secs(since));
    let trust = Trust { keys: StampKeys::new(key, Vec::new(), since), ..trust() };
    let reviewer = Reviewer {
        trust: tokio::sync::watch::Sender::new(std::sync::Arc::new(trust.clone())).subscribe(),
        ..reviewer()
    };
    let asked = request("CREATE", user, &object, None);
    let answer = reviewer.review(Endpoint::Validate, Caller::Anonymous, &asked, [1; 16], now()).response;
    assert_eq!(answer.allowed, is_accepted, "{}", answer.result.message);
    // Nobody is the operator, whatever an old replica says.
    let believed = believed_in(&object, "team", &trust).submitted;
    assert_eq!(believed.is_some(), stamped == "ada" && since > Some(now()));
}

#[test]
fn the_operator_alone_may_say_for_which_run_a_task_is() {
    let object = by_operator(&task(json!({})), "ada", Some(A_RUN));
    let created = stamped(&object, OPERATOR);
    assert_eq!(annotation(&created, RUN), Some(A_RUN));
    assert!(review(Endpoint::Validate, &request("CREATE", OPERATOR, &created, None)).allowed);
    assert!(!review(Endpoint::Validate, &request("CREATE", "ada", &created, None)).allowed);

    let claimed = review(Endpoint::Mutate, &request("CREATE", "ada", &object, None));
    assert!(claimed.warnings.as_ref().unwrap().iter().any(|warning| warning.contains(RUN)));
    assert_eq!(annotation(&patched(&object, &claimed), RUN), None);
    let mut moved = created.clone();
    moved["metadata"]["annotations"][RUN] = json!("01KJMMA2G027CE4HT1RZKZBW4B");
    let kept = patched(&moved, &review(Endpoint::Mutate, &request("UPDATE", "eve", &moved, Some(&created))));
    assert_eq!(annotation(&kept, RUN), Some(A_RUN));
}

#[rstest]
#[case(RUN, A_RUN)]
#[case(SUBMITTED_BY, "root")]
#[case(TRACE_ID, "another-trace")]
#[case(STAMP, "00")]
fn a_stamp_changed_between_the_webhooks_is_refused(#[case] name: &str, #[case] value: &str) {
    let mut object = stamped(&task(json!({})), "ada");
    object["metadata"]["annotations"][name] = json!(value);
    let response = review(Endpoint::Validate, &request("CREATE", "ada", &object, None));
    assert!(!response.allowed);
    assert!(response.result.message.contains(SUBMITTED_BY), "{}", response.result.message);
}
