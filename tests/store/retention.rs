//! Retention: what the plan names, what goes, and what stays behind.

use jct::domain::audit::{Action, EntityKind};
use jct::domain::cwom::Kind;
use jct::domain::retention::Retention;
use jct::store::{
    AuditCheck, AuditQuery, Ending, Failure, FinishTask, NewTask, ObjectFilter, Page, Plan, RecordDeleted, Recording,
    RemoveRecord, RemoveTrace, Store, TaskRow, TraceGone,
};
use jiff::Timestamp;
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, ada, at, completed, end, new_task, row, start, with_key};

const RULES: &str = "{traces: [{outcome: completed, maxAge: 1h}, {outcome: cancelled, maxCount: 1}], \
                      records: [{outcome: completed, maxAge: 2h}, {outcome: cancelled, maxCount: 1}]}";

/// Hours after `at(0)`.
fn hours(hours: i64) -> Timestamp {
    at(hours * 3600)
}

async fn ended(store: &Store, new: NewTask) -> TaskRow {
    let task = row(store.record_task(new).await.unwrap());
    store.start_attempt(start(&task, 1)).await.unwrap();
    store.finish_attempt(end(&task, 1, completed())).await.unwrap()
}

async fn cancelled(store: &Store, uid: &str, seconds: i64) -> TaskRow {
    let task = row(store.record_task(new_task(uid)).await.unwrap());
    let failure = Failure::new("Cancelled", "not needed");
    let finish = FinishTask { task_id: task.id, ending: Ending::Cancelled, failure, actor: ada(), at: at(seconds) };
    store.finish_task(finish).await.unwrap()
}

async fn plan(store: &Store, now: Timestamp) -> Plan {
    store.plan(&Retention::read(RULES).unwrap(), now, 1000).await.unwrap()
}

fn of_trace(task: &TaskRow) -> RemoveTrace {
    RemoveTrace { task_id: task.id, attempt: 1, rule: "traces[0]".into(), at: at(100) }
}

fn of_record(task: &TaskRow) -> RemoveRecord {
    RemoveRecord { task_id: task.id, uid: task.uid.clone(), rule: "records[0]".into(), at: at(200) }
}

fn gone(task: &TaskRow) -> TraceGone {
    TraceGone { task_id: task.id, attempt: 1, at: at(101) }
}

async fn is_intact(store: &Store) -> bool {
    matches!(store.verify_audit().await.unwrap(), AuditCheck::Intact { .. })
}

#[rstest]
#[tokio::test]
async fn a_plan_names_what_the_rules_are_about_and_changes_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let done = ended(store, new_task("done")).await;
    let running = row(store.record_task(new_task("running")).await.unwrap());
    store.start_attempt(start(&running, 1)).await.unwrap();
    let old = cancelled(store, "old", 60).await;
    cancelled(store, "new", 61).await;
    let before = db.rows().await;

    assert!(plan(store, at(59)).await.traces.is_empty());
    let early = plan(store, hours(1) + jiff::SignedDuration::from_secs(30)).await;
    assert_eq!(early.records.iter().map(|record| record.task_id).collect::<Vec<_>>(), [old.id]);
    let found: Vec<_> = early.traces.iter().map(|trace| (trace.task_id, trace.attempt, trace.bytes)).collect();
    assert_eq!(found, [(done.id, 1, 24)]);
    assert_eq!((early.traces[0].limit, early.records[0].limit), ("maxAge", "maxCount"));
    assert!(early.traces[0].rule.starts_with("traces[0] (outcome completed, maxAge 1h"));

    let late = plan(store, hours(3)).await;
    let record = late.records.iter().find(|record| record.task_id == done.id).unwrap();
    assert_eq!((record.traces_left, record.object_deleted, late.held().contains(&done.id)), (1, false, false));
    let only = store.plan(&Retention::read(RULES).unwrap(), hours(3), 1).await.unwrap();
    assert_eq!((only.records.len(), only.records_left_out, only.traces_left_out), (1, 1, 0));
    assert_eq!(db.rows().await, before);
}

