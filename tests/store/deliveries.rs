//! Deliveries: each begins with its attempt's end, waits for its review, and gets on as long as it is as it was.

use jct::domain::audit::EntityKind;
use jct::domain::delivery::{Delivery, DeliveryPhase};
use jct::domain::forge::Mode;
use jct::domain::review::{Decision, EXPIRY, Required};
use jct::domain::task::TaskDelivery;
use jct::store::{AttemptEnd, AuditQuery, ChangeDelivery, DeliveryFilter, NewTask, Page, Store};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, at, new_task, row, running, start};
use crate::reviews::{decide, required, succeeded};

fn wants(mode: Mode) -> TaskDelivery {
    TaskDelivery { mode, base: None, branch: None, title: None, draft: true, labels: Vec::new(), reviewers: Vec::new() }
}

/// A Task that has succeeded, and the delivery of what it made.
async fn done(store: &Store, name: &str, wanted: Option<TaskDelivery>, review: Option<Required>) -> Option<Delivery> {
    let recorded = row(store.record_task(NewTask { delivery: wanted, ..new_task(name) }).await.unwrap());
    store.start_attempt(start(&recorded, 1)).await.unwrap();
    store.mark_running(running(&recorded, 1)).await.unwrap();
    let ended = succeeded(&recorded, review);
    let (task, pack) = (&recorded.task, ended.evidence.as_deref().unwrap());
    let delivery = Delivery::of(task, recorded.delivery.as_ref(), pack, recorded.created_at).map(Box::new);
    let ended = AttemptEnd { delivery, ..ended };
    store.finish_attempt(ended.clone()).await.unwrap();
    // Again, as after a crash.
    store.finish_attempt(ended).await.unwrap();
    store.delivery_of(recorded.id).await.unwrap()
}

async fn due(store: &Store) -> Vec<Delivery> {
    store.due_deliveries(at(1000), 10).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn what_needs_no_review_is_due_at_once(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    assert_eq!(done(store, "a", None, None).await, None);
    assert_eq!(done(store, "b", Some(wants(Mode::None)), None).await, None);
    let delivery = done(store, "c", Some(wants(Mode::PullRequest)), None).await.unwrap();
    assert_eq!(
        (delivery.phase, delivery.mode, delivery.base.as_deref()),
        (DeliveryPhase::Pending, Mode::PullRequest, Some("main"))
    );
    assert_eq!((&*delivery.branch, &*delivery.commit), ("jct/x", &*"c".repeat(40)));
    assert_eq!(due(store).await, std::slice::from_ref(&delivery));
    assert!(store.due_deliveries(at(17), 10).await.unwrap().is_empty(), "not before its attempt's end");
    assert_eq!(store.delivery(delivery.id).await.unwrap(), Some(delivery));
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}

#[rstest]
#[case(Decision::Approved, "bob")]
#[case(Decision::Rejected, "bob")]
#[case(Decision::NeedsChanges, "bob")]
#[case(Decision::Rejected, EXPIRY)]
#[tokio::test]
async fn it_is_looked_at_once_its_review_is_decided(
    #[case] decision: Decision,
    #[case] by: &str,
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let delivery = done(store, "a", Some(wants(Mode::Branch)), Some(required(1))).await.unwrap();
    done(store, "other", Some(wants(Mode::Branch)), Some(required(1))).await.unwrap();
    assert_eq!((delivery.phase, due(store).await), (DeliveryPhase::AwaitingReview, vec![]));
    let pack = store.evidence_pack(delivery.evidence_pack).await.unwrap().unwrap();
    store.decide_review(decide(&pack, by, decision)).await.unwrap();
    assert_eq!(due(store).await, [delivery], "it alone, as it was: who looks sees what was decided");
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}

#[rstest]
#[tokio::test]
async fn of_two_who_change_it_one_does(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let before = done(store, "a", Some(wants(Mode::Branch)), None).await.unwrap();
    let begun = before.begun(at(40), jiff::SignedDuration::from_secs(60));
    let change = ChangeDelivery { before: before.clone(), after: begun.clone() };
    assert!(store.change_delivery(change.clone()).await.unwrap());
    let rows = db.rows().await;
    assert!(!store.change_delivery(change).await.unwrap(), "it is not as it was any more");
    assert_eq!(db.rows().await, rows);
    assert!(store.due_deliveries(at(99), 10).await.unwrap().is_empty());
    assert_eq!(store.due_deliveries(at(100), 10).await.unwrap(), std::slice::from_ref(&begun));

    // That it is looked at again later is written, and is no entry.
    let later = Delivery { due_at: Some(at(200)), ..begun.clone() };
    assert!(store.change_delivery(ChangeDelivery { before: begun, after: later.clone() }).await.unwrap());
    let pushed = later.pushed("d", at(210));
    assert!(store.change_delivery(ChangeDelivery { before: later, after: pushed.clone() }).await.unwrap());
    let of_it = AuditQuery { entity_id: Some(before.id.to_string()), ..AuditQuery::default() };
    let entries = store.audit(&of_it).await.unwrap();
    let told: Vec<_> = entries.iter().rev().map(|entry| (entry.entity_kind, entry.action.as_str())).collect();
    assert_eq!(told, ["created", "status_changed", "status_changed"].map(|action| (EntityKind::Delivery, action)));
    assert_eq!(entries[0].after.as_ref().unwrap()["delivered_commit"], "d");

    let of = |phase| DeliveryFilter {
        phase: Some(phase),
        namespace: Some(before.namespace.clone()),
        ..DeliveryFilter::default()
    };
    assert_eq!(store.deliveries(&of(DeliveryPhase::Delivered), Page::default()).await.unwrap(), [pushed]);
    assert!(store.deliveries(&of(DeliveryPhase::Pending), Page::default()).await.unwrap().is_empty());
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}
