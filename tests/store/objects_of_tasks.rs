//! Work objects of Tasks and Runs, on both databases.

use std::collections::BTreeMap;

use jct::domain::cwom::adapter::{Origin, run_id};
use jct::domain::cwom::{FailureCategory, Kind, Spec, Status};
use jct::store::{
    Ending, FailRun, Failure, FinishTask, NewTask, Next, ObjectField, ObjectFilter, ObjectRow, Page, PatchObject,
    Patched, Put, Store, TraceVisibility,
};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::harness::{Backend, Database, ada, at, audit, completed, end, new_task, row, running, start};

async fn of_kind(store: &Store, kind: Kind) -> Vec<ObjectRow> {
    let mut rows = store.objects(kind, &ObjectFilter::default(), Page::default()).await.unwrap();
    rows.sort_by_key(|row| (row.object.created_at, row.object.id));
    rows
}

fn statuses(rows: &[ObjectRow]) -> Vec<&'static str> {
    rows.iter().map(|row| row.object.spec.status().unwrap().as_str()).collect()
}

#[rstest]
#[tokio::test]
async fn a_task_makes_its_objects_and_they_follow(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let task = row(store.record_task(NewTask { create_cwom: true, ..new_task("a") }).await.unwrap());
    let ids = task.cwom_ids().unwrap();
    assert_eq!(task.cwom_issue_id, Some(ids.issue));
    for (kind, id) in [
        (Kind::Repo, ids.repo),
        (Kind::Issue, ids.issue),
        (Kind::ContextPacket, ids.context_packet),
        (Kind::ConstraintSnapshot, ids.constraint_snapshot),
    ] {
        let found = store.object(kind, id).await.unwrap().unwrap();
        assert_eq!((found.task_id, found.object.trace_id), (Some(task.id), task.trace_id.clone()), "{kind}");
    }
    let status = async || statuses(&[of_kind(store, Kind::Issue).await, of_kind(store, Kind::Run).await].concat());
    assert_eq!(status().await, ["ready"]);
    let task = store.start_attempt(start(&task, 1)).await.unwrap();
    assert_eq!(status().await, ["ready", "planned"]);
    let task = store.mark_running(running(&task, 1)).await.unwrap();
    assert_eq!(status().await, ["running", "running"]);
    let failure = Failure::new("ExecutorFailed", "exit code 1");
    let task = store.finish_attempt(end(&task, 1, Next::Retry(failure))).await.unwrap();
    assert_eq!(status().await, ["running", "failed"]);
    let task = store.start_attempt(start(&task, 2)).await.unwrap();
    store.mark_running(running(&task, 2)).await.unwrap();
    store.finish_attempt(end(&task, 2, completed())).await.unwrap();
    assert_eq!(status().await, ["done", "failed", "done"]);

    let runs = of_kind(store, Kind::Run).await;
    let origin = Origin { task_id: task.id, created_at: task.created_at, trace_id: &task.trace_id };
    assert_eq!(runs.iter().map(|row| row.object.id).collect::<Vec<_>>(), [run_id(&origin, 1), run_id(&origin, 2)]);
    let filter =
        ObjectFilter { fields: vec![(ObjectField::Run, runs[1].object.id.to_string())], ..ObjectFilter::default() };
    let artifacts = store.objects(Kind::Artifact, &filter, Page::default()).await.unwrap();
    assert_eq!(artifacts.len(), 1, "the report; not a copy of the Task");
    insta::assert_json_snapshot!("task", audit(store).await);
    let story: Vec<Value> = store
        .objects_of_trace(&task.trace_id, &TraceVisibility::Everything)
        .await
        .unwrap()
        .iter()
        .map(|row| row.object.to_json())
        .collect();
    insta::assert_json_snapshot!("story", story);

    // The next Task on the same repository uses its Repo; one that wants none makes none.
    let second = row(store.record_task(NewTask { create_cwom: true, ..new_task("b") }).await.unwrap());
    assert_eq!(second.cwom_ids().unwrap().repo, ids.repo);
    let third = row(store.record_task(new_task("c")).await.unwrap());
    assert_eq!(third.cwom_ids(), None);
    assert_eq!((of_kind(store, Kind::Repo).await.len(), of_kind(store, Kind::Issue).await.len()), (1, 2));
    // A custom resource takes over the Repo that the Task has made.
    let taken_over = recorded(store, resource(Kind::Repo, "api", minimal(Kind::Repo))).await;
    assert_eq!((taken_over.object.id, taken_over.origin.unwrap().name.as_str()), (ids.repo, "api"));
    let later =
        PatchObject { kind: Kind::Issue, id: ids.issue, change: json!({"status": "failed"}), actor: ada(), at: at(99) };
    assert_eq!(store.patch_object(later).await.unwrap(), Patched::OfTask(task.id));
}

