//! What is shown for an attempt, and the review that its change waits for.

use std::fs;

use jct::domain::cwom::{Kind, Status};
use jct::domain::evidence::{EvidencePack, Verdict};
use jct::domain::forge::Forges;
use jct::domain::review::Outcome;
use jct::reconcile::review::expire;
use jct::store::TaskRow;
use jiff::{SignedDuration, Timestamp};
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
    assert_eq!((pack.subject.commit.as_deref(), pack.subject.branch), (Some("c0ffee"), Some(branch)));
    assert_eq!(pack.criteria_results[0].reason, "claimed by the executor, unverified");
    assert_eq!((pack.verdict, pack.checks_failed.len()), (Verdict::Partial, 0), "{pack:?}");
    let required = pack.review_required.unwrap();
    assert_eq!((required.forge.as_str(), required.approvals), ("f", 1));
    assert_eq!(required.expires_at, Some(pack.evaluated_at + SignedDuration::from_hours(1)));

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
