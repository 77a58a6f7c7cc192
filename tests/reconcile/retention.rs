//! Retention as the operator does it: marks, folders, records, and what it must never do.

use jct::domain::retention::Retention;
use jct::reconcile::Error;
use jct::reconcile::queue::cache::Tasks;
use jct::reconcile::retention::{Swept, sweep};
use jct::store::{NewTask, RemoveTrace, Shown};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, Call, call};
use crate::fixture::{UID, World, job, seen, succeeded, task_id};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const TASK: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look";
const ALL: &str = "{traces: [{outcome: any, maxAge: 1h}], records: [{outcome: any, maxAge: 1h}]}";
const TRACES: &str = "traces: [{outcome: any, maxAge: 1h}]";

/// A World whose Task has run to its end, with `change` merged into it.
async fn ended(change: Value) -> World {
    let world = World::new().await;
    let task = world.task(change);
    let status = || call("PATCH", "/status", Answer::Echo);
    world.pass(&task, vec![call("POST", JOBS, Answer::Echo), status()]).await.result.unwrap();
    world.leave_trace(1, None);
    let retired = call("PATCH", JOBS, Answer::Object(job(1, json!({}))));
    let pass =
        world.pass_with(&task, vec![retired, status()], |context| seen(context, 1, json!({}), succeeded())).await;
    pass.result.unwrap();
    assert!(world.row().await.phase.is_terminal());
    world
}

/// The cache of Tasks with these objects in it.
fn cache(objects: &[Value]) -> Tasks {
    let tasks = Tasks::default();
    for object in objects {
        tasks.apply(serde_json::from_str(&object.to_string()).unwrap());
    }
    tasks
}

/// What a sweep does, a day from now.
async fn swept(world: &World, rules: &str, objects: &[Value], script: Vec<Call>) -> Result<Swept, Error> {
    let retention = Retention::read(rules).unwrap();
    let objects = cache(objects);
    let now = Timestamp::now() + SignedDuration::from_hours(24);
    let mut result = None;
    world
        .passes(script, async |context| {
            result = Some(sweep(&context, &retention, &objects, now, &CancellationToken::new()).await);
            Ok(jct::reconcile::Action::await_change())
        })
        .await;
    result.unwrap()
}

fn gone() -> Call {
    call("GET", TASK, Answer::Failure(404))
}

#[tokio::test]
async fn without_rules_nothing_goes() {
    let world = ended(json!({})).await;
    assert_eq!(swept(&world, "", &[], Vec::new()).await.unwrap(), Swept::default());
    assert!(world.trace_folder(1).join("manifest.json").exists());
}

#[tokio::test]
async fn a_trace_goes_and_its_record_tells_of_it() {
    let world = ended(json!({})).await;
    let first = swept(&world, TRACES, &[], Vec::new()).await.unwrap();
    assert_eq!((first.traces, first.folders, first.records, first.failures), (1, 1, 0, 0));
    assert!(first.bytes > 0 && !world.trace_folder(1).exists());
    assert_eq!(swept(&world, TRACES, &[], Vec::new()).await.unwrap(), Swept::default());
    let job = &world.store.jobs(task_id()).await.unwrap()[0];
    assert!(job.trace_removed_at.is_some() && job.manifest_sha256.is_some() && job.trace_purged_at.is_some());
    assert!(world.audit().await.contains(&"Trace deleted  by jct-controller".to_owned()));

    // A controller that has just started looks after provenance: there is none to be made up for, and no failure.
    let pass = world.pass(&world.task(json!({})), vec![call("PATCH", "/status", Answer::Echo)]).await;
    assert_eq!(pass.context.metrics.provenance_failures.get(), 0);
    assert!(!world.trace_folder(1).exists());
}

#[tokio::test]
async fn a_crash_before_the_folder_is_deleted_is_gone_on_from() {
    let world = ended(json!({})).await;
    let mark = RemoveTrace { task_id: task_id(), attempt: 1, rule: "traces[0]".into(), at: Timestamp::now() };
    assert!(world.store.remove_trace(mark).await.unwrap());
    assert!(world.trace_folder(1).exists());
    // Also when the rule is gone meanwhile: it is written down that the trace is removed.
    let next = swept(&world, "", &[], Vec::new()).await.unwrap();
    assert_eq!((next.traces, next.folders), (0, 1));
    assert!(!world.trace_folder(1).exists());
}

