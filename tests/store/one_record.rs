//! One object, one id, one record; and what becomes of objects that show more than the record knows.

use jct::domain::{Actor, ActorKind, Phase, Task};
use jct::store::{
    AdoptEnd, AuditCheck, Ending, Failure, FinishTask, JobStatus, NewTask, RecordDeleted, Recording, RunAgain, Shown,
    StartAttempt, Store, TaskRow,
};
use rstest::rstest;
use serde_json::json;

use crate::harness::{
    Backend, Backend::*, Database, ada, at, audit, completed, end, new_task, object, row, running, start, task,
    with_key,
};

fn eve() -> Actor {
    Actor { kind: ActorKind::Human, id: "eve@example.org".into() }
}

/// The log, replayed, gives the rows.
async fn is_sound(db: &Database) {
    db.store.close().await;
    let check = db.check().await;
    assert!(check.problems.is_empty(), "{:?}", check.problems);
}

async fn delete(store: &Store, row: &TaskRow) {
    let deleted = RecordDeleted { id: row.id, uid: row.uid.clone(), actor: ada(), note: None, at: at(50) };
    store.record_deleted(deleted).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn an_object_that_claims_another_id_has_the_record_that_it_has(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(new_task("a")).await.unwrap());
    store.start_attempt(start(&first, 1)).await.unwrap();
    let before = db.rows().await;
    for other in ["b", "c"] {
        let claimed = NewTask { id: new_task(other).id, ..new_task("a") };
        assert_eq!(row(store.record_task(claimed).await.unwrap()).id, first.id);
    }
    assert_eq!(db.rows().await, before);
    assert_eq!(store.task_by_uid("a").await.unwrap().unwrap().id, first.id);
    assert_eq!(store.task_by_uid("b").await.unwrap(), None);
}

/// Large parts of a row are stored apart from it.
#[rstest]
#[tokio::test]
async fn a_large_task_is_found_whole(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let large = || NewTask {
        task: Task { inputs: object(json!({"text": "x".repeat(9_000)})), ..with_key("a", "k").task },
        ..new_task("a")
    };
    let first = row(store.record_task(large()).await.unwrap());
    assert_eq!(first.task, large().task);
    assert_eq!(store.task_by_uid("a").await.unwrap().as_ref(), Some(&first));
    assert_eq!(row(store.record_task(large()).await.unwrap()), first);
    let again = NewTask { id: first.id, name: "a".into(), uid: "a2".into(), ..large() };
    assert_eq!(row(store.record_task(again).await.unwrap()).task, first.task);
    let second = NewTask { id: new_task("b").id, name: "b".into(), uid: "b".into(), ..large() };
    assert!(matches!(store.record_task(second).await.unwrap(), Recording::Duplicate { .. }));
}

