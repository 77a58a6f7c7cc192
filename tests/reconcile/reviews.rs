//! What is shown for an attempt, and the review that its change waits for.

use std::fs;

use jct::crd::stamps::{Issuer, Seal, Sealed, Stamps};
use jct::domain::cwom::{Kind, Status};
use jct::domain::evidence::{EvidencePack, Verdict};
use jct::domain::forge::Forges;
use jct::domain::review::Outcome;
use jct::domain::{Principal, submitted_digest};
use jct::reconcile::review::{answer, expire};
use jct::store::TaskRow;
use jct::webhook::{Caller, Endpoint};
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use kube::core::admission::AdmissionReview;
use serde_json::{Value, json};

use crate::api::{Answer, Call, call, scripted_over};
use crate::fixture::{World, job, job_name, seen, succeeded};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

fn status() -> Call {
    call("PATCH", STATUS, Answer::Echo)
}

/// A Task that wants its change on a branch has made one that touches `paths`.
async fn done(review: &str, paths: &[&str]) -> (World, TaskRow, EvidencePack) {
    let mut world = World::new().await;
    let yaml = format!(
        "[{{name: f, kind: git, repos: [octo/], git: 'https://f/{{repo}}', write: {{secret: w}}, \
         grants: [{{namespaces: [team], repos: [octo/], deliver: [branch]}}], delivery: {{review: {review}}}}}]"
    );
    world.forges = Forges::read(&yaml).unwrap();
    let spec = json!({"spec": {"operation": "code_change", "delivery": {"mode": "branch"}, "acceptanceCriteria": ["it works"]}});
    let task = world.task(spec);
    world.pass(&task, vec![call("POST", JOBS, Answer::Echo), status()]).await.result.unwrap();
    world.leave_trace(1, None);
    let file = world.trace_folder(1).join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    manifest["change"] = json!({"base_commit": "b", "commit": "c0ffee", "git_ref": "refs/heads/jct/x", "files_changed": paths.len(),
        "insertions": 1, "deletions": 0, "patch_sha256": "", "patch_bytes": 1, "bundle_sha256": "", "bundle_bytes": 1, "paths": paths});
    manifest["result"] = json!({"evidence": [{"criterion": 0, "artifact": "report.md"}]});
    fs::write(&file, manifest.to_string()).unwrap();
    let retired = call("PATCH", format!("{JOBS}/{}", job_name(1)), Answer::Object(job(1, json!({}))));
    let script = vec![retired, status()];
    world.pass_with(&task, script, |context| seen(context, 1, json!({}), succeeded())).await.result.unwrap();
    let row = world.row().await;
    let pack = world.store.evidence_of_attempt(row.id, 1).await.unwrap().expect("no evidence");
    (world, row, pack)
}

async fn statuses(world: &World, row: &TaskRow) -> [Status; 2] {
    let of = async |kind, id| world.store.object(kind, id).await.unwrap().unwrap().object.spec.status().unwrap();
    [of(Kind::Issue, row.cwom_issue_id.unwrap()).await, of(Kind::Run, row.run_id(1).unwrap()).await]
}

#[tokio::test]
async fn what_is_to_be_delivered_waits_for_a_review_and_expires() {
    let (world, row, pack) = done("{expires_hours: 1}", &["src/a"]).await;
    assert_eq!((row.phase.as_str(), statuses(&world, &row).await), ("completed", [Status::UnderReview; 2]));
    assert_eq!(pack.subject.manifest_sha256, row.manifest_sha256.clone().unwrap());
    let branch = format!("jct/look-{}", &row.id.to_lowercase()[18..]);
    assert_eq!(
        (pack.subject.commit.as_deref(), pack.subject.branch.as_deref()),
        (Some("c0ffee"), Some(branch.as_str()))
    );
    assert_eq!(pack.criteria_results[0].reason, "claimed by the executor, unverified");
    assert_eq!((pack.verdict, pack.checks_failed.len()), (Verdict::Partial, 0), "{pack:?}");
    let required = pack.review_required.unwrap();
    assert_eq!((required.forge.as_str(), required.approvals), ("f", 1));
    let until = required.expires_at.map(Timestamp::as_microsecond);
    assert_eq!(until, Some((pack.evaluated_at + SignedDuration::from_hours(1)).as_microsecond()));

    // Not before its time.
    let (client, _server, _) = scripted_over(None, Vec::new());
    let context = world.context(client);
    assert_eq!(expire(&context).await.unwrap(), 0);
    context.clock.note(Timestamp::now() + SignedDuration::from_hours(2));
    for ended in [1, 0] {
        assert_eq!(expire(&context).await.unwrap(), ended, "once");
    }
    let state = world.store.review_of(&pack.subject_sha256).await.unwrap().unwrap();
    assert_eq!((state.outcome, statuses(&world, &row).await), (Outcome::Expired, [Status::Failed; 2]));
}