#[tokio::test]
async fn a_record_goes_with_its_trace_once_the_object_is_gone() {
    let world = ended(json!({})).await;
    let all = swept(&world, ALL, &[], vec![gone()]).await.unwrap();
    assert_eq!((all.traces, all.records), (1, 1));
    assert!(world.store.task(task_id()).await.unwrap().is_none());

    // The cache lags, and shows the object as it was: it is not run again.
    let task = world.task(json!({}));
    let pass = world.pass(&task, vec![call("PATCH", "/status", Answer::Echo)]).await;
    assert_eq!(pass.status()["reason"], "RecordRemoved");
    assert!(world.store.task(task_id()).await.unwrap().is_none());
    // Nor is an end taken back that its status shows.
    let shown = json!({"status": {"phase": "Completed", "reason": "Completed", "conditions": []}});
    world.pass(&world.task(shown), Vec::new()).await.result.unwrap();
}

#[tokio::test]
async fn a_record_stays_while_its_object_is_there() {
    let world = ended(json!({})).await;
    let task = world.task(json!({}));
    // In the cache: not even the API server is asked.
    assert_eq!(swept(&world, ALL, std::slice::from_ref(&task), Vec::new()).await.unwrap().records, 0);
    // Not in the cache.
    let there = || call("GET", TASK, Answer::Object(task.clone()));
    assert_eq!(swept(&world, ALL, &[], vec![there()]).await.unwrap().records, 0);
    // Restored under another uid, and pinned to its id.
    let pinned = json!({"metadata": {"uid": "another", "annotations": {"jct.dev/id": task_id().to_string()}}});
    let restored = call("GET", TASK, Answer::Object(world.task(pinned)));
    assert_eq!(swept(&world, ALL, &[], vec![restored]).await.unwrap().records, 0);
    // The API server does not answer.
    let silent = call("GET", TASK, Answer::Failure(403));
    assert_eq!(swept(&world, ALL, &[], vec![silent]).await.unwrap_err().category(), "api");
    assert!(world.store.task(task_id()).await.unwrap().is_some());
    // Another Task has the name.
    let other = call("GET", TASK, Answer::Object(world.task(json!({"metadata": {"uid": "another"}}))));
    assert_eq!(swept(&world, ALL, &[], vec![other]).await.unwrap().records, 1);
}

#[tokio::test]
async fn a_key_that_another_object_has_does_not_become_free() {
    let key = json!({"spec": {"idempotencyKey": "once"}});
    let world = ended(key.clone()).await;
    let copy = |namespace: &str| {
        let mut copy = world.task(json!({"metadata": {"name": "copy", "uid": "copy", "namespace": namespace}}));
        json_patch::merge(&mut copy, &key);
        copy
    };
    assert_ne!(copy("team")["metadata"]["uid"], UID);
    assert_eq!(swept(&world, ALL, &[copy("team")], Vec::new()).await.unwrap().records, 0);
    assert_eq!(swept(&world, ALL, &[copy("other")], vec![gone()]).await.unwrap().records, 1);
}

#[tokio::test]
async fn more_records_than_are_planned_at_once_go_in_one_sweep() {
    let world = ended(json!({})).await;
    let row = world.row().await;
    let new = |number: usize| NewTask {
        id: jct::domain::Id::derive(row.created_at, &format!("many-{number}")),
        trace_id: row.trace_id.clone(),
        namespace: "team".into(),
        name: format!("many-{number}"),
        uid: format!("many-{number}"),
        submitted_by: None,
        actor: jct::domain::Actor::controller(),
        task: row.task.clone(),
        executor: None,
        model: None,
        delivery: None,
        max_attempts: 1,
        create_cwom: false,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: row.created_at,
        recorded_at: row.created_at,
    };
    const MANY: usize = 2500;
    let store = &world.store;
    let ended = futures::future::join_all((0..MANY).map(|number| async move {
        store.record_task(new(number)).await.unwrap();
        let failure = jct::store::Failure::new("Cancelled", "not needed");
        let finish = jct::store::FinishTask {
            task_id: new(number).id,
            ending: jct::store::Ending::Cancelled,
            failure,
            actor: jct::domain::Actor::controller(),
            at: Timestamp::now(),
        };
        store.finish_task(finish).await.unwrap();
    }));
    ended.await;
    let script = (0..MANY).map(|_| call("GET", "/tasks/many-", Answer::Failure(404))).collect();
    let objects = [world.task(json!({}))];
    let all = swept(&world, ALL, &objects, script).await.unwrap();
    assert_eq!((all.traces, all.records), (1, MANY as u64));
}
