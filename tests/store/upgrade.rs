//! Databases as earlier versions left them.
//!
//! `before/schema-4.jsonl.gz` is the export of a database that version wrote itself: Tasks in every phase, with and without work
//! objects, of several attempts, deleted, with their trace or their record removed by retention, two rows of one Task's object
//! and of one Issue's; custom resources of every kind; a denial.

use std::io::BufReader;
use std::process::Command;

use jct::domain::{Id, Phase};
use jct::store::{Database as Whole, NewTask, Page, Recording, TaskFilter, TraceGone};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, at, completed, created_at, end, new_task, row, running, start};
use crate::maintenance::anything;

/// A row of version 4 for the object `uid`, in `phase`.
fn insert(uid: &str, id: &str, phase: &str, recorded_at: i64, deleted_at: Option<i64>) -> String {
    let attempt = if phase == "pending" { 0 } else { 1 };
    let ended = if ["completed", "failed", "cancelled"].contains(&phase) { "7" } else { "NULL" };
    let deleted = deleted_at.map_or("NULL".into(), |at| at.to_string());
    let job = if attempt == 1 {
        format!(
            "INSERT INTO jobs (id, task_id, trace_id, attempt, job_name, status, created_at) \
             VALUES ('{}J{}', '{id}', 'trace-of-{uid}', 1, 'job', 'pending', 1);",
            &id[..20],
            &id[21..]
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
    // Nothing but that these rows were put there by hand.
    let (by_hand, others): (Vec<_>, Vec<_>) = check
        .problems
        .iter()
        .partition(|problem| problem.contains("no entry of the audit log says that it was created"));
    assert_eq!((by_hand.len(), others), (9 + 8, Vec::new()));
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

pub fn written_before() -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/before/schema-4.jsonl.gz");
    let unzipped = Command::new("gzip").arg("--decompress").arg("--stdout").arg(file).output().unwrap();
    assert!(unzipped.status.success());
    String::from_utf8(unzipped.stdout).unwrap()
}

#[rstest]
#[tokio::test]
async fn what_the_version_before_wrote_is_whole_and_goes_on(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::of_export(backend, 4, &written_before()).await;
    let found = db.check().await;
    assert_eq!(found.problems, [] as [&str; 0]);
    assert_eq!((found.rows["tasks"], found.rows["cwom_issues"]), (9, 8));
    assert!(found.rows["audit_log"] > 142, "the marks are told");
    let store = &db.store;
    let of = async |uid: &str| store.task_by_uid(uid).await.unwrap().unwrap();
    for phase in ["pending", "queued", "running", "completed", "failed", "cancelled"] {
        assert_eq!(of(phase).await.phase, Phase::parse(phase).unwrap());
    }
    assert_eq!(of("completed").await.task.inputs["patch"].as_str().unwrap().len(), 2100);
    assert_eq!(store.jobs(of("running").await.id).await.unwrap().len(), 2);
    assert!(store.removed(Id::derive(created_at(), "removed")).await.unwrap().is_some());

    // Each goes on from where it was.
    let queued = of("queued").await;
    store.mark_running(running(&queued, 1)).await.unwrap();
    store.finish_attempt(end(&queued, 1, completed())).await.unwrap();
    let second = of("running").await;
    store.finish_attempt(end(&second, 2, completed())).await.unwrap();
    let pending = of("pending").await;
    assert_eq!(
        (pending.attempt, pending.queued_at),
        (0, None),
        "recorded by a version that queued with the first attempt"
    );
    let queued = store.start_attempt(start(&pending, 1)).await.unwrap();
    assert_eq!((queued.phase, queued.queued_at), (Phase::Queued, Some(at(10))));
    let deleted = of("deleted").await;
    store.trace_gone(TraceGone { task_id: deleted.id, attempt: 1, at: at(300) }).await.unwrap();
    row(store.record_task(NewTask { create_cwom: true, ..new_task("new") }).await.unwrap());
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);

    // And to another database.
    let (mut out, mut whole) = (Vec::new(), Whole::open(&db.settings).await.unwrap());
    whole.export(&mut out, None).await.unwrap();
    whole.close().await;
    let copy = Database::fresh(Sqlite).await;
    let mut whole = Whole::open(&copy.settings).await.unwrap();
    whole.import(&mut BufReader::new(&out[..]), &anything()).await.unwrap();
    whole.close().await;
    assert_eq!(copy.check().await.problems, [] as [&str; 0]);
}

/// Of rows that the version before wrote, too.
#[rstest]
#[case::an_end("UPDATE tasks SET status = 'failed' WHERE uid = 'completed'", "status is not what")]
#[case::a_file("DELETE FROM artifacts WHERE uri LIKE '%report.md'", "they are not the files")]
#[case::an_object(
    "UPDATE cwom_issues SET spec = replace(spec, '\"title\":\"', '\"title\":\"Not ')",
    "title is not what"
)]
#[case::the_first_of_two(
    "UPDATE tasks SET duplicate_of = NULL, deleted_at = 5 WHERE duplicate_of IS NOT NULL",
    "duplicate_of is not what"
)]
#[case::another_first(
    "UPDATE tasks SET duplicate_of = (SELECT id FROM tasks WHERE uid = 'queued') WHERE duplicate_of IS NOT NULL",
    "duplicate_of is not what"
)]
#[case::one_of_two(
    "UPDATE tasks SET duplicate_of = (SELECT id FROM tasks WHERE uid = 'queued') WHERE uid = 'completed'",
    "duplicate_of is not what"
)]
#[case::counts_again(
    "UPDATE cwom_issues SET superseded_at = NULL, deleted_at = 5 WHERE superseded_at IS NOT NULL",
    "superseded_at is not what"
)]
#[case::another_time(
    "UPDATE cwom_issues SET superseded_at = superseded_at + 1 WHERE superseded_at IS NOT NULL",
    "superseded_at is not what"
)]
#[case::counts_no_more("UPDATE cwom_runs SET superseded_at = 1", "superseded_at is not what")]
#[tokio::test]
async fn what_was_changed_of_it_is_named(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    let db = Database::of_export(backend, 4, &written_before()).await;
    assert_eq!(db.check().await.problems, [] as [&str; 0], "a control");
    db.execute(sql).await.unwrap();
    // Not even a start makes it the truth.
    db.store.close().await;
    jct::store::Store::open(&db.settings).await.unwrap().close().await;
    let check = db.check().await;
    assert!(check.problems.iter().any(|problem| problem.contains(expected)), "{check:?}");
}

#[tokio::test]
async fn marks_are_told_once() {
    let db = Database::of_export(Sqlite, 4, &written_before()).await;
    let entries = db.rows().await[3];
    db.store.close().await;
    jct::store::Store::open(&db.settings).await.unwrap().close().await;
    assert_eq!(db.rows().await[3], entries);
    assert_eq!(entries, 142 + 2);
}