#[rstest]
#[tokio::test]
async fn a_task_carries_out_a_run(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    for (kind, name) in [(Kind::Repo, "api"), (Kind::Issue, "greet"), (Kind::ContextPacket, "context")] {
        recorded(store, resource(kind, name, minimal(kind))).await;
    }
    let wanted = with(
        Kind::Run,
        json!({"mode": "agent", "inputs": {"contextPackets": [{"kind": "ContextPacket", "name": "context"}]}}),
    );
    let manifest = resource(Kind::Run, "try", wanted);
    let run = recorded(store, manifest.clone()).await.object.id;
    let task = row(store.record_task(NewTask { for_run: Some(run), ..new_task("a") }).await.unwrap());
    assert_eq!(task.cwom_run_id, Some(run));
    assert_eq!(task.cwom_ids(), None, "they are not the Task's");
    let second = row(store.record_task(NewTask { for_run: Some(run), ..new_task("b") }).await.unwrap());
    assert_eq!(second.cwom_run_id, None, "a Run is carried out once");

    let task = store.start_attempt(start(&task, 1)).await.unwrap();
    store.mark_running(running(&task, 1)).await.unwrap();
    let again = recorded(store, manifest.clone()).await;
    assert_eq!(again.object.spec.status(), Some(Status::Running), "the manifest's `planned` does not undo it");
    let failure = Failure::new("ExecutorFailed", "exit code 1");
    let task = store.finish_attempt(end(&task, 1, Next::Retry(failure))).await.unwrap();
    let task = store.start_attempt(start(&task, 2)).await.unwrap();
    store.finish_attempt(end(&task, 2, completed())).await.unwrap();
    let runs = of_kind(store, Kind::Run).await;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    statuses(&runs).into_iter().for_each(|status| *seen.entry(status).or_default() += 1);
    assert_eq!(seen, BTreeMap::from([("failed", 1), ("done", 1)]));
    for row in &runs {
        let Spec::Run(run) = &row.object.spec else { panic!() };
        assert_eq!((run.inputs.context_packets.len(), run.outputs.artifacts.len()), (1, 1), "{run:?}");
    }
    let issue = of_kind(store, Kind::Issue).await;
    assert_eq!(statuses(&issue), ["planned"], "its author says how it stands");
    insta::assert_json_snapshot!("run", audit(store).await);
}

#[rstest]
#[tokio::test]
async fn a_run_may_fail_before_it_is_a_task(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let rows = chain(store).await;
    let fail = |message: &str| FailRun {
        id: rows[5].object.id,
        category: FailureCategory::Policy,
        message: message.into(),
        actor: ada(),
        at: at(3),
    };
    let failed = store.fail_run(fail("REPO_NOT_ALLOWED: no")).await.unwrap().unwrap();
    assert_eq!(failed.object.spec.status(), Some(Status::Failed));
    assert_eq!(store.fail_run(fail("again")).await.unwrap().unwrap(), failed, "the first ending stays");
    let unknown = FailRun { id: rows[0].object.id, ..fail("x") };
    assert_eq!(store.fail_run(unknown).await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn a_run_that_has_ended_stays_so_whatever_its_manifest_says(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    for (kind, name) in [(Kind::Repo, "api"), (Kind::Issue, "greet")] {
        recorded(store, resource(kind, name, minimal(kind))).await;
    }
    let agents = |name: &str| resource(Kind::Run, name, with(Kind::Run, json!({"mode": "agent"})));
    let denied = recorded(store, agents("denied")).await.object.id;
    let message = "REPO_NOT_ALLOWED: no".to_owned();
    let fail = FailRun { id: denied, category: FailureCategory::Policy, message, actor: ada(), at: at(3) };
    let failed = store.fail_run(fail).await.unwrap().unwrap();
    let Put::Recorded { row: again, changed, .. } = store.put_object(agents("denied")).await.unwrap() else { panic!() };
    assert_eq!((*again, changed), (failed, false));

    let run = recorded(store, agents("try")).await.object.id;
    let task = row(store.record_task(NewTask { for_run: Some(run), ..new_task("a") }).await.unwrap());
    let failure = Failure::new("ExecutorNotConfigured", "there is none");
    let finish = FinishTask { task_id: task.id, ending: Ending::Failed, failure, actor: ada(), at: at(4) };
    store.finish_task(finish).await.unwrap();
    let ended = store.object(Kind::Run, run).await.unwrap().unwrap();
    let Spec::Run(spec) = &ended.object.spec else { panic!() };
    let failure = spec.failure.as_ref().unwrap();
    assert_eq!((spec.status, failure.category), (Status::Failed, FailureCategory::Dependency), "no attempt ran");
    assert_eq!(failure.message, "ExecutorNotConfigured: there is none");
    assert_eq!(recorded(store, agents("try")).await, ended);
}
