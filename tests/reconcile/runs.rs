//! Runs of agents and systems: carried out by a Task that passes the same gate.

use jct::crd::names::{FINALIZER, RUN, STAMP, SUBMITTED_BY, TRACE_ID};
use jct::domain::cwom::{Kind, Status};
use jct::domain::executor::Executors;
use jct::domain::{Phase, TraceId};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{Answer, Call, call};
use crate::fixture::{TRACE, World, job_name, object_id, seen, succeeded, task_id};
use crate::work_objects::{condition, issue, repo, status_of};

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
    task["metadata"]["annotations"] = posted["metadata"]["annotations"].clone();
    task["metadata"]["ownerReferences"] = posted["metadata"]["ownerReferences"].clone();
    task["spec"] = posted["spec"].clone();
    task
}

#[tokio::test]
async fn a_run_of_an_agent_becomes_a_task_that_ends_it() {
    let world = world(json!({"description": "Tell what is there", "acceptance": {"criteria": ["All told"]}})).await;
    let packet = json!({
        "forIssue": {"kind": "Issue", "name": "greet"}, "version": "1", "summary": "s",
        "meta": {"task": {"ref": "v1"}},
    });
    let packet = world.object(Kind::ContextPacket, "packet", packet);
    world
        .object_pass(Kind::ContextPacket, &packet, vec![status_of(Kind::ContextPacket, "packet")])
        .await
        .result
        .unwrap();
    let mut object = world.object(Kind::Run, "try", run(json!({})));
    let pass = world.object_pass(Kind::Run, &object, vec![created(), run_status()]).await;
    pass.result.as_ref().unwrap();
    let posted = &pass.calls[0].2;
    assert_eq!(posted["metadata"]["name"], json!(task_name()));
    assert_eq!(posted["metadata"]["finalizers"], json!([FINALIZER]));
    let owner = &posted["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"], &owner["controller"]), (&json!("Run"), &json!("try"), &json!(true)));
    let annotations = &posted["metadata"]["annotations"];
    let run_id = object_id(Kind::Run, "try");
    assert_eq!(annotations[RUN], json!(run_id));
    assert_eq!((&annotations[SUBMITTED_BY], &annotations[TRACE_ID]), (&json!("ada@example.org"), &json!(TRACE)));
    let (trace_id, stamp) = (TRACE.parse::<TraceId>().unwrap(), annotations[STAMP].as_str().unwrap());
    assert!(world.key.verify("team", "ada@example.org", &trace_id, Some(run_id), stamp));
    let spec = &posted["spec"];
    assert_eq!((&spec["objective"], &spec["operation"]), (&json!("Tell what is there"), &json!("analysis")));
    assert_eq!((&spec["target"]["repo"], &spec["target"]["ref"]), (&json!("octo/hello"), &json!("v1")));
    assert_eq!((&spec["createCwom"], &spec["requestedBy"]["id"]), (&json!(false), &json!("bot")));
    assert_eq!(spec["acceptanceCriteria"], json!(["All told"]));
    assert_eq!((&pass.status()["phase"], &pass.status()["taskName"]), (&json!("planned"), &json!(task_name())));
    assert_eq!(condition(&pass, "Succeeded"), ("Unknown".into(), "Planned".into()));
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
    let script = vec![call("POST", TASKS, Answer::Status(denial)), run_status()];
    let pass = world.object_pass(Kind::Run, &object, script).await;
    pass.result.as_ref().unwrap();
    assert_eq!((&pass.status()["phase"], &pass.status()["taskName"]), (&json!("failed"), &Value::Null));
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "REPO_NOT_ALLOWED".into()));
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
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "INVALID_SPEC".into()));
    assert_eq!(row_status(&world).await, Status::Failed);
}

/// A Task of the Run's Task's name, as `change` has it.
fn found(world: &World, run: &str) -> Value {
    let trace_id: TraceId = TRACE.parse().unwrap();
    let id = run.parse().ok();
    let mut task = world.task(json!({}));
    task["metadata"]["name"] = json!(task_name());
    task["metadata"]["annotations"][RUN] = json!(run);
    task["metadata"]["annotations"][STAMP] = json!(world.key.seal("team", "ada@example.org", &trace_id, id));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": task["metadata"]})
}

#[tokio::test]
async fn a_task_that_is_there_is_taken_for_ours_if_it_is_and_only_then() {
    let world = world(json!({})).await;
    let object = world.object(Kind::Run, "try", run(json!({})));
    let ours = object_id(Kind::Run, "try").to_string();
    let meeting = |found: Value| {
        vec![
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
    let pass = world.object_pass(Kind::Run, &object, vec![created(), run_status()]).await;
    // It came past the webhooks, to a controller with another policy.
    let mut task = stored_task(&world, &pass.calls[0].2);
    task["spec"]["target"]["repo"] = json!("evil/x");
    let refused = world.pass(&task, vec![call("PATCH", format!("{TASKS}/run-"), Answer::Echo)]).await;
    assert_eq!(refused.status()["reason"], "REPO_NOT_ALLOWED");
    let script = vec![
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
    let pass = world.object_pass(Kind::Run, &object, vec![created(), run_status()]).await;
    let task = stored_task(&world, &pass.calls[0].2);
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
    let pass = world.object_pass(Kind::Run, &object, vec![created(), run_status()]).await;
    let mut task = stored_task(&world, &pass.calls[0].2);
    let script = vec![call("POST", JOBS, Answer::Failure(500))];
    world.pass(&task, script).await.result.unwrap_err();
    object["status"] = pass.status().clone();
    object["spec"]["status"] = json!("canceled");
    let answer = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": task["metadata"]});
    let script = vec![call("PATCH", format!("{TASKS}/{}", task_name()), Answer::Object(answer))];
    let pass = world.object_pass(Kind::Run, &object, script).await;
    assert_eq!(pass.calls[0].2, json!({"spec": {"cancel": true}}));
    task["spec"]["cancel"] = json!(true);
    let script = vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", Answer::Object(json!({"metadata": {}, "items": []}))),
        call("PATCH", format!("{TASKS}/run-"), Answer::Echo),
    ];
    world.pass(&task, script).await.result.unwrap();
    let pass = world.object_pass(Kind::Run, &object, vec![run_status()]).await;
    assert_eq!(condition(&pass, "Succeeded"), ("False".into(), "Canceled".into()));
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
    assert_eq!(pass.status()["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(pass.status()["phase"], Value::Null);
}

#[rstest]
#[case::of_the_run(json!({}), json!({"inputs": {"contextPackets": [{"kind": "ContextPacket", "name": "packet"}]}}))]
#[case::of_the_issue(json!({"contextPackets": [{"kind": "ContextPacket", "name": "packet"}]}), json!({}))]
#[tokio::test]
async fn a_run_waits_for_what_it_starts_from(#[case] of_issue: Value, #[case] of_run: Value) {
    let world = world(of_issue).await;
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
    world.object_pass(Kind::Run, &object, vec![created(), run_status()]).await.result.unwrap();
    // Its own seal, and another's Run.
    let mut thief = world.task(json!({}));
    thief["metadata"]["annotations"][RUN] = json!(object_id(Kind::Run, "try"));
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", TASKS, Answer::Echo)];
    world.pass(&thief, script).await.result.unwrap();
    let row = world.store.object(Kind::Run, object_id(Kind::Run, "try")).await.unwrap().unwrap();
    assert_eq!(row.task_id, None);
}
