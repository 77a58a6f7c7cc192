//! Runs of agents and systems: carried out by a Task that passes the same gate.

use jct::crd::names::{FINALIZER, RUN, STAMP, SUBMITTED_BY, TRACE_ID};
use jct::domain::cwom::{Kind, Status};
use jct::domain::executor::Executors;
use jct::domain::{Phase, Principal, SpecDigests};
use jiff::Timestamp;
use kube::api::ObjectMeta;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{Answer, Call, call};
use crate::fixture::{TRACE, World, ada, job_name, object_id, seen, succeeded, task_id};
use crate::work_objects::{condition, issue, kstatus, repo, status_of};

const TASKS: &str = "/apis/jct.dev/v1/namespaces/team/tasks";
const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";

fn run(change: Value) -> Value {
    let mut spec = json!({
        "forIssue": {"kind": "Issue", "name": "greet"}, "repo": {"kind": "Repo", "name": "hello"}, "mode": "agent",
        "executor": {"actor": {"actorKind": "agent", "actorId": "bot"}},
    });
    json_patch::merge(&mut spec, &change);
    spec
}

/// The answer to the question whether the Run's author may create Tasks.
fn allowed() -> Call {
    access(true)
}

fn access(allowed: bool) -> Call {
    let answer = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": {},
        "status": {"allowed": allowed},
    });
    call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Answer::Object(answer))
}

fn created() -> Call {
    call("POST", TASKS, Answer::Echo)
}

fn run_status() -> Call {
    status_of(Kind::Run, "try")
}

fn task_name() -> String {
    format!("run-{}", object_id(Kind::Run, "try").to_lowercase())
}

/// A world with a Repo and an Issue on it.
async fn world(of_issue: Value) -> World {
    let world = World::new().await;
    for (kind, name, spec) in [(Kind::Repo, "hello", repo("octo/hello")), (Kind::Issue, "greet", issue(of_issue))] {
        let object = world.object(kind, name, spec);
        world.object_pass(kind, &object, vec![status_of(kind, name)]).await.result.unwrap();
    }
    world
}

async fn row_status(world: &World) -> Status {
    let row = world.store.object(Kind::Run, object_id(Kind::Run, "try")).await.unwrap().unwrap();
    row.object.spec.status().unwrap()
}

/// The Task as the API server has it after the operator's create.
fn stored_task(world: &World, posted: &Value) -> Value {
    let mut task = world.task(json!({}));
    task["metadata"]["name"] = posted["metadata"]["name"].clone();
    task["metadata"]["ownerReferences"] = posted["metadata"]["ownerReferences"].clone();
    task["spec"] = posted["spec"].clone();
    // As if it had been posted when the objects of these tests were made.
    let run = posted["metadata"]["annotations"][RUN].as_str().unwrap().parse().unwrap();
    world.stamp(&mut task, &ada(), Some(run));
    task
}

