//! What happens behind the operator's back, and to the operator itself: one Job for each attempt, one row, no gap in the audit log.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use serde_json::json;
use sqlx::Row as _;

use crate::support::{
    Held, OPERATOR, Task, Trace, World, audit, condition, id, jobs_ever, kill_operator, no_operator_restarted,
    operator_besides, phase, query, reason, task, task_on, until, verify_audit, writes,
};

/// The statuses of a Task's attempts, by the record.
async fn attempts(world: &World, task: &Task) -> Vec<String> {
    let rows = query(world, "SELECT status FROM jobs WHERE task_id = $1 ORDER BY attempt", &id(task)).await;
    rows.iter().map(|row| row.get(0)).collect()
}

fn in_background() -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() }
}

#[tokio::test]
async fn after_a_deleted_job_the_next_attempt_does_it() {
    let world = World::shared("job").await;
    let held = Held::new("demo/job-again");
    world.create(task("again", json!({"target": {"repo": held.name()}}))).await;
    let task = world.wait_for("again", "Running").await;
    let first = task.status.clone().unwrap().job_name.unwrap();
    world.jobs().delete(&first, &in_background()).await.unwrap();
    until("the second attempt to run", async || {
        let task = world.get("again").await;
        let attempt = task.status.as_ref().unwrap().attempt;
        if attempt == Some(2) && phase(&task) == "Running" { Ok(()) } else { Err(format!("{:?}", task.status)) }
    })
    .await;
    held.release();
    let task = world.wait_for("again", "Completed").await;
    assert_eq!(attempts(&world, &task).await, ["failed", "completed"]);
    assert_eq!(jobs_ever(&task).len(), 2);
    Trace::of(&world, &task).await.check(&task).unwrap();
}

/// The operator of these tests allows the cluster one failure, apart from what a Task allows.
#[tokio::test]
async fn a_deleted_pod_is_the_clusters_failure_and_not_the_tasks() {
    let world = World::shared("pod").await;
    let held = Held::new("demo/pod");
    world.create(task_on("evicted", held.name())).await;
    for attempt in 1..=2 {
        let pod = running_pod(&world, "evicted", attempt).await;
        world.pods().delete(&pod, &DeleteParams::default()).await.unwrap();
    }
    let task = world.wait_for("evicted", "Failed").await;
    assert_eq!(reason(&task), "Evicted", "{:?}", task.status);
    assert_eq!(condition(&task, "TraceCaptured").0, "True", "the worker had time to seal");
    assert_eq!(attempts(&world, &task).await, ["failed", "failed"]);
    assert_eq!(jobs_ever(&task).len(), 2);
}

/// The pod of an attempt, once its source is being fetched: the Task is still `Running` when the pod of its next attempt
/// is there and has not begun.
async fn running_pod(world: &World, name: &str, attempt: i64) -> String {
    until(&format!("attempt {attempt} to run"), async || {
        let task = world.get(name).await;
        if task.status.as_ref().is_none_or(|status| status.id.is_none()) {
            return Err("it has no id yet".into());
        }
        let pods = world.pods_of(&task).await;
        let of_attempt = |pod: &&Pod| {
            let labels = pod.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("jct.dev/attempt")).is_some_and(|label| *label == attempt.to_string())
        };
        match pods.iter().find(of_attempt) {
            Some(pod) if fetches(pod) => Ok(pod.metadata.name.clone().unwrap()),
            other => Err(format!("{:?}, {:?}", task.status, other.and_then(|pod| pod.status.clone()))),
        }
    })
    .await
}

fn fetches(pod: &Pod) -> bool {
    let sources = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    sources.iter().any(|source| source.state.as_ref().is_some_and(|state| state.running.is_some()))
}

