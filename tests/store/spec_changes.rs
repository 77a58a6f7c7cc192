//! Changes of a Task's spec in the audit log.

use jct::domain::{Actor, SpecChange};
use jct::store::{NewTask, NoteSpecChanges, Recording, Store, TaskRow};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Backend, Backend::*, Database, at, audit, new_task, row};

fn change(generation: i64, by: &str, suspend: bool) -> SpecChange {
    SpecChange { generation, by: Some(by.into()), at: Some(at(generation)), suspend: Some(suspend), cancel: None }
}

fn noted(row: &TaskRow, changes: Vec<SpecChange>) -> NoteSpecChanges {
    NoteSpecChanges { task_id: row.id, uid: row.uid.clone(), changes, since_sealed: false }
}

/// Who is said to have changed the spec, and from which generation to which.
async fn reported(store: &Store) -> Vec<(String, i64, i64)> {
    let entries = audit(store).await;
    let changed = |entry: &Value| {
        let generation = |of: &str| entry[of]["spec_generation"].as_i64();
        Some((entry["actor_id"].as_str()?.to_owned(), generation("before")?, generation("after")?))
    };
    entries
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["note"].to_string().contains("spec"))
        .filter_map(changed)
        .collect()
}

fn entry(by: &str, before: i64, after: i64) -> (String, i64, i64) {
    (by.into(), before, after)
}

#[rstest]
#[tokio::test]
async fn each_change_is_told_once_whoever_tells_it(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let recorded = row(db.store.record_task(new_task("a")).await.unwrap());
    // Another replica, where there can be one.
    let other = if matches!(backend, Postgres) { Store::open(&db.settings).await.unwrap() } else { db.store.clone() };
    let first = noted(&recorded, vec![change(2, "bob", false), change(3, "eve", true)]);
    let (one, two) = tokio::join!(db.store.note_spec_changes(first.clone()), other.note_spec_changes(first.clone()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.spec_generation, &one), (3, &two));
    assert_eq!(db.store.task(recorded.id).await.unwrap().as_ref(), Some(&one), "stored as returned");
    let before = db.rows().await;
    assert_eq!(db.store.note_spec_changes(first).await.unwrap(), one);
    assert_eq!(db.rows().await, before, "a repetition writes nothing");
    // The annotation keeps the last ones: those that are known are passed over.
    let more = noted(&recorded, vec![change(3, "eve", true), change(4, "bob", false)]);
    db.store.note_spec_changes(more).await.unwrap();
    assert_eq!(reported(&db.store).await, [entry("bob", 0, 2), entry("eve", 2, 3), entry("bob", 3, 4)]);
    let entries = audit(&db.store).await;
    let last = entries.as_array().unwrap().last().unwrap();
    assert_eq!((&last["before"]["suspend"], &last["after"]["suspend"]), (&json!(true), &json!(false)));
    // No other object's changes.
    let of_another = NoteSpecChanges { uid: "b".into(), ..noted(&recorded, vec![change(9, "mallory", true)]) };
    db.store.note_spec_changes(of_another).await.unwrap();
    assert_eq!(reported(&db.store).await.len(), 3);
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
    for forged in [0, 9] {
        db.execute(&format!("UPDATE tasks SET spec_generation = {forged}")).await.unwrap();
        let problems = db.check().await.problems;
        assert!(problems.iter().any(|problem| problem.contains("spec_generation is not what")), "{problems:?}");
    }
}

#[rstest]
#[tokio::test]
async fn what_nobody_saw_is_told_as_that(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let recorded = row(db.store.record_task(new_task("a")).await.unwrap());
    let changes = vec![change(5, "bob", true), SpecChange::unseen(6), change(9, "eve", false)];
    db.store.note_spec_changes(noted(&recorded, changes)).await.unwrap();
    let unknown = Actor::unknown().id;
    let expected =
        [entry(&unknown, 0, 4), entry("bob", 4, 5), entry(&unknown, 5, 6), entry(&unknown, 6, 8), entry("eve", 8, 9)];
    assert_eq!(reported(&db.store).await, expected);
    // Of an object of the version before, what came before the first seal is no news; what comes after it is.
    let older = row(db.store.record_task(new_task("b")).await.unwrap());
    let sealed =
        |generation| NoteSpecChanges { since_sealed: true, ..noted(&older, vec![change(generation, "zoe", true)]) };
    db.store.note_spec_changes(sealed(4)).await.unwrap();
    db.store.note_spec_changes(sealed(6)).await.unwrap();
    let of_older = [entry("zoe", 0, 4), entry(&unknown, 4, 5), entry("zoe", 5, 6)];
    assert_eq!(reported(&db.store).await[expected.len()..], of_older);
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}

#[rstest]
#[tokio::test]
async fn a_restored_object_counts_its_generations_anew(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let first = row(db.store.record_task(new_task("a")).await.unwrap());
    db.store.note_spec_changes(noted(&first, vec![change(2, "bob", true), change(3, "bob", false)])).await.unwrap();
    let again = NewTask { id: first.id, name: first.name.clone(), ..new_task("another") };
    let Recording::Known(restored) = db.store.record_task(again).await.unwrap() else { panic!("not restored") };
    assert_eq!((restored.uid.as_str(), restored.spec_generation), ("another", 0));
    db.store.note_spec_changes(noted(&restored, vec![change(2, "eve", true)])).await.unwrap();
    assert_eq!(reported(&db.store).await.last().unwrap(), &entry("eve", 0, 2));
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}