#[rstest]
#[tokio::test]
async fn claims_of_other_ids_at_once_make_one_row(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    // Of two operators, where there can be two.
    let other = match backend {
        Postgres => Some(Store::open(&db.settings).await.unwrap()),
        Sqlite => None,
    };
    let stores: Vec<&Store> = [&db.store].into_iter().chain(&other).collect();
    let calls = (0..60).map(|n| {
        let claimed = NewTask { id: new_task(&format!("id-{n}")).id, ..new_task("a") };
        stores[n % stores.len()].record_task(claimed)
    });
    let recorded = futures::future::try_join_all(calls).await.unwrap();
    let ids: std::collections::BTreeSet<_> = recorded.into_iter().map(|recording| row(recording).id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(db.rows().await, [1, 0, 0, 1]);
}

#[rstest]
#[tokio::test]
async fn the_database_itself_has_one_live_row_for_a_uid(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    row(db.store.record_task(new_task("a")).await.unwrap());
    let second = row(db.store.record_task(new_task("b")).await.unwrap());
    let take = "UPDATE tasks SET uid = 'a' WHERE uid = 'b'";
    let refused = db.execute(take).await.unwrap_err().to_string();
    assert!(refused.to_lowercase().contains("unique"), "{refused}");
    delete(&db.store, &second).await;
    db.execute(take).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn only_the_same_task_is_restored(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(new_task("a")).await.unwrap());
    let restored = || NewTask { id: first.id, name: "a".into(), ..new_task("a2") };
    let before = db.rows().await;
    let others = [
        NewTask { task: Task { objective: "Something else".into(), ..task() }, ..restored() },
        NewTask { task: Task { inputs: object(json!({"commands": [["true"]]})), ..task() }, ..restored() },
        NewTask { executor: Some("other".into()), ..restored() },
        NewTask { max_attempts: 9, ..restored() },
        NewTask { create_cwom: true, ..restored() },
    ];
    for other in others {
        let met = store.record_task(other).await.unwrap();
        assert!(matches!(&met, Recording::IdTaken { by } if by.id == first.id), "{met:?}");
    }
    assert_eq!(db.rows().await, before);
    assert_eq!(store.task(first.id).await.unwrap().as_ref(), Some(&first));

    let known = row(store.record_task(restored()).await.unwrap());
    assert_eq!((known.id, known.uid.as_str(), known.restored_by.as_deref()), (first.id, "a2", None));
}

#[rstest]
#[tokio::test]
async fn who_restores_the_task_of_another_is_noted(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(new_task("a")).await.unwrap());
    let by_eve =
        NewTask { id: first.id, name: "a".into(), submitted_by: Some(eve().id), actor: eve(), ..new_task("a2") };
    let known = row(store.record_task(by_eve).await.unwrap());
    assert_eq!(store.task(first.id).await.unwrap().as_ref(), Some(&known), "stored as returned");
    assert_eq!((known.submitted_by, known.restored_by), (Some(ada().id), Some(eve().id)));
    assert_eq!(store.task(first.id).await.unwrap().unwrap().to_json()["restored_by"], "eve@example.org");
    let reported = audit(store).await;
    let entry = reported.as_array().unwrap().last().unwrap();
    assert_eq!((&entry["actor_id"], &entry["after"]["restored_by"]), (&json!(eve().id), &json!(eve().id)));
    assert!(entry["note"].as_str().unwrap().contains("ada@example.org had submitted"), "{entry}");
    // By somebody of whom no webhook tells.
    let unverified = Actor::unverified();
    let nobody = NewTask { id: first.id, name: "a".into(), submitted_by: None, actor: unverified, ..new_task("a3") };
    assert_eq!(row(store.record_task(nobody).await.unwrap()).restored_by.as_deref(), Some("unverified"));
    // And by its own submitter again.
    let by_ada = NewTask { id: first.id, name: "a".into(), ..new_task("a4") };
    assert_eq!(row(store.record_task(by_ada).await.unwrap()).restored_by, None);
    is_sound(&db).await;
}

/// After etcd was restored from a snapshot.
#[rstest]
#[tokio::test]
async fn an_object_that_is_back_with_its_uid_has_its_record_again(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(new_task("a")).await.unwrap());
    delete(store, &first).await;
    assert!(store.task_by_uid("a").await.unwrap().unwrap().deleted_at.is_some());
    let back = row(store.record_task(new_task("a")).await.unwrap());
    assert_eq!((back.id, back.deleted_at), (first.id, None));
    let before = db.rows().await;
    assert_eq!(row(store.record_task(new_task("a")).await.unwrap()), back);
    assert_eq!(db.rows().await, before);
    is_sound(&db).await;
}

#[rstest]
#[tokio::test]
async fn a_key_is_used_for_one_task_whatever_became_of_it(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(with_key("a", "k")).await.unwrap());
    let other = || NewTask {
        task: Task { objective: "Something else".into(), ..with_key("b", "k").task },
        ..with_key("b", "k")
    };
    let executor = || NewTask { executor: Some("other".into()), ..with_key("b", "k") };
    let check = async || {
        let before = db.rows().await;
        assert_eq!(store.record_task(other()).await.unwrap(), Recording::KeyReused);
        assert_eq!(store.record_task(executor()).await.unwrap(), Recording::KeyReused);
        let same = store.record_task(with_key("b", "k")).await.unwrap();
        assert!(matches!(&same, Recording::Duplicate { first: met } if met.id == first.id), "{same:?}");
        assert_eq!(db.rows().await, before);
    };
    check().await;
    store.start_attempt(start(&first, 1)).await.unwrap();
    store.finish_attempt(end(&first, 1, completed())).await.unwrap();
    check().await;
    delete(store, &first).await;
    check().await;
    let elsewhere = NewTask { namespace: "other".into(), ..other() };
    assert!(matches!(store.record_task(elsewhere).await.unwrap(), Recording::Recorded(_)));
}

