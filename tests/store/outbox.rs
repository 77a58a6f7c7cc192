//! What receivers of notifications are to be told.

use std::sync::Arc;

use jct::domain::notification::{EventType, Notifications};
use jct::domain::{Code, Finding, Phase};
use jct::store::{Ending, Failure, FinishTask, Next, Refusal, Store, TaskRow, Waiting};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Backend, Backend::*, Database, ada, at, completed, end, new_task, row, start};
use crate::maintenance::{export, import};

const KEY: &str = "url: 'https://a.example', signingKey: {secret: s, key: k}";

fn receivers(yaml: &[&str]) -> Arc<Notifications> {
    let receivers: Vec<_> = yaml.iter().map(|receiver| format!("{{{receiver}, {KEY}}}")).collect();
    Arc::new(Notifications::read(&format!("receivers: [{}]", receivers.join(", "))).unwrap())
}

async fn waiting(store: &Store, receiver: &str) -> Vec<Waiting> {
    store.waiting_notifications(receiver, None, 100).await.unwrap()
}

async fn started(store: &Store, uid: &str) -> TaskRow {
    let task = row(store.record_task(new_task(uid)).await.unwrap());
    store.start_attempt(start(&task, 1)).await.unwrap()
}

fn timeout() -> Failure {
    Failure::new("Timeout", "it took too long")
}

#[rstest]
#[tokio::test]
async fn the_end_of_a_task_is_written_for_those_who_want_it_and_nothing_before(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    store.set_notifications(receivers(&[
        "name: all",
        "name: failures, outcomes: [failed]",
        "name: others, namespaces: [other]",
    ]));
    let mut written = store.notifications_written();
    let task = started(store, "a").await;
    store.finish_attempt(end(&task, 1, Next::Retry(timeout()))).await.unwrap();
    assert!(waiting(store, "all").await.is_empty() && !written.has_changed().unwrap(), "a retry is no end");
    store.start_attempt(start(&task, 2)).await.unwrap();
    store.finish_attempt(end(&task, 2, completed())).await.unwrap();
    assert!(written.has_changed().unwrap());
    let told = waiting(store, "all").await;
    assert_eq!(told.len(), 1);
    let event = &told[0].event;
    assert_eq!(
        (event.kind, event.namespace.as_str(), event.subject.as_str()),
        (EventType::TaskCompleted, "team", "tasks/a")
    );
    assert_eq!((&event.data["task_id"], &event.data["attempts"]), (&json!(task.id), &json!(2)));
    assert_eq!((&event.data["summary"], &event.data["title"]), (&json!("done"), &json!("Describe the public API")));
    assert!(waiting(store, "failures").await.is_empty() && waiting(store, "others").await.is_empty());
    // The same again, by a replica that did not hear of it.
    written.borrow_and_update();
    store.finish_attempt(end(&task, 2, completed())).await.unwrap();
    assert!(!written.has_changed().unwrap());

    let failed = started(store, "b").await;
    let finish =
        FinishTask { task_id: failed.id, ending: Ending::Failed, failure: timeout(), actor: ada(), at: at(60) };
    store.finish_task(finish).await.unwrap();
    let [found] = <[Waiting; 1]>::try_from(waiting(store, "failures").await).unwrap();
    assert_eq!((found.event.kind, &found.event.data["reason"]), (EventType::TaskFailed, &json!("Timeout")));
    assert_eq!(waiting(store, "all").await.len(), 2);

    store.settle_notification("all", told[0].event.id).await.unwrap();
    assert_eq!(waiting(store, "all").await.iter().map(|left| left.event.id).collect::<Vec<_>>(), [found.event.id]);
    assert_eq!(store.notified_receivers().await.unwrap(), ["all", "failures"]);
    store.forget_receiver("all").await.unwrap();
    assert!(waiting(store, "all").await.is_empty());
    assert_eq!(waiting(store, "failures").await.len(), 1, "of others nothing goes");
}

#[rstest]
#[tokio::test]
async fn a_task_that_is_refused_has_ended_too(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.set_notifications(receivers(&["name: all", "name: docs, operations: [docs]"]));
    let new = new_task("a");
    let refusal = Refusal {
        id: new.id,
        trace_id: new.trace_id,
        namespace: new.namespace,
        name: new.name,
        uid: new.uid,
        actor: ada(),
        findings: vec![Finding::new(Code::RepoNotAllowed, "spec.target.repo", "it is none of ours")],
        spec_sha256: "ab".repeat(32),
        refused_at: at(1),
    };
    for _ in 0..2 {
        db.store.record_refusal(refusal.clone()).await.unwrap();
    }
    let [told] = <[Waiting; 1]>::try_from(waiting(&db.store, "all").await).unwrap();
    assert_eq!(
        (told.event.kind.outcome(), &told.event.data["reason"]),
        (Some(Phase::Failed), &json!("REPO_NOT_ALLOWED"))
    );
    assert!(waiting(&db.store, "docs").await.is_empty(), "nobody knows what it would have been");
}

#[rstest]
#[tokio::test]
async fn nothing_is_written_where_nobody_is_to_be_told(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = started(&db.store, "a").await;
    db.store.finish_attempt(end(&task, 1, completed())).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM outbox").await, 0);
}

/// With the end or not at all: what can't be written down for receivers has not happened.
#[rstest]
#[tokio::test]
async fn an_end_and_its_event_are_one_transaction(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    store.set_notifications(receivers(&["name: all"]));
    let task = started(store, "a").await;
    db.execute("ALTER TABLE outbox RENAME TO outbox_away").await.unwrap();
    store.finish_attempt(end(&task, 1, completed())).await.unwrap_err();
    assert!(!store.task(task.id).await.unwrap().unwrap().phase.is_terminal());
    db.execute("ALTER TABLE outbox_away RENAME TO outbox").await.unwrap();
    store.finish_attempt(end(&task, 1, completed())).await.unwrap();
    assert_eq!(waiting(store, "all").await.len(), 1);
}

/// Who moves to another database in between loses nothing of it.
#[rstest]
#[tokio::test]
async fn what_is_to_be_told_is_exported_and_imported(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(Sqlite).await;
    db.store.set_notifications(receivers(&["name: all"]));
    let task = started(&db.store, "a").await;
    db.store.finish_attempt(end(&task, 1, completed())).await.unwrap();
    let told = waiting(&db.store, "all").await;
    let other = Database::fresh(backend).await;
    import(&other, &export(&db).await).await.unwrap();
    assert_eq!(waiting(&other.store, "all").await, told);
}

#[rstest]
#[tokio::test]
async fn pages_are_in_the_order_of_ends(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    store.set_notifications(receivers(&["name: all"]));
    for number in 0..7 {
        let task = row(store.record_task(new_task(&format!("t{number}"))).await.unwrap());
        let at = at(100 - number);
        let finish = FinishTask { task_id: task.id, ending: Ending::Cancelled, failure: timeout(), actor: ada(), at };
        store.finish_task(finish).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.waiting_notifications("all", after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.event.id);
        seen.extend(page.into_iter().map(|waiting| waiting.event.time));
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted());
}