#[tokio::test]
async fn a_run_of_an_agent_becomes_a_task_that_ends_it() {
    let world = world(json!({"description": "Tell what is there", "acceptance": {"criteria": ["All told"]}})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    pass.result.as_ref().unwrap();
    let asked = &pass.calls[0].2["spec"];
    assert_eq!((&asked["user"], &asked["uid"]), (&json!("ada@example.org"), &json!("uid-of-ada")));
    assert_eq!(asked["groups"], json!(["makers"]));
    let right = json!({"group": "jct.dev", "resource": "tasks", "verb": "create", "namespace": "team"});
    assert_eq!(asked["resourceAttributes"], right);
    let posted = &pass.calls[1].2;
    assert_eq!(posted["metadata"]["name"], json!(task_name()));
    assert_eq!(posted["metadata"]["finalizers"], json!([FINALIZER]));
    let owner = &posted["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"], &owner["controller"]), (&json!("Run"), &json!("try"), &json!(true)));
    let annotations = &posted["metadata"]["annotations"];
    let run_id = object_id(Kind::Run, "try");
    assert_eq!(annotations[RUN], json!(run_id));
    assert_eq!((&annotations[SUBMITTED_BY], &annotations[TRACE_ID]), (&json!("ada@example.org"), &json!(TRACE)));
    let mut metadata: ObjectMeta = serde_json::from_value(posted["metadata"].clone()).unwrap();
    metadata.namespace = Some("team".into());
    metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
    let believed = world.trust.read("Task", &metadata, Some(&SpecDigests::of("Task", &posted["spec"])));
    assert_eq!(believed.submitted.map(|stamps| (stamps.submitter, stamps.run)), Some((ada(), Some(run_id))));
    let spec = &posted["spec"];
    assert_eq!((&spec["objective"], &spec["operation"]), (&json!("Tell what is there"), &json!("analysis")));
    assert_eq!((&spec["target"]["repo"], &spec["target"]["ref"]), (&json!("octo/hello"), &json!("main")));
    assert_eq!((&spec["createCwom"], &spec["requestedBy"]["id"]), (&json!(false), &json!("bot")));
    assert_eq!(spec["acceptanceCriteria"], json!(["All told"]));
    let made_from = &spec["metadata"]["jct.dev/made-from"];
    assert_eq!(
        (&made_from["run"], &made_from["issue"]["id"]),
        (&json!(run_id), &json!(object_id(Kind::Issue, "greet")))
    );
    assert_eq!(made_from["issue"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!((&pass.status()["phase"], &pass.status()["taskName"]), (&json!("planned"), &json!(task_name())));
    assert_eq!(condition(&pass, "Succeeded"), ("Unknown".into(), "Planned".into()));
    assert_eq!(
        (kstatus(&object, &pass), condition(&pass, "Ready")),
        ("InProgress", ("False".into(), "Planned".into()))
    );
    object["status"] = pass.status().clone();

    let task = stored_task(&world, posted);
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", format!("{TASKS}/run-"), Answer::Echo)];
    world.pass(&task, script).await.result.unwrap();
    // The Task is recorded now: the Run is its own, and it is not created again.
    world.object_pass(Kind::Run, &object, vec![]).await.result.unwrap();
    world.leave_trace(1, None);
    let script = vec![
        call("PATCH", format!("{JOBS}/{}", job_name(1)), Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", format!("{TASKS}/run-"), Answer::Echo),
    ];
    world.pass_with(&task, script, |context| seen(context, 1, json!({}), succeeded())).await.result.unwrap();
    assert_eq!(world.row().await.phase, Phase::Completed);
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(pass.status()["phase"], "done");
    assert_eq!(condition(&pass, "Succeeded"), ("True".into(), "Done".into()));
    assert_eq!((kstatus(&object, &pass), condition(&pass, "Ready")), ("Current", ("True".into(), "Done".into())));
    let row = world.store.object(Kind::Run, run_id).await.unwrap().unwrap();
    assert_eq!(row.task_id, Some(task_id()));
    assert!(!row.object.to_json()["outputs"]["artifacts"].as_array().unwrap().is_empty());
    object["status"] = pass.status().clone();
    world.object_pass(Kind::Run, &object, vec![]).await.result.unwrap();
}

#[tokio::test]
async fn a_run_that_the_gate_denies_has_failed_for_good() {
    let world = world(json!({})).await;
    let denial = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "reason": "Invalid",
        "message": "admission webhook denied the request",
        "details": {"causes": [{
            "reason": "REPO_NOT_ALLOWED", "message": "REPO_NOT_ALLOWED: octo/hello is not allowed", "field": "spec.target.repo",
        }]},
    });
    let mut object = world.object(Kind::Run, "try", run(json!({"mode": "system", "status": "ready"})));
    let script = vec![allowed(), call("POST", TASKS, Answer::Status(denial)), run_status()];
    let pass = world.object_pass(Kind::Run, &object, script).await;
    pass.result.as_ref().unwrap();
    assert_eq!((&pass.status()["phase"], &pass.status()["taskName"]), (&json!("failed"), &Value::Null));
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "REPO_NOT_ALLOWED".into()));
    assert_eq!((kstatus(&object, &pass), condition(&pass, "Stalled").1.as_str()), ("Failed", "REPO_NOT_ALLOWED"));
    let row = world.store.object(Kind::Run, object_id(Kind::Run, "try")).await.unwrap().unwrap();
    let failure = &row.object.to_json()["failure"];
    assert_eq!(failure["category"], "policy");
    assert_eq!(failure["message"], "REPO_NOT_ALLOWED: spec.target.repo: octo/hello is not allowed");
    object["status"] = pass.status().clone();
    world.object_pass(Kind::Run, &object, vec![]).await.result.unwrap();
    // Its author may still write to it; that does not make it run again.
    object["spec"]["tags"] = json!(["seen"]);
    let pass = world.object_pass(Kind::Run, &object, vec![]).await;
    pass.result.unwrap();
    assert_eq!(row_status(&world).await, Status::Failed);
}

