//! The ways between pending and an end.

use serde_json::json;
use sqlx::Row as _;

use crate::support::{
    Held, World, audit, condition, id, jobs_ever, phase, query, reason, task, task_on, until, verify_audit, writes,
};

#[tokio::test]
async fn a_suspended_task_waits_until_it_is_resumed() {
    let world = World::shared("suspend").await;
    world.create(task("waits", json!({"suspend": true}))).await;
    let task = world.wait_for_reason("waits", "Suspended").await;
    assert_eq!(phase(&task), "Pending");
    assert_eq!(condition(&task, "Succeeded").0, "Unknown");
    assert_eq!(condition(&task, "Recorded").0, "True");
    world.set("waits", "suspend", false).await;
    let task = world.wait_for("waits", "Completed").await;
    assert_eq!(task.status.as_ref().unwrap().observed_generation, task.metadata.generation);
    assert_eq!(jobs_ever(&task).len(), 1);
}

#[tokio::test]
async fn a_task_cancelled_before_its_start_never_runs() {
    let world = World::shared("cancel").await;
    world.create(task("early", json!({"suspend": true}))).await;
    world.wait_for_reason("early", "Suspended").await;
    world.set("early", "cancel", true).await;
    let task = world.wait_for("early", "Cancelled").await;
    assert_eq!(condition(&task, "TraceCaptured"), ("False".into(), "NothingRan".into()));
    assert!(jobs_ever(&task).is_empty());
}

#[tokio::test]
async fn a_task_created_with_cancel_never_runs() {
    let world = World::shared("cancel").await;
    world.create(task("stillborn", json!({"cancel": true}))).await;
    let task = world.wait_for("stillborn", "Cancelled").await;
    assert_eq!(task.status.as_ref().unwrap().message.as_deref(), Some("cancelled by admin"));
    assert!(jobs_ever(&task).is_empty());
}

#[tokio::test]
async fn a_running_task_can_be_cancelled() {
    let world = World::shared("cancel").await;
    let held = Held::new("demo/cancel");
    world.create(task_on("running", held.name())).await;
    world.wait_for("running", "Running").await;
    world.set("running", "cancel", true).await;
    let task = world.wait_for("running", "Cancelled").await;
    assert_eq!(reason(&task), "Cancelled");
    world.wait_until_podless(&task).await;
    assert_eq!(jobs_ever(&task).len(), 1);
}

#[tokio::test]
async fn an_end_is_final() {
    let world = World::shared("final").await;
    world.create(task("done", json!({}))).await;
    let done = world.wait_for("done", "Completed").await;
    world.set("done", "cancel", true).await;
    world.set("done", "suspend", true).await;
    until("the new generation to be observed", async || {
        let task = world.get("done").await;
        let observed = task.status.as_ref().unwrap().observed_generation;
        if observed == task.metadata.generation { Ok(()) } else { Err(format!("{observed:?}")) }
    })
    .await;
    let task = world.get("done").await;
    assert_eq!((phase(&task), reason(&task)), ("Completed", "Completed"));
    assert_eq!(task.status.unwrap().completed_at, done.status.unwrap().completed_at);
}

#[tokio::test]
async fn deleting_a_running_task_ends_its_job_and_keeps_the_record() {
    let world = World::shared("delete").await;
    let held = Held::new("demo/delete");
    world.create(task_on("running", held.name())).await;
    let task = world.wait_for("running", "Running").await;
    world.tasks().delete("running", &Default::default()).await.unwrap();
    world.wait_until_gone("running").await;
    world.wait_until_podless(&task).await;
    let rows = query(&world, "SELECT status, error, deleted_at IS NOT NULL FROM tasks WHERE id = $1", &id(&task)).await;
    assert_eq!((rows.len(), rows[0].get::<String, _>(0).as_str(), rows[0].get(2)), (1, "cancelled", true));
    assert!(rows[0].get::<String, _>(1).contains("Deleted"));
    let actions: Vec<String> = audit(&["--entity", &id(&task)])
        .await
        .iter()
        .map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), entry["after"]["status"]))
        .collect();
    assert_eq!(actions[actions.len() - 2..], ["status_changed \"cancelled\"", "deleted null"], "{actions:?}");
}

#[tokio::test]
async fn deleting_an_ended_task_keeps_the_record() {
    let world = World::shared("delete").await;
    world.create(task("ended", json!({}))).await;
    let task = world.wait_for("ended", "Completed").await;
    world.tasks().delete("ended", &Default::default()).await.unwrap();
    world.wait_until_gone("ended").await;
    let rows = query(&world, "SELECT status, deleted_at IS NOT NULL FROM tasks WHERE id = $1", &id(&task)).await;
    assert_eq!((rows.len(), rows[0].get::<String, _>(0).as_str(), rows[0].get(1)), (1, "completed", true));
    assert_eq!(audit(&["--entity", &id(&task)]).await.last().unwrap()["action"], "deleted");
    verify_audit().await;
}

