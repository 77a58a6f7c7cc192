//! Who holds a Task back, lets it go and cancels it: in the audit log, each change once, whenever the operator comes to see it.

use std::time::Duration;

use jct::domain::audit::{Action, EntityKind};
use jct::domain::{Actor, ActorKind, Principal};
use jct::store::{AuditQuery, Order};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::api::{Answer, Call, call};
use crate::fixture::{World, job, job_name, running, seen};

const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

fn status() -> Vec<Call> {
    vec![call("PATCH", STATUS, Answer::Echo)]
}

async fn pass(world: &World, task: &Value) {
    world.pass(task, status()).await.result.unwrap();
}

/// Who, and what became of what.
async fn changes(world: &World) -> Vec<(Actor, Value, Value)> {
    let query = AuditQuery { order: Order::OldestFirst, ..AuditQuery::default() };
    let entries = world.store.audit(&query).await.unwrap().into_iter();
    let updates = entries.filter(|entry| (entry.entity_kind, entry.action) == (EntityKind::Task, Action::Updated));
    // The start of an attempt is one too.
    let of_spec =
        updates.filter(|entry| entry.after.as_ref().is_some_and(|after| after.get("spec_generation").is_some()));
    of_spec.map(|entry| (entry.actor, entry.before.unwrap_or_default(), entry.after.unwrap_or_default())).collect()
}

fn by(kind: ActorKind, user: &str, before: Value, after: Value) -> (Actor, Value, Value) {
    (Actor { kind, id: user.into() }, before, after)
}

#[tokio::test]
async fn who_released_and_who_suspended_is_noted_once_each_though_both_came_unseen() {
    let world = World::new().await;
    let mut task = world.task(json!({"spec": {"suspend": true}}));
    pass(&world, &task).await;
    assert_eq!(changes(&world).await, [], "a control: it was created so");
    // The operator is down meanwhile.
    world.change(&mut task, &Principal::named("bob@example.org"), json!({"suspend": false}));
    let gitops = "system:serviceaccount:argo:deployer";
    world.change(&mut task, &Principal::named(gitops), json!({"suspend": true}));
    let earlier = task.clone();
    let expected = vec![
        by(
            ActorKind::Human,
            "bob@example.org",
            json!({"suspend": true, "spec_generation": 0}),
            json!({"suspend": false, "spec_generation": 2}),
        ),
        by(
            ActorKind::System,
            gitops,
            json!({"suspend": false, "spec_generation": 2}),
            json!({"suspend": true, "spec_generation": 3}),
        ),
    ];
    // Each pass is that of an operator that has just started.
    for _ in 0..3 {
        pass(&world, &task).await;
        assert_eq!(changes(&world).await, expected);
    }
    world.change(&mut task, &Principal::named("eve@example.org"), json!({"cancel": true}));
    pass(&world, &task).await;
    // A replica whose cache is behind.
    pass(&world, &earlier).await;
    let last = by(
        ActorKind::Human,
        "eve@example.org",
        json!({"cancel": false, "spec_generation": 3}),
        json!({"cancel": true, "spec_generation": 4}),
    );
    assert_eq!(changes(&world).await, [expected, vec![last]].concat());
    let ended = "Task status_changed pending->cancelled by eve@example.org";
    assert!(world.audit().await.iter().any(|entry| entry == ended));
    // After its end, too.
    world.change(&mut task, &Principal::named("bob@example.org"), json!({"suspend": false}));
    pass(&world, &task).await;
    assert_eq!(changes(&world).await.last().unwrap().0.id, "bob@example.org");
}

#[tokio::test]
async fn a_change_that_no_seal_explains_is_by_nobody_known() {
    let world = World::new().await;
    let mut task = world.task(json!({"spec": {"suspend": true}}));
    pass(&world, &task).await;
    world.change(&mut task, &Principal::named("bob@example.org"), json!({"suspend": false}));
    // Past the webhooks, with what bob's seal leaves: it is not on this spec.
    json_patch::merge(&mut task, &json!({"spec": {"suspend": true}, "metadata": {"generation": 3}}));
    let bob = by(
        ActorKind::Human,
        "bob@example.org",
        json!({"suspend": true, "spec_generation": 0}),
        json!({"suspend": false, "spec_generation": 2}),
    );
    for _ in 0..2 {
        pass(&world, &task).await;
        let unknown = (Actor::unknown(), json!({"spec_generation": 2}), json!({"spec_generation": 3}));
        // What came on top of bob's takes nothing from that.
        assert_eq!(changes(&world).await, [bob.clone(), unknown]);
    }
}

#[tokio::test]
async fn what_was_changed_before_it_was_deleted_is_noted_too() {
    let world = World::new().await;
    let mut task = world.task(json!({"spec": {"suspend": true}}));
    pass(&world, &task).await;
    world.change(&mut task, &Principal::named("bob@example.org"), json!({"suspend": false}));
    // As the API server does it: a deletion is a generation of its own.
    json_patch::merge(&mut task, &json!({"metadata": {"deletionTimestamp": "2026-03-01T12:05:00Z", "generation": 3}}));
    let metadata =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": task["metadata"]});
    let script = vec![
        call("GET", "/tasks/look", Answer::Object(metadata.clone())),
        call("PATCH", "/tasks/look", Answer::Object(metadata)),
    ];
    world.pass(&task, script).await.result.unwrap();
    let changes = changes(&world).await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].0.id, "bob@example.org");
    assert!(world.row().await.deleted_at.is_some());
}

#[tokio::test]
async fn a_worker_is_ended_though_the_database_does_not_take_who_asked_for_it() {
    let world = World::with(|settings| settings.wait = Duration::from_millis(300)).await;
    let mut task = world.task(json!({}));
    let started = vec![call("POST", "/jobs", Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    world.pass(&task, started).await.result.unwrap();
    world.change(&mut task, &Principal::named("bob@example.org"), json!({"cancel": true}));
    let script = || {
        let job_ended = Answer::Object(job(1, json!({})));
        vec![call("DELETE", format!("/jobs/{}", job_name(1)), job_ended), call("PATCH", STATUS, Answer::Echo)]
    };
    let lock = world.lock().await;
    let pass = world.pass_with(&task, script(), |context| seen(context, 1, json!({}), running())).await;
    assert_eq!(pass.result.as_ref().unwrap_err().category(), "store");
    assert_eq!(pass.status()["reason"], "StoreUnavailable");
    lock.close().await.unwrap();
    let pass = world.pass_with(&task, script(), |context| seen(context, 1, json!({}), running())).await;
    pass.result.unwrap();
    assert_eq!(changes(&world).await.len(), 1);
}