#[tokio::test]
async fn an_issue_that_is_no_task_fails_its_run_without_one() {
    let world = world(json!({"description": "x".repeat(4001)})).await;
    let object = world.object(Kind::Run, "try", run(json!({})));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "INVALID_SPEC".into()));
    assert_eq!(row_status(&world).await, Status::Failed);
}

/// A Task of the Run's Task's name, as `change` has it.
fn found(world: &World, run: &str) -> Value {
    let mut task = world.task(json!({}));
    task["metadata"]["name"] = json!(task_name());
    world.stamp(&mut task, &ada(), run.parse().ok());
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": task["metadata"]})
}

#[tokio::test]
async fn a_task_that_is_there_is_taken_for_ours_if_it_is_and_only_then() {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(json!({})));
    let ours = object_id(Kind::Run, "try").to_string();
    let meeting = |found: Value| {
        vec![
            allowed(),
            call("POST", TASKS, Answer::Failure(409)),
            call("GET", format!("{TASKS}/{}", task_name()), Answer::Object(found)),
            run_status(),
        ]
    };
    let pass = world.object_pass(Kind::Run, &object, meeting(found(&world, &ours))).await;
    assert_eq!(pass.status()["phase"], "planned");

    let mut unsealed = found(&world, &ours);
    unsealed["metadata"]["annotations"][STAMP] = json!("00");
    let pass = world.object_pass(Kind::Run, &object, meeting(unsealed)).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "Failed".into()));
}

#[tokio::test]
async fn a_task_that_the_controller_refused_fails_its_run() {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(json!({})));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    // It came past the webhooks, to a controller with another policy.
    let mut task = stored_task(&world, &pass.calls[1].2);
    task["spec"]["target"]["repo"] = json!("evil/x");
    let refused = world.pass(&task, vec![call("PATCH", format!("{TASKS}/run-"), Answer::Echo)]).await;
    assert_eq!(refused.status()["reason"], "REPO_NOT_ALLOWED");
    let script = vec![
        allowed(),
        call("POST", TASKS, Answer::Failure(409)),
        call("GET", TASKS, Answer::Object(found(&world, &object_id(Kind::Run, "try").to_string()))),
        run_status(),
    ];
    let pass = world.object_pass(Kind::Run, &object, script).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "REPO_NOT_ALLOWED".into()));
}

#[tokio::test]
async fn a_task_without_an_executor_ends_its_run() {
    let mut world = world(json!({"type": "feature"})).await;
    world.executors = Executors::read("defaults: {code_change: null}").unwrap();
    let object = world.object(Kind::Run, "try", run(json!({})));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    let task = stored_task(&world, &pass.calls[1].2);
    let ended = world.pass(&task, vec![call("PATCH", format!("{TASKS}/run-"), Answer::Echo)]).await;
    assert_eq!(ended.status()["reason"], "ExecutorNotConfigured");
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "ExecutorNotConfigured".into()));
    assert_eq!(row_status(&world).await, Status::Failed);
}