#[tokio::test]
async fn a_namespace_with_running_tasks_can_be_deleted() {
    let world = World::shared("namespace").await;
    let held: Vec<Held> = (1..=2).map(|n| Held::new(&format!("demo/namespace-{n}"))).collect();
    let mut tasks = Vec::new();
    for (n, held) in held.iter().enumerate() {
        world.create(task_on(&format!("running-{n}"), held.name())).await;
    }
    for n in 0..held.len() {
        tasks.push(world.wait_for(&format!("running-{n}"), "Running").await);
    }
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &Default::default()).await.unwrap();
    until("the namespace to be gone", async || match namespaces.get_opt(&world.namespace).await.unwrap() {
        None => Ok(()),
        Some(namespace) => Err(format!("{:?}", namespace.status)),
    })
    .await;
    for task in tasks {
        world.wait_until_podless(&task).await;
        let rows = query(&world, "SELECT status FROM tasks WHERE id = $1", &id(&task)).await;
        assert_eq!(rows[0].get::<String, _>(0), "cancelled");
    }
}

#[tokio::test]
async fn the_same_key_is_the_same_task_also_when_its_object_is_gone() {
    let world = World::shared("idempotency").await;
    let keyed = |name: &str| task(name, json!({"idempotencyKey": "nightly-7"}));
    world.create(keyed("first")).await;
    let first = world.wait_for("first", "Completed").await;
    for name in ["second", "third"] {
        world.create(keyed(name)).await;
        let copy = world.wait_for(name, "Completed").await;
        assert_eq!(reason(&copy), "Duplicate");
        let status = copy.status.as_ref().unwrap();
        let message = status.message.as_deref().unwrap();
        assert!(message.contains(&id(&first)) && message.contains("/first"), "{message}");
        assert_eq!(status.trace, first.status.as_ref().unwrap().trace);
        let own = format!(
            "t-{}-",
            jct_domain::Id::derive(
                copy.metadata.creation_timestamp.as_ref().unwrap().0,
                copy.metadata.uid.as_deref().unwrap(),
            )
        )
        .to_lowercase();
        assert!(!writes().iter().any(|write| write.name.starts_with(&own)), "the duplicate {name} has a Job");
        if world.tasks().get_opt("first").await.unwrap().is_some() {
            world.tasks().delete("first", &Default::default()).await.unwrap();
            world.wait_until_gone("first").await;
        }
    }
    let sql = "SELECT id FROM tasks WHERE idempotency_key = 'nightly-7' AND namespace = $1";
    assert_eq!(query(&world, sql, &world.namespace).await.len(), 1);
}

#[tokio::test]
async fn of_five_with_the_same_key_at_once_one_runs() {
    let world = World::shared("race").await;
    let names = ["a", "b", "c", "d", "e"];
    let manifests = names.map(|name| task(name, json!({"idempotencyKey": "once"})));
    futures::future::join_all(manifests.map(|manifest| world.create(manifest))).await;
    let mut reasons = Vec::new();
    for name in names {
        let task = world.wait_for(name, "Completed").await;
        reasons.push(reason(&task).to_owned());
    }
    reasons.sort_unstable();
    assert_eq!(reasons, ["Completed", "Duplicate", "Duplicate", "Duplicate", "Duplicate"]);
    let sql = "SELECT j.id FROM jobs j JOIN tasks t ON t.id = j.task_id WHERE t.namespace = $1";
    assert_eq!(query(&world, sql, &world.namespace).await.len(), 1);
}

#[tokio::test]
async fn a_failing_source_is_tried_as_often_as_asked() {
    let world = World::shared("retry").await;
    world.create(task("retried", json!({"target": {"repo": "demo/absent"}, "maxAttempts": 3}))).await;
    let task = world.wait_for("retried", "Failed").await;
    assert_eq!((reason(&task), task.status.as_ref().unwrap().attempt), ("SourceUnavailable", Some(3)));
    let jobs = jobs_ever(&task);
    let wanted: Vec<String> = (1..=3).map(|n| format!("t-{}-{n}", id(&task).to_lowercase())).collect();
    assert_eq!(jobs, wanted);
    let rows = query(&world, "SELECT attempt, status FROM jobs WHERE task_id = $1 ORDER BY attempt", &id(&task)).await;
    let rows: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [(1, "failed".into()), (2, "failed".into()), (3, "failed".into())]);
    let traces = world.folder_of_claim("jct-traces").await.join(&world.namespace).join(id(&task));
    for attempt in ["1", "2", "3"] {
        assert!(traces.join(attempt).join("manifest.json").is_file(), "attempt {attempt} left no trace");
    }
}

#[tokio::test]
async fn an_expired_task_goes_and_its_record_stays() {
    let world = World::shared("ttl").await;
    world.create(task("brief", json!({"ttlSecondsAfterFinished": 4}))).await;
    let task = world.wait_for("brief", "Completed").await;
    world.wait_until_gone("brief").await;
    let rows = query(&world, "SELECT status FROM tasks WHERE id = $1", &id(&task)).await;
    assert_eq!(rows[0].get::<String, _>(0), "completed");
    assert_eq!(audit(&["--entity", &id(&task)]).await.last().unwrap()["action"], "deleted");
}

#[tokio::test]
async fn without_an_executor_nothing_starts() {
    let world = World::shared("executor").await;
    for (name, change) in [
        ("other-operation", json!({"operation": "docs", "executor": "analysis"})),
        ("unknown", json!({"executor": "other"})),
    ] {
        world.create(task(name, change)).await;
        let task = world.wait_for(name, "Failed").await;
        assert_eq!(reason(&task), "ExecutorNotConfigured");
        assert!(jobs_ever(&task).is_empty());
    }
}