const ENDED: Shown = Shown { has_ended: true, by_itself: true, attempt: 1, runs: false };

#[rstest]
#[tokio::test]
async fn an_object_that_shows_more_than_the_record_knows_is_not_recorded(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let lost = [
        ENDED,
        Shown { by_itself: false, ..ENDED },
        Shown { attempt: 0, ..ENDED },
        Shown { attempt: 2, ..Shown::default() },
        Shown { attempt: u32::MAX, runs: true, ..Shown::default() },
    ];
    for shown in lost {
        assert_eq!(store.record_task(NewTask { shown, ..new_task("a") }).await.unwrap(), Recording::Lost, "{shown:?}");
    }
    assert_eq!(db.rows().await, [0; 4]);
    // Its first attempt was started, and is gone on with.
    let begun = Shown { attempt: 1, runs: true, ..Shown::default() };
    assert!(matches!(
        store.record_task(NewTask { shown: begun, ..new_task("b") }).await.unwrap(),
        Recording::Recorded(_)
    ));
    // Another one has taken its key, or the id is another one's: it has ended by itself all the same.
    row(store.record_task(with_key("c", "k")).await.unwrap());
    let taken = NewTask { shown: ENDED, ..with_key("d", "k") };
    assert_eq!(store.record_task(taken.clone()).await.unwrap(), Recording::Lost);
    let copy = NewTask { shown: Shown { by_itself: false, ..ENDED }, ..taken };
    assert!(matches!(store.record_task(copy).await.unwrap(), Recording::Duplicate { .. }));
}

fn adopt(row: &TaskRow, phase: Phase, attempt: u32) -> AdoptEnd {
    let StartAttempt { job_id, job_name, .. } = start(row, attempt);
    AdoptEnd {
        task_id: row.id,
        phase,
        failure: (phase != Phase::Completed).then(|| Failure::new("ExecutorFailed", "it said no")),
        attempt,
        job_id,
        job_name: (attempt > 0).then_some(job_name),
        commit: Some("c0ffee".into()),
        trace_path: (attempt > 0).then(|| format!("team/{}/{attempt}", row.id)),
        manifest_sha256: (attempt > 0).then(|| "cd".repeat(32)),
        trace_files: Some(2),
        queued_at: Some(at(3)),
        started_at: Some(at(4)),
        completed_at: at(9),
        by: Actor::unverified(),
        claims: "root@example.org".into(),
    }
}

#[rstest]
#[tokio::test]
async fn an_end_that_is_adopted_was_not_queued_after_it(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    for (uid, recorded_at, queued_at) in [("anew", at(99), None), ("before", at(1), Some(at(1)))] {
        let task = row(db.store.record_task(NewTask { recorded_at, ..new_task(uid) }).await.unwrap());
        let end = AdoptEnd { queued_at: None, ..adopt(&task, Phase::Failed, 0) };
        assert_eq!(db.store.adopt_end(end).await.unwrap().queued_at, queued_at, "{uid}");
    }
    is_sound(&db).await;
}

#[rstest]
#[tokio::test]
async fn an_adopted_end_is_one_like_any_other_and_marked(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let task = row(store.record_task(NewTask { create_cwom: true, ..new_task("a") }).await.unwrap());
    let adopted = store.adopt_end(adopt(&task, Phase::Completed, 2)).await.unwrap();
    assert_eq!(store.task(task.id).await.unwrap().as_ref(), Some(&adopted), "stored as returned");
    assert_eq!((adopted.phase, adopted.attempt, adopted.completed_at), (Phase::Completed, 2, Some(at(9))));
    assert_eq!(adopted.adopted_by.as_deref(), Some("root@example.org (unverified: as the status says)"));
    let jobs = store.jobs(task.id).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].attempt, jobs[0].status), (1, 2, JobStatus::Completed));
    assert_eq!(jobs[0].manifest_sha256, adopted.manifest_sha256);
    let before = db.rows().await;
    let again = AdoptEnd { phase: Phase::Failed, ..adopt(&task, Phase::Failed, 2) };
    assert_eq!(store.adopt_end(again).await.unwrap(), adopted, "the first end stays");
    assert_eq!(db.rows().await, before);
    let reported = audit(store).await;
    let end = reported.as_array().unwrap().iter().find(|entry| entry["after"]["adopted_by"].is_string()).unwrap();
    assert_eq!((&end["actor_id"], &end["action"]), (&json!("unverified"), &json!("status_changed")));
    assert!(end["note"].as_str().unwrap().contains("taken over from the status"), "{end}");
    assert!(matches!(store.verify_audit().await.unwrap(), AuditCheck::Intact { .. }));
    is_sound(&db).await;
}