#[tokio::test]
async fn a_run_that_is_called_off_cancels_its_task() {
    let world = world(json!({})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    let mut task = stored_task(&world, &pass.calls[1].2);
    let script = vec![call("POST", JOBS, Answer::Failure(500))];
    world.pass(&task, script).await.result.unwrap_err();
    object["status"] = pass.status().clone();
    let bob = Principal::named("bob@example.org");
    world.change(&mut object, &bob, json!({"status": "canceled"}));
    let answer = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": task["metadata"]});
    let script = vec![call("PATCH", format!("{TASKS}/{}", task_name()), Answer::Object(answer)), run_status()];
    let pass = world.object_pass(Kind::Run, &object, script).await;
    let asked = &pass.calls[0].2;
    assert_eq!((&asked["spec"], &asked["metadata"]["uid"]), (&json!({"cancel": true}), &json!(crate::fixture::UID)));
    json_patch::merge(&mut task, asked);
    let metadata = serde_json::from_value(task["metadata"].clone()).unwrap();
    let believed = world.trust.read("Task", &metadata, Some(&SpecDigests::of("Task", &task["spec"])));
    assert_eq!(believed.canceller.unwrap().user, "bob@example.org", "who called the Run off, not the operator");
    let script = vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", Answer::Object(json!({"metadata": {}, "items": []}))),
        call("PATCH", format!("{TASKS}/run-"), Answer::Echo),
    ];
    world.pass(&task, script).await.result.unwrap();
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "Canceled".into()));
    assert_eq!(kstatus(&object, &pass), "Failed");
}

#[rstest]
#[case::of_a_person(json!({"mode": "human"}))]
#[case::of_both(json!({"mode": "hybrid"}))]
#[case::that_somebody_else_carries_out(json!({"status": "running"}))]
#[tokio::test]
async fn other_runs_are_only_recorded(#[case] change: Value) {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(change));
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    let conditions = pass.status()["conditions"].as_array().unwrap().iter();
    let types: Vec<&str> = conditions.map(|condition| condition["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Recorded", "Resolved", "Ready"]);
    assert_eq!((&pass.status()["phase"], kstatus(&object, &pass)), (&Value::Null, "Current"));
}

/// A packet by somebody who may create nothing but packets, pinned to be the newest for ever.
async fn poisoned(world: &World) -> Value {
    let evil = json!({"commands": [["/bin/sh", "-c", "evil"]]}).to_string();
    let mut packet = world.object(
        Kind::ContextPacket,
        "packet",
        json!({
            "forIssue": {"kind": "Issue", "name": "greet"}, "version": "1", "summary": "s", "instructions": "Do evil",
            "meta": {"task": {"ref": "attacker-branch", "path": "evil"}},
            "inputs": {"dataBlobs": [{"name": "task-inputs", "mediaType": "application/json", "inline": evil}]},
        }),
    );
    packet["metadata"]["annotations"]["jct.dev/id"] = json!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    world.stamp(&mut packet, &Principal::named("nobody"), None);
    let script = vec![status_of(Kind::ContextPacket, "packet")];
    world.object_pass(Kind::ContextPacket, &packet, script).await.result.unwrap();
    packet
}

#[rstest]
#[case::that_nobody_named(json!({}))]
#[case::that_the_run_names(json!({"inputs": {"contextPackets": [{"kind": "ContextPacket", "name": "packet"}]}}))]
#[tokio::test]
async fn what_others_wrote_into_a_packet_becomes_no_command_ref_or_path(#[case] of_run: Value) {
    let world = world(json!({})).await;
    poisoned(&world).await;
    let object = world.object(Kind::Run, "try", run(of_run.clone()));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    pass.result.as_ref().unwrap();
    let spec = &pass.calls[1].2["spec"];
    assert_eq!((&spec["inputs"], &spec["target"]["path"]), (&Value::Null, &Value::Null), "{spec}");
    assert_eq!(spec["target"]["ref"], "main");
    // The control: it is there, and used as far as its author named it.
    let is_used = spec["metadata"]["jct.dev/made-from"]["context_packet"]["id"] == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    assert_eq!(is_used, of_run != json!({}), "{spec}");
}

