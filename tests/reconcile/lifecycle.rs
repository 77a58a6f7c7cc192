use std::sync::Arc;
use std::time::Duration;

use jct::domain::{Actor, ActorKind, DeletionNote, FailureReason, Phase, Principal};
use jct::reconcile::Context;
use jct::reconcile::task::reconcile_in_line;
use jct::shared::Urgency;
use jct::store::{NewTask, Shown};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{Answer, call};
use crate::fixture::{World, job, job_name, running, seen, succeeded};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

/// Brings a Task to its first Job.
async fn started(world: &World) {
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&world.task(json!({})), script).await.result.unwrap();
}

#[tokio::test]
async fn a_new_task_is_recorded_before_its_job_exists() {
    let world = World::new().await;
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass(&world.task(json!({})), script).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.calls.len(), 2, "two writes from accept to queued");
    assert_eq!(pass.calls[0].2["metadata"]["name"], job_name(1));
    assert_eq!(pass.status()["phase"], "Queued");
    assert_eq!(pass.status()["submittedBy"], "ada@example.org");
    let row = world.row().await;
    let ids = row.cwom_ids().unwrap();
    assert_eq!(pass.status()["cwom"]["issueId"], json!(ids.issue));
    assert_eq!(pass.status()["cwom"]["runId"], json!(row.run_id(1)));
    let row = world.row().await;
    assert_eq!((row.phase, row.attempt, row.submitted_by.as_deref()), (Phase::Queued, 1, Some("ada@example.org")));
    assert!(world.trace_folder(1).join("task.json").is_file());
    assert_eq!(
        world.audit().await,
        [
            "Task created queued by ada@example.org",
            "Repo created  by ada@example.org",
            "Issue created  by ada@example.org",
            "ConstraintSnapshot created  by ada@example.org",
            "ContextPacket created  by ada@example.org",
            "Task updated  by jct-controller",
            "Job created pending by jct-controller",
            "Run created  by jct-controller",
        ]
    );
}

#[tokio::test]
async fn a_status_that_says_it_already_is_not_written_again() {
    let world = World::new().await;
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    let first = world.pass(&world.task(json!({})), script).await;
    let task = world.task(json!({"status": first.status().clone()}));
    for pod in [json!({"phase": "Pending"}), json!({"phase": "Pending", "containerStatuses": []})] {
        world.pass_with(&task, vec![], |context| seen(context, 1, json!({}), pod)).await.result.unwrap();
    }
}

