//! Databases as earlier versions left them.

use jct::domain::Phase;
use jct::store::{Database as Whole, NewTask, Page, Recording, TaskFilter};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, new_task, row};

/// A row of version 4 for the object `uid`, in `phase`.
fn insert(uid: &str, id: &str, phase: &str, recorded_at: i64, deleted_at: Option<i64>) -> String {
    let attempt = if phase == "pending" { 0 } else { 1 };
    let ended = if ["completed", "failed", "cancelled"].contains(&phase) { "7" } else { "NULL" };
    let deleted = deleted_at.map_or("NULL".into(), |at| at.to_string());
    let job = if attempt == 1 {
        format!(
            "INSERT INTO jobs (id, task_id, trace_id, attempt, job_name, status, created_at) \
             VALUES ('J{}', '{id}', 'trace-of-{uid}', 1, 'job', 'pending', 1);",
            &id[1..]
        )
    } else {
        String::new()
    };
    format!(
        "INSERT INTO tasks (id, trace_id, namespace, name, uid, version, requested_by_kind, requested_by_id, objective, \
         operation, target_repo, target_ref, target_path, time_budget_seconds, allow_network, allow_secrets, inputs, \
         metadata, acceptance_criteria, evidence_requirements, max_attempts, create_cwom, status, attempt, created_at, \
         recorded_at, completed_at, deleted_at) \
         VALUES ('{id}', 'trace-of-{uid}', 'team', '{uid}', '{uid}', '1.0', 'human', 'ada', 'Look around', 'docs', \
         'acme/api', 'main', '', 900, NO, NO, '{{}}', '{{}}', '[]', '[]', 1, NO, '{phase}', {attempt}, 0, \
         {recorded_at}, {ended}, {deleted}); {job}"
    )
}

fn id(n: u32) -> String {
    format!("01KJMMA2G000000000000000{n:02}")
}

async fn upgraded(backend: Backend, rows: &[String]) -> Database {
    let no = if matches!(backend, Sqlite) { "0" } else { "FALSE" };
    Database::upgraded(backend, 4, &rows.join("\n").replace(", NO", &format!(", {no}"))).await
}

#[rstest]
#[tokio::test]
async fn every_row_of_the_version_before_is_there_and_goes_on(#[values(Sqlite, Postgres)] backend: Backend) {
    let phases = ["pending", "queued", "running", "completed", "failed", "cancelled"];
    let mut rows: Vec<String> = (0..).zip(phases).map(|(n, phase)| insert(phase, &id(n), phase, 5, None)).collect();
    rows.push(insert("gone", &id(10), "completed", 5, Some(9)));
    // Made twice, by a restore: its first record was closed.
    rows.push(insert("twice", &id(11), "cancelled", 5, Some(9)));
    rows.push(insert("twice", &id(12), "queued", 6, None));
    let db = upgraded(backend, &rows).await;
    for (n, phase) in (0..).zip(phases) {
        let found = db.store.task_by_uid(phase).await.unwrap().unwrap();
        assert_eq!((found.id.to_string(), found.phase), (id(n), Phase::parse(phase).unwrap()));
        assert_eq!((found.restored_by, found.adopted_by), (None, None));
    }
    assert_eq!(db.store.task_by_uid("twice").await.unwrap().unwrap().id.to_string(), id(12));
    let open = db.store.unfinished(None).await.unwrap();
    assert_eq!(open.len(), 4);
    assert!(open.iter().all(|open| !open.is_second));
    row(db.store.record_task(new_task("new")).await.unwrap());
    assert_eq!(db.store.tasks(&TaskFilter::default(), Page::default()).await.unwrap().len(), 10);
    db.store.close().await;
    let mut whole = Whole::open(&db.settings).await.unwrap();
    let check = whole.check().await.unwrap();
    let of_schema = check.problems.iter().filter(|problem| problem.contains("tasks")).collect::<Vec<_>>();
    assert!(of_schema.is_empty(), "{of_schema:?}");
    whole.close().await;
}

/// The pinned id of a living object was changed, twice: three rows, three Jobs.
#[rstest]
#[tokio::test]
async fn of_several_rows_of_an_object_the_first_stays_its_record(#[values(Sqlite, Postgres)] backend: Backend) {
    let rows = [
        insert("a", &id(3), "queued", 6, None),
        insert("a", &id(1), "running", 7, None),
        insert("a", &id(2), "queued", 6, None),
        insert("b", &id(4), "queued", 7, None),
        insert("a", &id(5), "failed", 1, Some(2)),
    ];
    let db = upgraded(backend, &rows).await;
    let first = db.store.task_by_uid("a").await.unwrap().unwrap();
    assert_eq!(first.id.to_string(), id(2), "the earliest; of those that are as early, the one with the least id");
    let mut open = db.store.unfinished(None).await.unwrap();
    open.sort_by_key(|open| open.id);
    let seconds: Vec<(String, bool)> = open.iter().map(|open| (open.id.to_string(), open.is_second)).collect();
    assert_eq!(seconds, [(id(1), true), (id(2), false), (id(3), true), (id(4), false)]);
    // Whatever id the object claims, also that of one of the others: it has its first record.
    let claims = NewTask { id: id(1).parse().unwrap(), ..new_task("a") };
    assert!(matches!(db.store.record_task(claims).await.unwrap(), Recording::Known(row) if row.id == first.id));
}