#[tokio::test]
async fn a_job_deleted_before_it_ran_is_made_again_or_failed_but_never_twice() {
    let world = World::shared("early").await;
    let held = Held::new("demo/early");
    world.create(task_on("early", held.name())).await;
    let task = world.wait_for_job("early").await;
    world.jobs().delete(task.status.as_ref().unwrap().job_name.as_deref().unwrap(), &in_background()).await.unwrap();
    held.release();
    until("an end", async || {
        let task = world.get("early").await;
        if ["Completed", "Failed"].contains(&phase(&task)) { Ok(()) } else { Err(format!("{:?}", task.status)) }
    })
    .await;
    // A worker that had begun already sealed its trace, and the next attempt did the work.
    let attempts = attempts(&world, &task).await;
    assert!(attempts.len() <= 2 && attempts.last().unwrap() == "completed", "{attempts:?}");
    // A Job that is made again has the name of its attempt.
    let names: BTreeSet<String> = jobs_ever(&task).into_iter().collect();
    assert_eq!(names.len(), attempts.len(), "{names:?}");
    verify_audit().await;
}

#[tokio::test]
async fn the_operator_may_be_killed_at_any_moment() {
    const TASKS: usize = 10;
    let world = World::alone("killed").await;
    let names: Vec<String> = (0..TASKS).map(|n| format!("task-{n}")).collect();
    for name in &names {
        world.create(task(name, json!({"maxAttempts": 2}))).await;
    }
    // At once; as the first Job is there; as workers run; as the first ends; as most have ended.
    let mut killed = kill_operator(&world).await;
    for (what, jobs, ended) in [("a Job", 1, 0), ("five Jobs", 5, 0), ("an end", 1, 1), ("seven ends", 1, 7)] {
        until(what, async || {
            let tasks = world.tasks().list(&ListParams::default()).await.unwrap().items;
            let with_job =
                tasks.iter().filter(|task| task.status.as_ref().is_some_and(|status| status.job_name.is_some()));
            let (with_job, done) = (with_job.count(), tasks.iter().filter(|task| phase(task) == "Completed").count());
            if with_job >= jobs && done >= ended { Ok(()) } else { Err(format!("{with_job} Jobs, {done} ends")) }
        })
        .await;
        killed.append(&mut kill_operator(&world).await);
    }
    operator_besides(&world, &killed).await;
    for name in &names {
        let task = world.wait_for(name, "Completed").await;
        assert_eq!(attempts(&world, &task).await, ["completed"], "{name}");
        assert_eq!(jobs_ever(&task).len(), 1, "{name}: one Job for each attempt");
        let rows = query(&world, "SELECT id FROM tasks WHERE uid = $1", task.metadata.uid.as_deref().unwrap()).await;
        assert_eq!(rows.len(), 1, "{name}");
        Trace::of(&world, &task).await.check(&task).unwrap();
        let entries = audit(&["--entity", &id(&task)]).await;
        let states: Vec<&str> = entries.iter().filter_map(|entry| entry["after"]["status"].as_str()).collect();
        let expected = ["queued", "running", "completed"];
        assert!(states == expected || states == ["queued", "completed"], "{name}: {states:?}");
    }
    verify_audit().await;
    no_operator_restarted(&world).await;
}

#[tokio::test]
async fn a_task_costs_the_api_server_few_writes() {
    let world = World::shared("writes").await;
    world.create(task("counted", json!({}))).await;
    let task = world.wait_for("counted", "Completed").await;
    let job = task.status.as_ref().unwrap().job_name.clone().unwrap();
    let of_operator = || {
        let mine = |write: &crate::support::Write| {
            (write.namespace == world.namespace && write.name == "counted") || write.name == job
        };
        writes().into_iter().filter(|write| write.user == OPERATOR && mine(write)).collect::<Vec<_>>()
    };
    // The Job's retirement comes after the status, or just before it.
    let found = until("the Job to be retired", async || {
        let found = of_operator();
        let retired = found.iter().any(|write| write.resource == "jobs" && write.verb == "patch");
        if retired { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await;
    let reported: BTreeSet<String> = found.iter().map(|write| format!("{} {}", write.verb, write.resource)).collect();
    println!("WRITES for one Task by the operator: {} ({reported:?})", found.len());
    let (retiring, running): (Vec<_>, Vec<_>) =
        found.iter().partition(|write| write.resource == "jobs" && write.verb == "patch");
    assert_eq!(retiring.len(), 1, "{found:?}");
    assert!(running.len() <= 4, "{found:?}");
    assert!(found.iter().all(|write| write.code < 300), "{found:?}");
}