#[rstest]
#[tokio::test]
async fn an_end_before_the_first_attempt_can_be_adopted(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let task = row(db.store.record_task(new_task("a")).await.unwrap());
    let adopted = db.store.adopt_end(adopt(&task, Phase::Cancelled, 0)).await.unwrap();
    assert_eq!((adopted.phase, adopted.attempt, adopted.attempt_ended_at), (Phase::Cancelled, 0, None));
    assert_eq!(db.store.jobs(task.id).await.unwrap(), []);
}

/// A backup from while the first attempt ran; the second one was the last.
#[rstest]
#[tokio::test]
async fn what_an_older_record_has_as_open_is_closed(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let open = async |uid: &str| {
        let task = row(store.record_task(new_task(uid)).await.unwrap());
        store.start_attempt(start(&task, 1)).await.unwrap();
        store.mark_running(running(&task, 1)).await.unwrap();
        task
    };
    let task = open("a").await;
    store.adopt_end(adopt(&task, Phase::Failed, 2)).await.unwrap();
    let jobs = store.jobs(task.id).await.unwrap();
    let reasons: Vec<&str> = jobs.iter().map(|job| job.error.as_ref().unwrap().reason.as_str()).collect();
    assert_eq!(reasons, ["RecordLost", "ExecutorFailed"]);

    let same = open("b").await;
    let adopted = store.adopt_end(adopt(&same, Phase::Completed, 1)).await.unwrap();
    let jobs = store.jobs(same.id).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].status, jobs[0].worker_id.as_deref()), (1, JobStatus::Completed, Some("pod-1")));
    assert_eq!(adopted.phase, Phase::Completed);

    let again = open("c").await;
    let after = store
        .run_again(RunAgain { task_id: again.id, after: 2, by: Actor::unverified(), claims: "root".into(), at: at(60) })
        .await
        .unwrap();
    assert!(!after.attempt_is_open());
    assert_eq!(store.jobs(again.id).await.unwrap()[0].error.as_ref().unwrap().reason, "RecordLost");
    store.start_attempt(start(&again, 3)).await.unwrap();
    assert!(matches!(store.verify_audit().await.unwrap(), AuditCheck::Intact { .. }));
    is_sound(&db).await;
}

#[rstest]
#[tokio::test]
async fn a_task_that_runs_again_begins_after_what_it_shows(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let task = row(store.record_task(new_task("a")).await.unwrap());
    let again = RunAgain { task_id: task.id, after: 3, by: Actor::unverified(), claims: "root".into(), at: at(60) };
    let first = store.run_again(again.clone()).await.unwrap();
    assert_eq!((first.attempt, first.attempt_is_open(), first.phase), (3, false, Phase::Queued));
    assert_eq!(first.allowed_attempts(), 5, "what ran before does not count");
    let before = db.rows().await;
    assert_eq!(store.run_again(again.clone()).await.unwrap(), first, "a repetition changes nothing");
    store.start_attempt(start(&task, 3)).await.unwrap_err();
    let started = store.start_attempt(start(&task, 4)).await.unwrap();
    assert_eq!(store.run_again(again.clone()).await.unwrap(), started, "nor one that comes late");
    store.finish_attempt(end(&task, 4, completed())).await.unwrap();
    assert_eq!(store.run_again(again).await.unwrap().phase, Phase::Completed, "an end never changes");
    assert!(db.rows().await[3] > before[3]);
    let finish = FinishTask {
        task_id: task.id,
        ending: Ending::Failed,
        failure: Failure::new("x", ""),
        actor: ada(),
        at: at(99),
    };
    assert_eq!(store.finish_task(finish).await.unwrap().phase, Phase::Completed);
    is_sound(&db).await;
}
