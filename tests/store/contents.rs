//! Large parts of rows are stored once, and everybody who reads rows sees them whole.

use std::io::BufReader;

use jct::domain::Task;
use jct::domain::cwom::adapter::{IssueView, issue_to_task};
use jct::domain::cwom::{Kind, Spec};
use jct::domain::id::sha256_hex;
use jct::store::{Database as Whole, Ending, Failure, FinishTask, NewTask, PutObject, RemoveRecord, Store, TaskRow};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Backend, Backend::*, Database, ada, at, audit, new_task, object, row, task};
use crate::objects::{recorded, resource, with};

/// A Task of the greatest size, that makes work objects.
fn greatest(uid: &str, fill: &str) -> NewTask {
    let inputs = object(json!({"data": fill.repeat(255 * 1024 / fill.len())}));
    let metadata = object(json!({"data": fill.repeat(63 * 1024 / fill.len()), "of": uid}));
    NewTask { create_cwom: true, task: Task { inputs, metadata, ..task() }, ..new_task(uid) }
}

async fn contents(db: &Database) -> (i64, i64) {
    (
        db.number("SELECT COUNT(*) FROM contents").await,
        db.number("SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM contents").await,
    )
}

/// The Task that its work objects tell of.
async fn told_by_objects(store: &Store, row: &TaskRow) -> Task {
    let ids = row.cwom_ids().unwrap();
    macro_rules! read {
        ($kind:ident, $id:expr) => {
            match store.object(Kind::$kind, $id).await.unwrap().unwrap().object.spec {
                Spec::$kind(spec) => *spec,
                other => panic!("{other:?}"),
            }
        };
    }
    let (repo, issue) = (read!(Repo, ids.repo), read!(Issue, ids.issue));
    let packet = read!(ContextPacket, ids.context_packet);
    let snapshot = read!(ConstraintSnapshot, ids.constraint_snapshot);
    let view = IssueView {
        made_by_jct: jct::domain::cwom::adapter::MadeByJct::ALL,
        repo: &repo,
        issue: &issue,
        context_packet: Some(&packet),
        constraint_snapshot: Some(&snapshot),
        requester: None,
    };
    issue_to_task(&view).unwrap()
}

#[rstest]
#[tokio::test]
async fn large_inputs_are_stored_once_and_read_whole(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let (first, second) = (greatest("a", "ab"), greatest("b", "ab"));
    let rows =
        [row(store.record_task(first.clone()).await.unwrap()), row(store.record_task(second.clone()).await.unwrap())];
    for (new, row) in [&first, &second].into_iter().zip(&rows) {
        let read = store.task(row.id).await.unwrap().unwrap();
        assert_eq!((&read, &read.task), (row, &new.task));
        assert_eq!(told_by_objects(store, row).await, new.task);
    }
    // The inputs once for both, and the metadata, which differ, once for each with its Issue.
    let (count, bytes) = contents(&db).await;
    assert_eq!(count, 3);
    assert!(bytes < (256 + 2 * 64) * 1024, "{bytes}");

    // The log has the digest, and so proves what it was.
    let log = audit(store).await;
    let sha256 = sha256_hex(Value::Object(first.task.inputs.clone()).to_string().as_bytes());
    let created = log.as_array().unwrap().iter().filter(|entry| entry["action"] == "created");
    let of = |kind: &str| created.clone().find(|entry| entry["entity_kind"] == kind).unwrap();
    assert_eq!(of("Task")["after"]["contents"]["/inputs"]["sha256"], json!(sha256));
    assert_eq!(of("Task")["after"]["objective"], json!(first.task.objective));
    // What is made of it by a digest of the whole.
    for kind in ["ContextPacket", "Issue"] {
        let reported = &of(kind)["after"];
        assert_eq!(
            (&reported["made_for"], reported["state_sha256"].as_str().unwrap().len()),
            (&json!(rows[0].id), 64),
            "{reported}"
        );
    }
    assert!(log.to_string().len() < 20_000, "{} bytes", log.to_string().len());
}

