//! What the record of a Task takes, and gives back.

use jct::store::{NewTask, RecordDeleted, RemoveRecord, RemoveTrace, Store, StoreSettings, TraceGone};
use sqlx::{Connection, SqliteConnection};

use crate::harness::{
    Backend::Postgres, Backend::Sqlite, Database, ada, at, completed, end, new_task, row, running, start,
};

/// Tasks that are recorded, run and completed, each with its work objects.
async fn lives(store: &Store, tasks: std::ops::Range<usize>) {
    let one = async |n: usize| {
        let new = NewTask { create_cwom: true, ..new_task(&format!("uid-{n}")) };
        let recorded = row(store.record_task(new).await.unwrap());
        store.start_attempt(start(&recorded, 1)).await.unwrap();
        store.mark_running(running(&recorded, 1)).await.unwrap();
        store.finish_attempt(end(&recorded, 1, completed())).await.unwrap();
    };
    futures::future::join_all(tasks.map(one)).await;
}

async fn pages(db: &Database) -> (i64, i64) {
    let mut conn = SqliteConnection::connect(db.url()).await.unwrap();
    let sql = "SELECT page_count * page_size, freelist_count * page_size \
               FROM pragma_page_count, pragma_page_size, pragma_freelist_count";
    sqlx::query_as(sql).fetch_one(&mut conn).await.unwrap()
}

/// A little more than it is: whoever adds to it says so here.
#[tokio::test]
async fn the_record_of_a_task_is_small() {
    let db = Database::fresh(Sqlite).await;
    lives(&db.store, 0..50).await;
    let (before, _) = pages(&db).await;
    lives(&db.store, 50..250).await;
    let (after, _) = pages(&db).await;
    let each = (after - before) / 200;
    assert!((1..17_600).contains(&each), "{each} bytes for each Task");
}

#[tokio::test]
async fn what_retention_frees_is_given_back() {
    let db = Database::fresh(Sqlite).await;
    lives(&db.store, 0..120).await;
    let (full, _) = pages(&db).await;
    for n in 0..100 {
        let task = db.store.task_by_uid(&format!("uid-{n}")).await.unwrap().unwrap();
        let (task_id, uid) = (task.id, task.uid.clone());
        db.store
            .record_deleted(RecordDeleted { id: task_id, uid: uid.clone(), actor: ada(), note: None, at: at(99) })
            .await
            .unwrap();
        let rule = || "records[0]".to_owned();
        db.store.remove_trace(RemoveTrace { task_id, attempt: 1, rule: rule(), at: at(100) }).await.unwrap();
        db.store.trace_gone(TraceGone { task_id, attempt: 1, at: at(101) }).await.unwrap();
        assert!(db.store.remove_record(RemoveRecord { task_id, uid, rule: rule(), at: at(200) }).await.unwrap());
    }
    let (left, free) = pages(&db).await;
    // Entries of the audit log stay, and there are some more.
    assert!(left < full, "{left} of {full} bytes are left");
    assert!(free < full / 20, "{free} bytes are free and not given back");
}

/// A file of the version before gives nothing back by itself.
#[tokio::test]
async fn a_file_that_was_made_before_is_compacted_by_a_command() {
    let db = Database::of_export(Sqlite, 4, &crate::upgrade::written_before()).await;
    lives(&db.store, 0..100).await;
    db.store.close().await;
    db.execute("CREATE TABLE much (text TEXT); INSERT INTO much SELECT hex(randomblob(500000)); DROP TABLE much")
        .await
        .unwrap();
    let (before, free) = pages(&db).await;
    assert!(free > 900_000, "a control: {free}");
    let mut whole = jct::store::Database::open(&db.settings).await.unwrap();
    let (reported, compacted) = whole.compact().await.unwrap();
    let check = whole.check().await.unwrap();
    whole.close().await;
    assert_eq!(reported, before.unsigned_abs());
    assert!(compacted < reported - 900_000, "{compacted} of {reported}");
    assert_eq!(check.problems, [] as [&str; 0]);
    assert_eq!(db.number("SELECT auto_vacuum FROM pragma_auto_vacuum").await, 2, "and gives back from now on");
    Store::open(&StoreSettings::new(db.url().parse().unwrap())).await.unwrap().close().await;
}

/// The bytes of tables and indexes; the free space that vacuums leave is counted.
async fn pages_of_postgres(db: &Database) -> i64 {
    db.number(
        "SELECT SUM(pg_total_relation_size(oid))::bigint FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace",
    )
    .await
}

/// Of Tasks of which many are on their way at once. `layout` changes the tables first.
async fn each_on_postgres(layout: &str) -> i64 {
    let db = Database::fresh(Postgres).await;
    db.execute(layout).await.unwrap();
    lives(&db.store, 0..100).await;
    let before = pages_of_postgres(&db).await;
    for hundred in 1..4 {
        lives(&db.store, hundred * 100..(hundred + 1) * 100).await;
    }
    (pages_of_postgres(&db).await - before) / 300
}

#[tokio::test]
async fn the_record_of_a_task_is_small_on_postgres_too() {
    let each = each_on_postgres("SELECT 1").await;
    // The control: pages and indexes as they were.
    let before = "ALTER TABLE tasks RESET (fillfactor); ALTER TABLE jobs RESET (fillfactor); \
                  ALTER TABLE cwom_issues RESET (fillfactor); ALTER TABLE cwom_runs RESET (fillfactor); \
                  DROP INDEX audit_log_ts; CREATE INDEX audit_log_ts ON audit_log (ts)";
    let before = each_on_postgres(before).await;
    println!("{each} bytes for each Task, {before} before");
    assert!((1..23_000).contains(&each) && each * 100 < before * 97, "{each} bytes for each Task, {before} before");
}
