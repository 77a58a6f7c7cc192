//! Reviews by REST: who decides, about what.

use jct::domain::cwom::{Actor as Who, Kind};
use jct::domain::evidence::{EvidencePack, Subject, Verdict};
use jct::domain::review::Required;
use jct::domain::{ActorKind, Id};
use jct::store::{AttemptEnd, Next, StartAttempt};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::world::{ADA, CI, EVE, NOBODY, ROOT, World, task};

fn pack(task: &Value, review: Option<Required>) -> EvidencePack {
    let (id, at): (Id, Timestamp) = (task["id"].as_str().unwrap().parse().unwrap(), Timestamp::now());
    let subject = Subject {
        attempt: 1,
        manifest_sha256: "ab".repeat(32),
        commit: Some("c".repeat(40)),
        tree: None,
        base_commit: None,
        branch: None,
        repo: "octo/hello".into(),
    };
    EvidencePack {
        id: EvidencePack::id_of(id, at, 1),
        trace_id: task["trace_id"].as_str().unwrap().parse().unwrap(),
        namespace: "team".into(),
        task_id: id,
        for_run: None,
        for_issue: None,
        subject_sha256: subject.sha256(id),
        subject,
        verdict: Verdict::Pass,
        verdict_reason: "3 checks passed".into(),
        evaluated_at: at,
        evaluated_by: Who { actor_kind: ActorKind::System, actor_id: "jct-controller".into(), display: None },
        criteria_results: Vec::new(),
        evidence_collected: Vec::new(),
        evidence_missing: Vec::new(),
        checks_passed: vec!["manifest_verified".into()],
        checks_failed: Vec::new(),
        checks_skipped: Vec::new(),
        evidence_uri: None,
        review_required: review,
    }
}