#[rstest]
#[tokio::test]
async fn a_removed_trace_stays_in_the_record(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let running = row(store.record_task(new_task("running")).await.unwrap());
    store.start_attempt(start(&running, 1)).await.unwrap();
    assert!(!store.remove_trace(of_trace(&running)).await.unwrap(), "it has not ended");
    let done = ended(store, new_task("done")).await;
    assert!(store.remove_trace(of_trace(&done)).await.unwrap());
    let rows = db.rows().await;
    // After a crash, or by a replica that led before.
    assert!(store.remove_trace(RemoveTrace { rule: "another".into(), ..of_trace(&done) }).await.unwrap());
    assert_eq!(db.rows().await, rows);

    let job = &store.jobs(done.id).await.unwrap()[0];
    assert_eq!((job.trace_removed_at, job.trace_removed_by.as_deref()), (Some(at(100)), Some("traces[0]")));
    assert!(job.manifest_sha256.is_some() && job.trace_path.is_some());
    let shown = store.task(done.id).await.unwrap().unwrap().to_json();
    assert_eq!(shown["trace_removed_at"], serde_json::json!(at(100)));
    assert_eq!(store.artifacts(done.id).await.unwrap().len(), 2);

    let unpurged = store.unpurged_traces(None).await.unwrap();
    assert_eq!(unpurged.iter().map(|left| (left.task_id, left.attempt)).collect::<Vec<_>>(), [(done.id, 1)]);
    assert!(store.unpurged_traces(Some(unpurged[0].job_id)).await.unwrap().is_empty());
    store.trace_gone(gone(&running)).await.unwrap();
    store.trace_gone(gone(&done)).await.unwrap();
    store.trace_gone(gone(&done)).await.unwrap();
    assert!(store.unpurged_traces(None).await.unwrap().is_empty());
    assert!(plan(store, hours(3)).await.traces.is_empty());

    let query = AuditQuery { entity_kind: Some(EntityKind::Trace), ..AuditQuery::default() };
    let entries = store.audit(&query).await.unwrap();
    let deleted: Vec<_> = entries.iter().filter(|entry| entry.action == Action::Deleted).collect();
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].entity_id, format!("team/{}/1", done.id));
    assert_eq!(deleted[0].after.as_ref().unwrap()["rule"], "traces[0]");
    assert!(is_intact(store).await);
}