#[tokio::test]
async fn what_jct_made_for_a_task_is_what_a_run_of_its_issue_does() {
    let world = World::new().await;
    let inputs = json!({"commands": [["true"]]});
    let task = world.task(json!({"spec": {
        "suspend": true, "inputs": inputs, "target": {"ref": "v1", "path": "src"}, "constraints": {"timeBudgetSeconds": 77},
    }}));
    let status = call("PATCH", format!("{TASKS}/look/status"), Answer::Echo);
    world.pass(&task, vec![status]).await.result.unwrap();
    let row = world.row().await;
    let (issue, repo) = (row.cwom_issue_id.unwrap(), row.cwom_repo_id.unwrap());
    let of_run = json!({"forIssue": {"kind": "Issue", "id": issue, "name": null}, "repo": {"kind": "Repo", "id": repo, "name": null}});
    let object = world.object(Kind::Run, "try", run(of_run));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    pass.result.as_ref().unwrap();
    let spec = &pass.calls[1].2["spec"];
    assert_eq!((&spec["inputs"], &spec["target"]["ref"]), (&inputs, &json!("v1")));
    assert_eq!((&spec["target"]["path"], &spec["constraints"]["timeBudgetSeconds"]), (&json!("src"), &json!(77)));
}

#[tokio::test]
async fn a_run_is_no_way_around_the_right_to_create_tasks() {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(json!({})));
    // The API server does not decide: asked again later, and nothing has failed.
    let sar = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let pass = world.object_pass(Kind::Run, &object, vec![call("POST", sar, Answer::Failure(500))]).await;
    assert_eq!(pass.result.unwrap_err().category(), "api");
    assert_eq!(row_status(&world).await, Status::Planned);
    let pass = world.object_pass(Kind::Run, &object, vec![access(false), run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "AuthorNotAllowed".into()));
    assert_eq!(row_status(&world).await, Status::Failed);
}

