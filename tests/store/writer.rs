use std::time::Duration;

use jct::store::{AuditCheck, Store, StoreError, StoreSettings};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, new_task, row, start, with_key};

#[rstest]
#[tokio::test]
async fn many_writes_share_a_commit(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let writes = (0..500).map(|n| db.store.record_task(new_task(&format!("uid-{n}"))));
    futures::future::try_join_all(writes).await.unwrap();
    let stats = db.store.stats();
    assert_eq!((stats.requests, stats.audit_entries, stats.failures, stats.waiting), (500, 500, 0, 0));
    assert!(stats.commits < 100, "{stats:?}");
    assert!(matches!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { entries: 500, .. }));
}

#[rstest]
#[tokio::test]
async fn a_caller_who_leaves_cancels_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    for n in 0..50 {
        let write = db.store.record_task(new_task(&format!("uid-{n}")));
        // Polled once, so that it is handed over, and dropped.
        let _ = tokio::time::timeout(Duration::ZERO, write).await;
    }
    db.store.close().await;
    assert_eq!(db.rows().await, [50, 0, 0, 50]);
}

#[rstest]
#[tokio::test]
async fn closing_commits_what_waits_and_refuses_the_rest(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..300 {
        let store = db.store.clone();
        writes.spawn(async move { store.record_task(new_task(&format!("uid-{n}"))).await });
    }
    tokio::task::yield_now().await;
    db.store.close().await;
    let mut done = 0;
    while let Some(write) = writes.join_next().await {
        match write.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error, StoreError::Closed),
        }
    }
    assert_eq!(db.rows().await[0], done);
    assert_eq!(db.store.ping().await, Err(StoreError::Closed));
    db.store.close().await;
}

#[rstest]
#[tokio::test]
async fn a_ping_writes_and_leaves_no_trace(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.ping().await.unwrap();
    assert_eq!(db.rows().await, [0, 0, 0, 0]);
    assert_eq!(db.store.stats().commits, 1);
}

/// Who waits for a Task to be recorded is woken by the commit, and need not look again and again.
#[rstest]
#[tokio::test]
async fn a_commit_tells_of_the_tasks_that_it_records(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let mut committed = db.store.committed();
    let recorded = row(db.store.record_task(with_key("uid", "k")).await.unwrap());
    let news_of_commit = committed.try_recv().expect("told before whoever asked for it is answered");
    let other = new_task("other").id;
    assert!(news_of_commit.has_task(recorded.id) && !news_of_commit.has_task(other));
    assert!(
        news_of_commit.has_key("team", "k")
            && !news_of_commit.has_key("team", "l")
            && !news_of_commit.has_key("other", "k")
    );
    // What is there is no news, nor is what does not change a Task's being there.
    db.store.record_task(with_key("uid", "k")).await.unwrap();
    db.store.ping().await.unwrap();
    db.store.start_attempt(start(&recorded, 1)).await.unwrap();
    assert!(committed.try_recv().is_err());
}

#[tokio::test]
async fn a_record_in_memory_serves_tests() {
    let store = Store::open(&StoreSettings::new("sqlite::memory:".parse().unwrap())).await.unwrap();
    let recorded = row(store.record_task(new_task("a")).await.unwrap());
    assert_eq!(store.task(recorded.id).await.unwrap(), Some(recorded));
    let other = Store::open(&StoreSettings::new("sqlite::memory:".parse().unwrap())).await.unwrap();
    assert_eq!(other.audit(&Default::default()).await.unwrap(), []);
}
