//! What the console keeps.

use jct::store::KeepSealed;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database};

fn sealed(id: &str, minutes: i64) -> KeepSealed {
    let ends_at = Timestamp::now() + SignedDuration::from_mins(minutes);
    KeepSealed { id: id.into(), sealed: format!("sealed {id}"), ends_at }
}

#[rstest]
#[tokio::test]
async fn what_is_sealed_is_there_until_its_end(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let now = Timestamp::now();
    db.store.keep_sealed(sealed("a", 60)).await.unwrap();
    assert_eq!(db.store.sealed("a", now).await.unwrap().as_deref(), Some("sealed a"));
    assert_eq!(db.store.sealed("b", now).await.unwrap(), None);
    assert_eq!(
        db.store.sealed("a", now + SignedDuration::from_mins(61)).await.unwrap(),
        None,
        "by the time, not a purge"
    );
    let rows = "SELECT COUNT(*) FROM console_sessions";
    db.store.keep_sealed(sealed("over", -1)).await.unwrap();
    db.store.keep_sealed(sealed("c", 60)).await.unwrap();
    assert_eq!(db.number(rows).await, 2, "what has ended is forgotten");
}

#[rstest]
#[tokio::test]
async fn of_all_who_end_one_at_once_one_is_told_so(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.keep_sealed(sealed("code", 60)).await.unwrap();
    let ended = futures::future::join_all((0..20).map(|_| db.store.end_sealed("code"))).await;
    assert_eq!(ended.into_iter().filter(|ended| *ended.as_ref().unwrap()).count(), 1);
    assert_eq!(db.store.sealed("code", Timestamp::now()).await.unwrap(), None);
}