#[rstest]
#[tokio::test]
async fn a_record_goes_after_its_traces_and_never_runs_again(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let new = NewTask { create_cwom: true, ..with_key("done", "key") };
    let done = ended(store, new.clone()).await;
    let deleted = RecordDeleted { id: done.id, uid: done.uid.clone(), actor: ada(), note: None, at: at(90) };
    store.record_deleted(deleted).await.unwrap();
    assert!(!store.remove_record(of_record(&done)).await.unwrap(), "its trace is there");
    store.remove_trace(of_trace(&done)).await.unwrap();
    assert!(!store.remove_record(of_record(&done)).await.unwrap(), "its folder may be there");
    store.trace_gone(gone(&done)).await.unwrap();
    assert!(!store.remove_record(RemoveRecord { uid: "restored".into(), ..of_record(&done) }).await.unwrap());
    let before = db.rows().await;
    assert!(store.remove_record(of_record(&done)).await.unwrap());
    assert!(!store.remove_record(of_record(&done)).await.unwrap());

    // The Task, and its Issue, ContextPacket, Run and Artifacts.
    let query = AuditQuery {
        action: Some(Action::Deleted),
        page: Page { limit: 9, ..Page::default() },
        ..AuditQuery::default()
    };
    let kinds: Vec<EntityKind> = store.audit(&query).await.unwrap().iter().map(|entry| entry.entity_kind).collect();
    for kind in [EntityKind::Task, EntityKind::Issue, EntityKind::ContextPacket, EntityKind::Run, EntityKind::Artifact]
    {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let [tasks, jobs, artifacts, entries] = db.rows().await;
    assert_eq!([tasks, jobs, artifacts], [0, 0, 0]);
    assert!(entries > before[3] && is_intact(store).await);
    let count = async |kind| store.objects(kind, &ObjectFilter::default(), Page::default()).await.unwrap().len();
    for kind in [Kind::Issue, Kind::ContextPacket, Kind::Run, Kind::Artifact] {
        assert_eq!(count(kind).await, 0, "{kind}");
    }
    assert_eq!((count(Kind::Repo).await, count(Kind::ConstraintSnapshot).await), (1, 1));

    // A cache that lags, or a backup, brings the object again; the key is free for another one.
    assert_eq!(store.record_task(new.clone()).await.unwrap(), Recording::Removed { at: at(200) });
    let restored = NewTask { uid: "other".into(), ..new };
    assert_eq!(store.record_task(restored).await.unwrap(), Recording::Removed { at: at(200) });
    assert!(matches!(store.record_task(with_key("next", "key")).await.unwrap(), Recording::Recorded(_)));
    assert_eq!(db.rows().await[0], 1);
}

#[rstest]
#[tokio::test]
async fn work_objects_that_others_refer_to_stay(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let done = ended(store, NewTask { create_cwom: true, ..new_task("done") }).await;
    store.remove_trace(of_trace(&done)).await.unwrap();
    store.trace_gone(gone(&done)).await.unwrap();
    let ids = done.cwom_ids().unwrap();
    // As another Task's Run on the Issue would be.
    db.execute(&format!(
        "INSERT INTO cwom_runs (id, trace_id, namespace, created_at, updated_at, recorded_at, names, spec, issue_id, repo_id, \
         status, mode) SELECT '00000000000000000000000000', trace_id, namespace, created_at, updated_at, recorded_at, names, \
         spec, issue_id, repo_id, status, mode FROM cwom_runs WHERE issue_id = '{}'",
        ids.issue
    ))
    .await
    .unwrap();
    assert!(store.remove_record(of_record(&done)).await.unwrap());
    assert!(store.task(done.id).await.unwrap().is_none());
    for (kind, id) in [(Kind::Issue, ids.issue), (Kind::ContextPacket, ids.context_packet)] {
        assert!(store.object(kind, id).await.unwrap().is_some(), "{kind}");
    }
    assert!(is_intact(store).await);
}

#[rstest]
#[tokio::test]
async fn many_removals_share_transactions(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let mut tasks = Vec::new();
    for number in 0..40 {
        tasks.push(cancelled(store, &format!("task-{number}"), number).await);
    }
    let before = store.stats().commits;
    let removed = futures::future::join_all(tasks.iter().map(|task| store.remove_record(of_record(task)))).await;
    assert!(removed.into_iter().all(|removed| removed.unwrap()));
    assert!(store.stats().commits - before < 40);
    assert_eq!(db.rows().await[0], 0);
}

/// Exit code, standard output and standard error of `jct retention plan`.
fn cli(db: &Database, rules: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = assert_cmd::Command::cargo_bin("jct").unwrap();
    command.env("DATABASE_URL", format!("sqlite://{}", db.file().display())).env_remove("JCT_RETENTION_FILE");
    command.args(["retention", "plan"]).args(arguments);
    let output = command.write_stdin(rules.to_owned()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_is_shown_while_the_operator_works_and_nothing_goes() {
    let db = Database::fresh(Sqlite).await;
    let done = ended(&db.store, new_task("done")).await;
    cancelled(&db.store, "cancelled", 60).await;
    let before = db.rows().await;

    let (code, out, _) = cli(&db, "", &[]);
    assert_eq!((code, out.as_str()), (0, "there is no rule: everything is kept\n"));
    let rules = "{traces: [{outcome: any, maxAge: 1h}], records: [{outcome: any, maxAge: 1h}]}";
    let (code, out, _) = cli(&db, rules, &["--file", "-"]);
    assert_eq!(code, 0);
    let trace =
        format!("trace   team/{}/1  done, completed, ended 2026-03-01T12:00:18Z, 24 bytes  by maxAge of", done.id);
    assert!(out.contains(&trace), "{out}");
    assert!(out.contains("if its object is gone") && !out.contains("not yet: "), "{out}");
    assert!(out.ends_with("1 traces of 24 bytes, 2 records, 0 of them not yet\n"), "{out}");

    let file = db.file().with_file_name("rules.yaml");
    std::fs::write(&file, "{traces: [{outcome: any, maxCount: 9}], records: [{outcome: any, maxAge: 1h}]}").unwrap();
    let (code, out, _) = cli(&db, "", &["--file", file.to_str().unwrap(), "--output", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, plan["traces"].as_array().unwrap().len(), plan["bytes"].as_u64()), (0, 0, Some(0)));
    let held = |name: &str| {
        let records = plan["records"].as_array().unwrap();
        records.iter().find(|record| record["name"] == name).unwrap()["held_by_traces"].as_bool().unwrap()
    };
    assert!(held("done") && !held("cancelled"));

    let (code, _, err) = cli(&db, "traces: [{outcome: any}]", &["--file", "-"]);
    assert!(code == 1 && err.contains("traces[0]: must have maxAge or maxCount"), "{err}");
    let (code, _, err) = cli(&db, "", &["--database-url", "sqlite:///does/not/exist.db"]);
    assert!(code == 1 && err.contains("cannot open the database"), "{err}");
    assert_eq!(db.rows().await, before);
}