#[tokio::test]
async fn who_changes_a_run_before_it_is_carried_out_is_asked_for_their_own_rights() {
    let world = world(json!({})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    world.change(&mut object, &Principal::named("bob@example.org"), json!({"status": "ready"}));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    assert_eq!(pass.calls[0].2["spec"]["user"], "bob@example.org");
    assert_eq!(pass.calls[1].2["metadata"]["annotations"][SUBMITTED_BY], "bob@example.org");
}

#[rstest]
#[case::without_a_stamp(json!({"metadata": {"annotations": null}}))]
#[case::with_another_spec(json!({"spec": {"mode": "system"}}))]
#[tokio::test]
async fn a_run_whose_author_nobody_knows_waits(#[case] change: Value) {
    let world = world(json!({})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    json_patch::merge(&mut object, &change);
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("Unknown".into(), "AuthorUnknown".into()));
    assert_eq!(row_status(&world).await, Status::Planned);
}

#[tokio::test]
async fn a_run_whose_seal_is_not_believed_for_a_moment_is_carried_out_later() {
    let mut world = world(json!({})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    // The webhook configurations are away, or may not be read.
    let covered_since = world.trust.covered_since.take();
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(pass.result.as_ref().unwrap().after(), Some(std::time::Duration::from_secs(60)));
    assert_eq!(condition(&pass, "Succeeded"), ("Unknown".into(), "AuthorUnknown".into()));
    object["status"] = pass.status().clone();
    // It says so once.
    world.object_pass(Kind::Run, &object, vec![]).await.result.unwrap();
    world.trust.covered_since = covered_since;
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    assert_eq!(pass.calls[1].2["metadata"]["annotations"][SUBMITTED_BY], "ada@example.org");
    assert_eq!(pass.status()["phase"], "planned");
}

#[tokio::test]
async fn a_run_whose_author_wrote_it_past_the_webhooks_is_carried_out_when_they_write_it_again() {
    let world = world(json!({})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    object["metadata"]["annotations"] = json!({});
    world.object_pass(Kind::Run, &object, vec![run_status()]).await.result.unwrap();
    world.change(&mut object, &ada(), json!({"status": "ready"}));
    let pass = world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await;
    assert_eq!(pass.calls[0].2["spec"]["user"], "ada@example.org");
}

#[tokio::test]
async fn a_run_by_somebody_in_more_groups_than_are_kept_fails() {
    let world = world(json!({})).await;
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    let groups: Vec<String> = (0..5000).map(|n| format!("group-{n}")).collect();
    let ada = Principal::new("ada@example.org", Some("uid-of-ada".into()), &groups, &Default::default());
    world.stamp(&mut object, &ada, None);
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "AuthorUnknown".into()));
}

/// As while an update of JCT rolls out.
#[tokio::test]
async fn a_task_whose_stamps_were_changed_on_the_way_is_made_again_and_fails_no_run() {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(json!({})));
    let message = "INVALID_SPEC: is not what JCT's mutating webhook wrote";
    let denial = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "reason": "Invalid", "message": message,
        "details": {"causes": [
            {"reason": "INVALID_SPEC", "message": message, "field": "metadata.annotations[jct.dev/submitted-by]"}]},
    });
    let script = vec![allowed(), call("POST", TASKS, Answer::Status(denial))];
    let pass = world.object_pass(Kind::Run, &object, script).await;
    assert_eq!(pass.result.unwrap_err().category(), "api");
    assert_eq!(row_status(&world).await, Status::Planned);
}

#[tokio::test]
async fn a_run_waits_for_what_it_starts_from() {
    let world = world(json!({})).await;
    let of_run = json!({"inputs": {"contextPackets": [{"kind": "ContextPacket", "name": "packet"}]}});
    let object = world.object(Kind::Run, "try", run(of_run));
    let packet = json!({"forIssue": {"kind": "Issue", "name": "greet"}, "version": "1", "summary": "s"});
    let packet = world.object(Kind::ContextPacket, "packet", packet);
    let script = vec![run_status(), status_of(Kind::ContextPacket, "packet")];
    let pass = world
        .passes(script, async |context| {
            let mut woken = context.objects.triggers.open(Kind::Run);
            crate::fixture::reconcile_object(Kind::Run, &object, &context).await?;
            let done = crate::fixture::reconcile_object(Kind::ContextPacket, &packet, &context).await;
            assert_eq!(woken.try_recv().unwrap(), ("team".into(), "try".into()));
            done
        })
        .await;
    pass.result.as_ref().unwrap();
    let waits = pass.calls[0].2["status"]["conditions"][2].clone();
    assert_eq!((&waits["status"], &waits["reason"]), (&json!("Unknown"), &json!("WaitingForInputs")));
    assert_eq!(waits["message"], "ContextPacket packet is not there");
}

#[tokio::test]
async fn a_task_is_for_a_run_only_if_the_operator_says_so() {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(json!({"status": "planned"})));
    world.object_pass(Kind::Run, &object, vec![allowed(), created(), run_status()]).await.result.unwrap();
    // Its own seal, and another's Run.
    let mut thief = world.task(json!({}));
    thief["metadata"]["annotations"][RUN] = json!(object_id(Kind::Run, "try"));
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", TASKS, Answer::Echo)];
    world.pass(&thief, script).await.result.unwrap();
    let row = world.store.object(Kind::Run, object_id(Kind::Run, "try")).await.unwrap().unwrap();
    assert_eq!(row.task_id, None);
}