/// A Task of Ada's that has succeeded, and waits for a review.
async fn under_review(world: &World, required: Option<Required>) -> (Value, Value) {
    let made = world.enqueue(json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let task = made.body["task"].clone();
    let id: Id = task["id"].as_str().unwrap().parse().unwrap();
    let row = world.store.task(id).await.unwrap().unwrap();
    world.store.start_attempt(StartAttempt::of(&row, 1, "job".into(), Timestamp::now())).await.unwrap();
    let end = AttemptEnd {
        task_id: id,
        attempt: 1,
        next: Next::Completed { result: json!({"summary": "done"}) },
        trace: None,
        exit_code: Some(0),
        worker_id: None,
        commit: None,
        started_at: None,
        evidence: Some(Box::new(pack(&task, required))),
        ended_at: Timestamp::now(),
    };
    world.store.finish_attempt(end).await.unwrap();
    let evidence = world.get(ADA, &format!("/tasks/{id}/evidence")).await;
    assert_eq!(evidence.status, 200, "{}", evidence.text);
    (task, evidence.body)
}

async fn status(world: &World, issue: &str) -> String {
    let row = world.store.object(Kind::Issue, issue.parse().unwrap()).await.unwrap().unwrap();
    row.object.spec.status().unwrap().to_string()
}

fn required(approvals: u32) -> Option<Required> {
    let expires_at = Some(Timestamp::now() + SignedDuration::from_hours(1));
    Some(Required { forge: "f".into(), approvals, expires_at, because: "policy".into(), ..Required::default() })
}

fn decision(evidence: &Value, decision: &str) -> Value {
    let pack = &evidence["evidence_pack"];
    json!({"for_evidence_pack": {"kind": "EvidencePack", "id": pack["id"]}, "subject_sha256": pack["subject_sha256"],
        "decision": decision, "decision_reason": "read", "reviewer": {"actor_kind": "human", "actor_id": "somebody-else"}})
}

impl World {
    fn may_review(&mut self, users: &[&'static str]) {
        for user in users {
            self.allow(user, &["get", "list"], "team");
            self.cluster.rights.lock().unwrap().entry(user).or_default().push(("create", "reviews", "team"));
        }
        self.restart();
    }
}

#[tokio::test]
async fn the_requester_is_refused_and_a_second_person_approves() {
    let mut world = World::new().await;
    let (task, evidence) = under_review(&world, required(1)).await;
    assert_eq!(evidence["review"]["state"], "missing");
    let (issue, approve) = (task["cwom_issue_id"].as_str().unwrap().to_owned(), decision(&evidence, "approved"));
    assert_eq!(status(&world, &issue).await, "under_review");
    world.allow("eve", &["get"], "team");
    world.restart();
    let right = world.post(EVE, "/cwom/reviews", &approve).await;
    assert_eq!((right.status, &right.body["detail"]["resource"]), (403, &json!("reviews.jct.dev")), "{}", right.text);
    assert_eq!(world.post(CI, "/cwom/reviews", &approve).await.status, 404, "who may not see it is told of nothing");
    world.may_review(&["ada", "eve"]);

    let own = world.post(ADA, "/cwom/reviews", &approve).await;
    assert_eq!((own.status, &own.body["detail"]["error"]), (403, &json!("second_person")), "{}", own.text);
    assert_eq!(own.body["detail"]["code"], "REVIEW_NOT_ALLOWED");
    let mut stale = approve.clone();
    stale["subject_sha256"] = json!("0".repeat(64));
    let answer = world.post(EVE, "/cwom/reviews", &stale).await;
    assert_eq!((answer.status, &answer.body["detail"]["code"]), (409, &json!("REVIEW_STALE")), "{}", answer.text);
    // Both are written down.
    let denied = world.denials.take();
    let denied: Vec<String> =
        denied.iter().map(|denial| format!("{} by {}", denial.findings[0].code, denial.actor.id)).collect();
    assert_eq!(denied, ["REVIEW_NOT_ALLOWED by ada", "REVIEW_STALE by eve"]);

    // An edited status moves nothing.
    let edited = world.call("PATCH", ADA, &format!("/cwom/issues/{issue}"), &json!({"status": "done"})).await;
    assert_eq!(edited.status, 409, "{}", edited.text);
    assert_eq!(status(&world, &issue).await, "under_review");

    let made = world.post(EVE, "/cwom/reviews", &approve).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!((&made.body["status"], &made.body["outcome"]["state"]), (&json!("success"), &json!("approved")));
    assert_eq!(made.body["review"]["reviewer"]["actor_id"], "eve", "whatever the body says");
    assert_eq!(status(&world, &issue).await, "done");
    let late = world.post(EVE, "/cwom/reviews", &decision(&evidence, "rejected")).await;
    assert_eq!((late.status, &late.body["detail"]["error"]), (400, &json!("not_under_review")), "{}", late.text);

    // What there is of it can be read.
    let pack = evidence["evidence_pack"]["id"].as_str().unwrap();
    let review = &made.body["review"];
    let one = format!("/cwom/reviews/{}", review["id"].as_str().unwrap());
    assert_eq!(made.header("location"), one);
    for path in [one, format!("/cwom/evidence-packs/{pack}/review")] {
        assert_eq!(&world.get(ADA, &path).await.body, review, "{path}");
        assert_eq!(world.get(NOBODY, &path).await.status, 404, "{path}");
    }
    let lists = [
        "/cwom/reviews?namespace=team&decision=approved".to_owned(),
        format!("/cwom/reviews?evidence_pack_id={pack}&namespace=team"),
        format!("/cwom/issues/{issue}/reviews"),
    ];
    for path in lists {
        assert_eq!(world.get(ADA, &path).await.body, json!([review]), "{path}");
    }
    assert_eq!(world.get(ADA, "/cwom/reviews?namespace=team&decision=rejected").await.body, json!([]));
    assert_eq!(world.get(ROOT, "/cwom/evidence-packs?verdict=pass").await.body, json!([evidence["evidence_pack"]]));
    let run = evidence["evidence_pack"]["for_run"]["id"].as_str().unwrap();
    for path in [format!("/cwom/evidence-packs/{pack}"), format!("/cwom/runs/{run}/evidence-pack")] {
        assert_eq!(world.get(ADA, &path).await.body, evidence["evidence_pack"], "{path}");
    }
    let of_issue = world.get(ADA, &format!("/cwom/issues/{issue}/evidence-packs")).await;
    assert_eq!(of_issue.body, json!([evidence["evidence_pack"]]));
    let told = world.get(ADA, &format!("/tasks/{}/evidence", task["id"].as_str().unwrap())).await;
    assert_eq!((&told.body["review"]["state"], &told.body["reviews"]), (&json!("approved"), &json!([review])));
}

#[tokio::test]
async fn who_repeats_a_request_is_no_second_person() {
    let mut world = World::new().await;
    let body = json!({"idempotency_key": "k"});
    let first = world.enqueue(body.clone()).await;
    assert_eq!(first.status, 201, "{}", first.text);
    world.allow("eve", &["create", "get", "list"], "team");
    world.restart();
    let id: Id = first.body["task"]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(world.store.chain_of(id).await.unwrap().part_of("eve"), None);
    let again = world.post(EVE, "/tasks/enqueue", &task(body)).await;
    assert_eq!(again.status, 409, "{}", again.text);
    assert!(world.store.chain_of(id).await.unwrap().part_of("eve").is_some());
}

#[tokio::test]
async fn what_needs_no_review_takes_none_and_bodies_that_do_not_fit_are_told() {
    let mut world = World::new().await;
    world.may_review(&["eve"]);
    let (_, free) = under_review(&world, None).await;
    assert_eq!(free["review"]["state"], "not_required");
    let answer = world.post(EVE, "/cwom/reviews", &decision(&free, "approved")).await;
    assert_eq!((answer.status, &answer.body["detail"]["error"]), (400, &json!("not_under_review")), "{}", answer.text);
    let (_, evidence) = under_review(&world, required(2)).await;
    for (field, wrong) in [
        ("subject_sha256", Value::Null),
        ("decision", json!("maybe")),
        ("decision_reason", json!("x".repeat(4001))),
        ("other", json!(1)),
    ] {
        let mut body = decision(&evidence, "approved");
        body[field] = wrong;
        assert_eq!(world.post(EVE, "/cwom/reviews", &body).await.status, 422, "{field}");
    }
    let made = world.post(EVE, "/cwom/reviews", &decision(&evidence, "needs_changes")).await;
    assert_eq!((made.status, &made.body["outcome"]["state"]), (201, &json!("needs_changes")), "{}", made.text);
}