#[tokio::test]
async fn who_asks_for_no_review_gets_none_but_for_what_is_protected() {
    let (world, row, pack) = done("{required: false}", &["src/a"]).await;
    assert_eq!((pack.review_required, statuses(&world, &row).await), (None, [Status::Done; 2]));
    let (world, row, pack) = done("{required: false}", &["src/a", ".github/workflows/ci.yml"]).await;
    assert_eq!(pack.review_required.unwrap().because, ".github/workflows/ci.yml is protected");
    assert_eq!(statuses(&world, &row).await, [Status::UnderReview; 2]);
}

const REVIEWS: &str = "/apis/jct.dev/v1/namespaces/team/reviews/r/status";

/// A Review as `user` makes it: `sealed` if it came past the webhook.
fn review(world: &World, pack: &EvidencePack, user: &str, change: Value, sealed: bool) -> DynamicObject {
    let mut spec = json!({"task": {"name": "look"}, "evidencePack": pack.id, "subjectSha256": pack.subject_sha256, "decision": "approved"});
    json_patch::merge(&mut spec, &change);
    let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let stamps = Stamps { submitter: Principal::named(user), trace_id: pack.trace_id.clone(), run: None };
    let object = Sealed { kind: "Review", namespace: "team", name: "r", generate_name: "" };
    let seal = Seal { issuer: Issuer::ApiServer, at };
    let annotations = stamps.annotations(&object, &submitted_digest("Review", &spec), &seal, &world.trust.keys);
    serde_json::from_value(json!({
        "apiVersion": "jct.dev/v1", "kind": "Review",
        "metadata": {"name": "r", "namespace": "team", "uid": format!("uid-of-{user}"), "generation": 1, "resourceVersion": "1",
            "creationTimestamp": at, "annotations": if sealed { json!(annotations) } else { Value::Null }},
        "spec": spec,
    }))
    .unwrap()
}

/// The status that a Review is answered with.
async fn answered(world: &World, object: &DynamicObject) -> Value {
    let (client, server, made) = scripted_over(None, vec![call("PATCH", REVIEWS, Answer::Echo)]);
    answer(&world.context(client), object).await.unwrap();
    server.await.unwrap();
    let made = made.lock().unwrap();
    made.last().unwrap().2["status"].clone()
}

