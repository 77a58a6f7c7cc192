//! What limits on namespaces are counted by.

use std::collections::{BTreeMap, BTreeSet};

use jct::domain::cwom::Kind;
use jct::store::{Ending, Failure, FinishTask, NewTask, RecordDeleted};
use jiff::SignedDuration;
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, ada, at, new_task, row};
use crate::objects::{minimal, resource};
use crate::upgrade::written_before;

#[rstest]
#[tokio::test]
async fn open_are_those_of_which_something_may_run(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::of_export(backend, 4, &written_before()).await;
    let count = async |lost: &[&str]| {
        let lost: BTreeSet<String> = lost.iter().map(|uid| (*uid).into()).collect();
        db.store.open_by_namespace(&lost).await.unwrap()
    };
    // Pending, queued, running, and the first of two rows of one object: not the second.
    assert_eq!(count(&[]).await, BTreeMap::from([("team".to_owned(), 4)]));
    assert_eq!(count(&["queued", "completed", "nobody"]).await["team"], 3);
    assert_eq!(count(&["two rows", "queued", "running"]).await["team"], 1);
}

#[rstest]
#[tokio::test]
async fn what_was_recorded_counts_by_its_minute_whatever_became_of_it(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let later = at(1) + SignedDuration::from_mins(2);
    for (uid, recorded_at) in [("a", at(1)), ("b", at(1)), ("c", later)] {
        // Its work objects are part of it.
        row(store.record_task(NewTask { recorded_at, create_cwom: true, ..new_task(uid) }).await.unwrap());
    }
    let other = NewTask { namespace: "other".into(), recorded_at: later, ..new_task("d") };
    let ended = row(store.record_task(other).await.unwrap());
    let failure = Failure::new("Cancelled", "not needed");
    let finish = FinishTask { task_id: ended.id, ending: Ending::Cancelled, failure, actor: ada(), at: later };
    store.finish_task(finish).await.unwrap();
    store
        .record_deleted(RecordDeleted { id: ended.id, uid: ended.uid, actor: ada(), note: None, at: later })
        .await
        .unwrap();
    for (kind, name) in [(Kind::DoctrineRef, "tests"), (Kind::ConstraintSnapshot, "friday")] {
        store.put_object(resource(kind, name, minimal(kind))).await.unwrap();
    }
    let minute = |time: jiff::Timestamp| time.as_second() / 60;
    let sorted = async |since| {
        let mut found = store.recorded_by_minute(since).await.unwrap();
        found.sort();
        found
    };
    let (team, of_other) = ("team".to_owned(), ("other".to_owned(), minute(later), 1));
    let expected = [of_other.clone(), (team.clone(), minute(at(1)), 2 + 2), (team.clone(), minute(later), 1)];
    assert_eq!(sorted(at(-60)).await, expected);
    assert_eq!(sorted(at(2)).await, [of_other, (team, minute(later), 1)]);
}