#[tokio::test]
async fn a_worker_runs_ends_and_its_trace_becomes_the_outcome() {
    let world = World::new().await;
    started(&world).await;
    let running = world
        .pass_with(&world.task(json!({})), vec![call("PATCH", STATUS, Answer::Echo)], |context| {
            seen(context, 1, json!({}), running())
        })
        .await;
    assert_eq!(running.status()["phase"], "Running");
    world.leave_trace(1, None);
    let script = vec![
        call("PATCH", format!("{JOBS}/{}", job_name(1)), Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let ended =
        world.pass_with(&world.task(json!({})), script, |context| seen(context, 1, json!({}), succeeded())).await;
    ended.result.as_ref().unwrap();
    assert_eq!(ended.calls[0].2["spec"]["ttlSecondsAfterFinished"], 600);
    assert_eq!(ended.status()["phase"], "Completed");
    assert_eq!(ended.status()["trace"]["files"], 2);
    let conditions = ended.status()["conditions"].as_array().unwrap();
    let holds = |type_: &str| conditions.iter().find(|one| one["type"] == type_).map(|one| one["status"].clone());
    assert_eq!(
        (holds("Finished"), holds("Ready"), holds("Reconciling")),
        (Some(json!("True")), Some(json!("True")), None)
    );
    assert_eq!(
        ended.context.events.next().map(|news| (news.reason, news.urgency)),
        Some(("Completed".into(), Urgency::Ordinary))
    );
    let row = world.row().await;
    assert_eq!(row.phase, Phase::Completed);
    assert_eq!(row.commit.unwrap().len(), 40);
    assert_eq!(world.store.artifacts(row.id).await.unwrap().len(), 2);
    let mut reported = world.audit().await;
    reported.retain(|entry| ["Task ", "Job ", "Trace "].iter().any(|kind| entry.starts_with(kind)));
    assert_eq!(
        reported[3..],
        [
            "Task status_changed queued->running by jct-controller",
            "Job status_changed pending->running by jct-controller",
            "Trace created  by jct-controller",
            "Job status_changed running->completed by jct-controller",
            "Task status_changed running->completed by jct-controller",
        ]
        .map(String::from)
    );
    assert!(matches!(world.store.verify_audit().await.unwrap(), jct::store::AuditCheck::Intact { .. }));
}

/// `kubectl get tasks` shows them for a Task that uses the deprecated aliases too.
#[tokio::test]
async fn every_column_has_something_to_show_whatever_the_fields_are_called() {
    let world = World::new().await;
    let aliased = json!({"spec": {"operation": null, "type": "analysis", "target": {"repo": null, "repository": "Octo/Hello.git"}}});
    let mut task = world.task(json!({}));
    json_patch::merge(&mut task, &aliased);
    world.stamp(&mut task, &crate::fixture::ada(), None);
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&task, script).await.result.unwrap();
    world.leave_trace(1, None);
    let script = vec![
        call("PATCH", JOBS, Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let ended = world.pass_with(&task, script, |context| seen(context, 1, json!({}), succeeded())).await;
    json_patch::merge(&mut task, &json!({"status": ended.status()}));
    let definition = &jct::crd::all()[0].spec.versions[0];
    let columns = definition.additional_printer_columns.as_ref().unwrap();
    for column in columns {
        let pointer = column.json_path.replace('.', "/");
        assert!(task.pointer(&pointer).is_some_and(|shown| !shown.is_null()), "{}: {task:#}", column.name);
    }
    let shown =
        |name: &str| columns.iter().any(|column| column.name == name && column.priority.unwrap_or_default() == 0);
    assert!(shown("Operation") && shown("Repo"));
    assert_eq!((&task["status"]["operation"], &task["status"]["repo"]), (&json!("analysis"), &json!("octo/hello")));
}

#[tokio::test]
async fn a_worker_that_leaves_no_trace_has_not_succeeded() {
    let world = World::new().await;
    started(&world).await;
    let script = vec![
        call("PATCH", JOBS, Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass =
        world.pass_with(&world.task(json!({})), script, |context| seen(context, 1, json!({}), succeeded())).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("TraceInvalid")));
    assert!(world.trace_folder(1).join("incomplete.json").is_file());
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_the_next_after_a_while() {
    let world = World::new().await;
    let task = world.task(json!({"spec": {"maxAttempts": 2}}));
    world
        .pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await
        .result
        .unwrap();
    world.leave_trace(1, Some(FailureReason::SourceUnavailable));
    let failed = world
        .pass_with(&task, vec![call("PATCH", STATUS, Answer::Echo)], |context| seen(context, 1, json!({}), succeeded()))
        .await;
    assert_eq!(failed.status()["reason"], "Retrying");
    let reported = failed.status()["message"].as_str().unwrap();
    let why = "attempt 1 failed, SourceUnavailable: because of SourceUnavailable";
    assert!(reported.starts_with("attempt 2 follows at 20") && reported.ends_with(why), "{reported}");
    assert!(!world.row().await.phase.is_terminal());
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    let again = world.pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(again.calls[0].2["metadata"]["name"], job_name(2));
    assert_eq!(again.status()["attempt"], 2);
    world.leave_trace(2, Some(FailureReason::SourceUnavailable));
    let script = vec![
        call("PATCH", JOBS, Answer::Object(crate::fixture::job(2, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let last = world.pass_with(&task, script, |context| seen(context, 2, json!({}), succeeded())).await;
    assert_eq!((&last.status()["phase"], &last.status()["reason"]), (&json!("Failed"), &json!("SourceUnavailable")));
}

#[tokio::test]
async fn what_the_cluster_failed_is_tried_again_apart_from_what_the_task_allows() {
    let world = World::new().await;
    let task = world.task(json!({}));
    let start = || vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&task, start()).await.result.unwrap();
    world.leave_trace(1, Some(FailureReason::Evicted));
    let status = || vec![call("PATCH", STATUS, Answer::Echo)];
    let failed = world.pass_with(&task, status(), |context| seen(context, 1, json!({}), succeeded())).await;
    assert_eq!(failed.status()["reason"], "Retrying");
    let row = world.row().await;
    assert_eq!((row.max_attempts, row.infrastructure_failures, row.allowed_attempts()), (1, 1, 2));
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    world.pass(&task, start()).await.result.unwrap();
    // The operator allows one such retry here.
    world.leave_trace(2, Some(FailureReason::Evicted));
    let script = vec![
        call("PATCH", JOBS, Answer::Object(crate::fixture::job(2, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let last = world.pass_with(&task, script, |context| seen(context, 2, json!({}), succeeded())).await;
    assert_eq!((&last.status()["phase"], &last.status()["reason"]), (&json!("Failed"), &json!("Evicted")));
}

#[tokio::test]
async fn what_another_attempt_cannot_mend_is_not_tried_again() {
    let world = World::new().await;
    let task = world.task(json!({"spec": {"maxAttempts": 5}}));
    world
        .pass(&task, vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)])
        .await
        .result
        .unwrap();
    world.leave_trace(1, Some(FailureReason::RefNotFound));
    let script = vec![
        call("PATCH", JOBS, Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass_with(&task, script, |context| seen(context, 1, json!({}), succeeded())).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Failed"), &json!("RefNotFound")));
}

#[tokio::test]
async fn a_suspended_task_is_recorded_and_waits() {
    let world = World::new().await;
    let suspended = world.task(json!({"spec": {"suspend": true}}));
    let pass = world.pass(&suspended, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Pending"), &json!("Suspended")));
    assert_eq!((world.row().await.phase, world.row().await.queued_at), (Phase::Pending, None));
    started(&world).await;
    assert_eq!((world.row().await.phase, world.row().await.queued_at.is_some()), (Phase::Queued, true));
}

#[tokio::test]
async fn a_task_that_is_suspended_before_its_turn_stays_queued_and_says_so() {
    let world = World::new().await;
    let script = vec![call("PATCH", STATUS, Answer::Echo)];
    let task = world.task(json!({}));
    let in_line =
        async |context| reconcile_in_line(Arc::new(serde_json::from_value(task.clone()).unwrap()), context).await;
    let waits = world.passes_over(Some(&task), script, in_line).await;
    assert_eq!((&waits.status()["phase"], &waits.status()["reason"]), (&json!("Queued"), &json!("WaitingForTurn")));
    let row = world.row().await;
    assert_eq!((row.phase, row.attempt, row.queued_at), (Phase::Queued, 0, Some(row.recorded_at)));
    let mut suspended = world.task(json!({}));
    world.change(&mut suspended, &Principal::named("bob@example.org"), json!({"suspend": true}));
    let pass = world.pass(&suspended, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Queued"), &json!("Suspended")));
    // Let go, it goes on; when it was queued stays as it was.
    started(&world).await;
    assert_eq!((world.row().await.attempt, world.row().await.queued_at), (1, row.queued_at));
}

#[tokio::test]
async fn a_start_is_looked_at_by_its_own_age_however_long_the_task_was_queued() {
    let other = World::new().await;
    started(&other).await;
    let row = other.row().await;
    let yesterday = row.recorded_at - jiff::SignedDuration::from_hours(24);
    let new = NewTask {
        id: row.id,
        trace_id: row.trace_id,
        namespace: row.namespace,
        name: row.name,
        uid: row.uid,
        submitted_by: row.submitted_by,
        actor: Actor::controller(),
        task: row.task,
        executor: row.executor,
        model: row.model.clone(),
        delivery: row.delivery.clone(),
        max_attempts: row.max_attempts,
        create_cwom: row.create_cwom,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: row.created_at,
        recorded_at: yesterday,
    };
    let world = World::new().await;
    world.store.record_task(new).await.unwrap();
    started(&world).await;
    assert_eq!(world.row().await.queued_at, Some(yesterday));
    let (task, script) = (world.task(json!({})), vec![call("PATCH", STATUS, Answer::Echo)]);
    let look = |context: &Context| seen(context, 1, json!({}), json!({"phase": "Pending"}));
    let again = world.pass_with(&task, script, look).await.result.unwrap().after().unwrap();
    assert!(again <= Duration::from_secs(60), "{again:?}");
}

#[tokio::test]
async fn a_task_is_looked_at_often_only_where_a_limit_may_pass() {
    let world = World::new().await;
    started(&world).await;
    let task = world.task(json!({}));
    let again = async |pod: Option<Value>| {
        let script = vec![call("PATCH", STATUS, Answer::Echo)];
        let look = |context: &Context| match &pod {
            Some(pod) => seen(context, 1, json!({}), pod.clone()),
            None => drop(context.workers.jobs.put(serde_json::from_value(job(1, json!({}))).unwrap())),
        };
        world.pass_with(&task, script, look).await.result.unwrap().after().unwrap()
    };
    let place = |is_there: &str| {
        let condition = json!({"type": "PodScheduled", "status": is_there, "message": "0/3 nodes are available"});
        Some(json!({"phase": "Pending", "conditions": [condition]}))
    };
    let often = Duration::from_secs(30)..=Duration::from_secs(60);
    for (pod, is_looked_at_often) in [(None, false), (place("False"), false), (place("True"), true)] {
        let again = again(pod.clone()).await;
        assert_eq!(often.contains(&again), is_looked_at_often, "{again:?} for {pod:?}");
        assert!(is_looked_at_often || again >= Duration::from_secs(600), "{again:?} for {pod:?}");
    }
}

#[tokio::test]
async fn cancelling_ends_the_job_first_and_names_who_asked() {
    let world = World::new().await;
    started(&world).await;
    let mut cancelled = world.task(json!({}));
    world.change(&mut cancelled, &Principal::named("bob@example.org"), json!({"cancel": true}));
    let script = vec![
        call("DELETE", format!("{JOBS}/{}", job_name(1)), Answer::Object(crate::fixture::job(1, json!({})))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass_with(&cancelled, script, |context| seen(context, 1, json!({}), running())).await;
    assert_eq!(pass.calls[0].2["propagationPolicy"], "Foreground");
    assert_eq!(pass.status()["phase"], "Queued");
    // The worker sealed its trace as it was interrupted, and its pod is gone.
    world.leave_trace(1, Some(FailureReason::Interrupted));
    let script = vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", Answer::Object(json!({"metadata": {}, "items": []}))),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let pass = world.pass(&cancelled, script).await;
    assert_eq!((&pass.status()["phase"], &pass.status()["reason"]), (&json!("Cancelled"), &json!("Cancelled")));
    assert!(world.audit().await.contains(&"Task status_changed queued->cancelled by bob@example.org".to_owned()));
}

#[tokio::test]
async fn who_cancelled_is_believed_only_under_a_seal_and_of_their_own_kind() {
    let world = World::new().await;
    let spec = json!({"suspend": true, "requestedBy": {"kind": "agent", "id": "bot"}});
    let task = world.task(json!({"spec": spec}));
    world.pass(&task, vec![call("PATCH", STATUS, Answer::Echo)]).await.result.unwrap();
    // Past the webhooks: the annotation is there, the seal is not.
    let mut blamed = task.clone();
    json_patch::merge(
        &mut blamed,
        &json!({"metadata": {"generation": 2, "annotations": {"jct.dev/cancelled-by": "bob@example.org"}},
            "spec": {"cancel": true}}),
    );
    let head = |object: &Value| {
        let object: jct::reconcile::task::Object = serde_json::from_value(object.clone()).unwrap();
        jct::reconcile::task::validate::validate(&object, &world.trust).unwrap()
    };
    assert_eq!(head(&blamed).canceller, Actor::unverified());
    let mut cancelled = task.clone();
    world.change(&mut cancelled, &Principal::named("mallory@example.org"), json!({"cancel": true}));
    let mallory = Actor { kind: ActorKind::Human, id: "mallory@example.org".into() };
    assert_eq!(head(&cancelled).canceller, mallory, "a person, whatever the Task is said to come from");
    assert_eq!(head(&cancelled).actor.id, "ada@example.org", "what was submitted is as it was");
    world.pass(&cancelled, vec![call("PATCH", STATUS, Answer::Echo)]).await.result.unwrap();
    let query = jct::store::AuditQuery::default();
    let entries = world.store.audit(&query).await.unwrap();
    assert!(entries.iter().any(|entry| entry.actor == mallory), "{entries:?}");
    // The same seal on another Task is worth nothing.
    let mut copied = world.task(json!({"metadata": {"uid": "another", "generation": 2}, "spec": {"cancel": true}}));
    for (name, value) in cancelled["metadata"]["annotations"].as_object().unwrap() {
        copied["metadata"]["annotations"][name] = value.clone();
    }
    assert_eq!(head(&copied).canceller, Actor::unverified());
}

#[tokio::test]
async fn a_task_cancelled_before_its_start_never_has_a_job() {
    let world = World::new().await;
    let cancelled = world.task(json!({"spec": {"cancel": true}}));
    let pass = world.pass(&cancelled, vec![call("PATCH", STATUS, Answer::Echo)]).await;
    assert_eq!(pass.status()["phase"], "Cancelled");
}

#[rstest]
#[case::by_whom_this_replica_was_told(&[], &["mallory"], "mallory", None)]
#[case::by_whom_another_one_was_told(&["mallory"], &[], "mallory", None)]
#[case::by_nobody_knows_which(&["alice"], &["mallory"], "unknown", Some("alice, mallory"))]
#[tokio::test]
async fn a_deleted_task_is_let_go_once_its_deletion_is_recorded(
    #[case] elsewhere: &[&str],
    #[case] here: &[&str],
    #[case] deleter: &str,
    #[case] named: Option<&str>,
) {
    let world = World::new().await;
    let note = |user: &&str| {
        DeletionNote::new(crate::fixture::UID, "team", user, false, jiff::Timestamp::now(), &world.trust.keys).unwrap()
    };
    world.store.note_deletions(elsewhere.iter().map(note).collect()).await.unwrap();
    here.iter().for_each(|user| world.deletions.note(note(user)));
    started(&world).await;
    let deleted = world.task(json!({"metadata": {"deletionTimestamp": "2026-03-01T12:05:00Z"}}));
    world.leave_trace(1, Some(FailureReason::Interrupted));
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": deleted["metadata"]});
    let script = vec![
        call("GET", JOBS, Answer::Failure(404)),
        call("GET", "/pods", Answer::Object(json!({"metadata": {}, "items": []}))),
        call("GET", "/tasks/look", Answer::Object(metadata.clone())),
        call("PATCH", "/tasks/look", Answer::Object(metadata)),
    ];
    let pass = world.pass(&deleted, script).await;
    pass.result.as_ref().unwrap();
    assert_eq!(pass.calls[3].2["metadata"]["finalizers"], json!([]));
    let row = world.row().await;
    assert_eq!(row.phase, Phase::Cancelled);
    assert!(row.deleted_at.is_some());
    assert_eq!(world.audit().await.last().unwrap(), &format!("Task deleted cancelled by {deleter}"));
    let note = world.store.audit(&jct::store::AuditQuery::default()).await.unwrap().remove(0).note.unwrap();
    let also = named.map(|names| format!("; asked for by {names}")).unwrap_or_default();
    assert_eq!(note, format!("the object was deleted; its record stays{also}"));
    assert_eq!(world.store.deletion_notes(crate::fixture::UID).await.unwrap(), [], "of no use any more");
}