#[tokio::test]
async fn a_review_object_counts_if_a_second_person_made_it_about_what_is_there() {
    let (world, row, pack) = done("{}", &["src/a"]).await;
    let reason = async |object: DynamicObject| {
        let status = answered(&world, &object).await;
        assert_eq!(status["phase"], "Failed", "{status}");
        status["reason"].as_str().unwrap().to_owned()
    };
    let make = |user: &str, change: Value| review(&world, &pack, user, change, true);
    assert_eq!(reason(make("ada@example.org", json!({}))).await, "REVIEW_NOT_ALLOWED", "the requester");
    assert_eq!(reason(review(&world, &pack, "bob", json!({}), false)).await, "REVIEW_NOT_ALLOWED", "nobody vouches");
    let mut copied = make("bob", json!({}));
    copied.data["spec"]["decision"] = json!("rejected");
    assert_eq!(reason(copied).await, "REVIEW_NOT_ALLOWED", "the seal is on another spec");
    let robot = make("system:serviceaccount:team:robot", json!({}));
    assert_eq!(reason(robot).await, "REVIEW_NOT_ALLOWED", "a service account of the Task's namespace");
    assert_eq!(reason(make("carol", json!({"subjectSha256": "0".repeat(64)}))).await, "REVIEW_STALE");
    assert_eq!(reason(make("dave", json!({"task": {"name": "other"}}))).await, "EvidenceNotFound");
    assert_eq!(statuses(&world, &row).await, [Status::UnderReview; 2], "nothing is decided so far");

    let good = make("bob", json!({"reason": "read"}));
    for _ in 0..2 {
        // Once more, as after a crash before the status was written.
        let status = answered(&world, &good).await;
        assert_eq!((&status["phase"], &status["reviewer"]), (&json!("Recorded"), &json!("bob")), "{status}");
    }
    assert_eq!(statuses(&world, &row).await, [Status::Done; 2]);
    assert_eq!(reason(make("erin", json!({}))).await, "NotUnderReview");
    let audit = world.audit().await;
    let count = |what: &str| audit.iter().filter(|entry| entry.starts_with(what)).count();
    assert_eq!((count("ReviewDecision created"), count("AdmissionDenial created")), (1, 4), "{audit:#?}");
}

/// What the mutating webhook of the world makes of `object`, which `user` creates.
fn admitted(world: &World, user: &str, object: &DynamicObject) -> Option<DynamicObject> {
    let reviewer = jct::webhook::Reviewer {
        executors: watch(Default::default()),
        models: watch(Default::default()),
        forges: watch(Default::default()),
        policy: world.policy.clone(),
        trust: watch(world.trust.clone()),
        trusted_user: "system:serviceaccount:jct-system:jct".into(),
        deletions: world.deletions.clone(),
        clock: world.clock.clone(),
    };
    let asked = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "r", "operation": "CREATE", "name": "r", "namespace": "team", "dryRun": false,
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Review"},
            "resource": {"group": "jct.dev", "version": "v1", "resource": "reviews"},
            "userInfo": {"username": user, "groups": ["leads"]}, "object": object,
        },
    });
    let asked: AdmissionReview<DynamicObject> = serde_json::from_value(asked).unwrap();
    let (caller, now) = (Caller::Authenticated, "2026-03-01T12:00:00Z".parse().unwrap());
    let answer = reviewer.review(Endpoint::Mutate, caller, &asked.try_into().unwrap(), [1; 16], now).response;
    let mut made = serde_json::to_value(object).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&answer.patch.unwrap_or_else(|| b"[]".to_vec())).unwrap();
    json_patch::patch(&mut made, &patch).unwrap();
    answer.allowed.then(|| serde_json::from_value(made).unwrap())
}

fn watch<T>(of: T) -> tokio::sync::watch::Receiver<std::sync::Arc<T>> {
    tokio::sync::watch::Sender::new(std::sync::Arc::new(of)).subscribe()
}

#[tokio::test]
async fn the_webhook_says_who_reviews_whatever_the_manifest_says() {
    let (world, row, pack) = done("{reviewers: {groups: [leads]}}", &["src/a"]).await;
    // Under a name that somebody else put there.
    let mut written = review(&world, &pack, "bob", json!({}), false);
    written.metadata.annotations = Some([("jct.dev/submitted-by".to_owned(), "carol".to_owned())].into());
    let own = admitted(&world, "ada@example.org", &written).unwrap();
    assert_eq!(answered(&world, &own).await["reason"], "REVIEW_NOT_ALLOWED");
    written.metadata.uid = Some("another".into());
    let made = admitted(&world, "bob", &written).unwrap();
    assert_eq!(made.metadata.finalizers, None, "it may go at any time");
    let status = answered(&world, &made).await;
    assert_eq!((&status["phase"], &status["reviewer"]), (&json!("Recorded"), &json!("bob")), "{status}");
    assert_eq!(statuses(&world, &row).await, [Status::Done; 2]);
    let wrong = review(&world, &pack, "bob", json!({"decision": "maybe"}), false);
    assert!(admitted(&world, "bob", &wrong).is_none());
}