#[rstest]
#[tokio::test]
async fn a_content_that_was_changed_is_no_content(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = row(db.store.record_task(greatest("a", "ab")).await.unwrap());
    db.execute("UPDATE contents SET body = REPLACE(body, 'ab', 'ac')").await.unwrap();
    assert_eq!(db.store.task(task.id).await.unwrap_err().category(), "corrupt");
    let mut database = Whole::open(&db.settings).await.unwrap();
    let problems = database.check().await.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("the body was changed")), "{problems:?}");
}

#[rstest]
#[tokio::test]
async fn retention_removes_what_nobody_else_has(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let mut rows = Vec::new();
    for uid in ["a", "b"] {
        let task = row(store.record_task(greatest(uid, "ab")).await.unwrap());
        let failure = Failure::new("Cancelled", "not needed");
        let finish = FinishTask { task_id: task.id, ending: Ending::Cancelled, failure, actor: ada(), at: at(5) };
        rows.push(store.finish_task(finish).await.unwrap());
    }
    let remove = |row: &TaskRow| {
        store.remove_record(RemoveRecord { task_id: row.id, uid: row.uid.clone(), rule: "r".into(), at: at(9) })
    };
    assert!(remove(&rows[0]).await.unwrap());
    assert_eq!(contents(&db).await.0, 2, "the inputs are the other's too");
    assert_eq!(store.task(rows[1].id).await.unwrap().as_ref(), Some(&rows[1]));
    assert!(remove(&rows[1]).await.unwrap());
    assert_eq!(contents(&db).await, (0, 0));
    assert_eq!(db.number("SELECT COUNT(*) FROM content_refs").await, 0);
}

#[rstest]
#[tokio::test]
async fn rows_of_an_earlier_version_are_read_as_they_are(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let new = greatest("a", "ab");
    let before = row(db.store.record_task(new.clone()).await.unwrap());
    // As they were written then.
    let inputs = Value::Object(new.task.inputs.clone()).to_string();
    db.execute(&format!("UPDATE tasks SET inputs = '{inputs}'")).await.unwrap();
    assert_eq!(db.store.task(before.id).await.unwrap(), Some(before));
}

#[rstest]
#[case(Sqlite, Postgres)]
#[case(Postgres, Sqlite)]
#[tokio::test]
async fn contents_move_with_the_record(#[case] here: Backend, #[case] there: Backend) {
    let (first, second) = (Database::fresh(here).await, Database::fresh(there).await);
    let task = row(first.store.record_task(greatest("a", "ab")).await.unwrap());
    let mut export = Vec::new();
    Whole::open(&first.settings).await.unwrap().export(&mut export, None).await.unwrap();
    second.store.close().await;
    let mut database = Whole::open(&second.settings).await.unwrap();
    database.import(&mut BufReader::new(export.as_slice()), &crate::maintenance::anything()).await.unwrap();
    assert_eq!(database.check().await.unwrap().problems, [""; 0]);
    let store = Store::open(&second.settings).await.unwrap();
    assert_eq!(store.task(task.id).await.unwrap().as_ref(), Some(&task));
    assert_eq!(told_by_objects(&store, &task).await, task.task);
}

#[rstest]
#[tokio::test]
async fn an_edit_keeps_what_the_log_tells_of(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let repo = |fill: &str| with(Kind::Repo, json!({"meta": {"x": fill.repeat(3000)}}));
    let put = |fill: &str| PutObject { spec_sha256: Some(fill.into()), ..resource(Kind::Repo, "api", repo(fill)) };
    recorded(store, put("a")).await;
    let edited = recorded(store, put("b")).await;
    assert_eq!(store.object(Kind::Repo, edited.object.id).await.unwrap().unwrap().object, edited.object);
    assert_eq!(contents(&db).await.0, 2);
    let log = audit(store).await;
    let last = log.as_array().unwrap().last().unwrap();
    let digest = |side: &str| last[side]["contents"]["/meta"]["sha256"].as_str().unwrap().to_owned();
    assert_ne!(digest("before"), digest("after"));
    // Read again with the same digest, nothing is written.
    let entries = log.as_array().unwrap().len();
    recorded(store, put("b")).await;
    assert_eq!(audit(store).await.as_array().unwrap().len(), entries);
}
