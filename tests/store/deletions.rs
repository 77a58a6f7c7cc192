use jct::domain::{DeletionNote, StampKey, StampKeys};
use jct::store::RecordDeleted;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, ada, at, new_task, row};

fn note(uid: &str, user: &str, vouched_for: bool, noted_at: Timestamp) -> DeletionNote {
    let keys = StampKeys::new(StampKey::from_slice(&[7; 32]).unwrap(), Vec::new(), None);
    DeletionNote::new(uid, "team", user, vouched_for, noted_at, &keys).unwrap()
}

fn ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

#[rstest]
#[tokio::test]
async fn who_asked_is_kept_until_the_deletion_is_recorded(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = row(db.store.record_task(new_task("a")).await.unwrap());
    let notes = [note(&task.uid, "ada", true, ago(1)), note(&task.uid, "eve", false, ago(2))];
    db.store.note_deletions(vec![notes[1].clone(), note("other", "eve", false, ago(1))]).await.unwrap();
    for _ in 0..2 {
        db.store.note_deletions(vec![notes[0].clone(), notes[0].clone()]).await.unwrap();
    }
    assert_eq!(db.store.deletion_notes(&task.uid).await.unwrap(), notes, "what is certain first");
    let before = db.rows().await;
    let deleted = RecordDeleted { id: task.id, uid: task.uid.clone(), actor: ada(), note: None, at: at(5) };
    db.store.record_deleted(deleted).await.unwrap();
    assert_eq!(db.rows().await[3], before[3] + 1);
    assert_eq!(db.store.deletion_notes(&task.uid).await.unwrap(), []);
    assert_eq!(db.store.deletion_notes("other").await.unwrap().len(), 1);
}

#[rstest]
#[tokio::test]
async fn notes_end_after_a_week_and_are_bounded(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store
        .note_deletions(vec![note("old", "ada", true, ago(169)), note("young", "ada", true, ago(167))])
        .await
        .unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM deletion_notes").await, 1);
    assert_eq!(db.store.deletion_notes("young").await.unwrap().len(), 1);
    // A flood of what nobody vouches for displaces its like alone.
    for n in 0..21 {
        let flood =
            |m: i64| note(&format!("{n}-{m}"), "forged", false, ago(1) + SignedDuration::from_millis(n * 1000 + m));
        db.store.note_deletions((0..1000).map(flood).collect()).await.unwrap();
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM deletion_notes WHERE vouched_for = 0").await, 20_000);
    assert_eq!(db.store.deletion_notes("0-7").await.unwrap(), []);
    assert_eq!(db.store.deletion_notes("young").await.unwrap().len(), 1);
}
