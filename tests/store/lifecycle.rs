use jct::domain::cwom::{Kind, Status};
use jct::domain::{Actor, Phase};
use jct::store::{
    Conflict, Ending, Failure, FinishTask, JobStatus, MarkRunning, NewTask, Next, RecordDeleted, StartAttempt,
    StoreError, TaskRow,
};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, ada, at, audit, completed, end, new_task, row, running, start};

fn failure() -> Failure {
    Failure::new("ExecutorFailed", "exit code 1")
}

fn finish(row: &TaskRow, ending: Ending) -> FinishTask {
    let failure = Failure::new("Cancelled", "asked for");
    FinishTask { task_id: row.id, ending, failure, actor: ada(), at: at(50) }
}

async fn reason(call: impl Future<Output = Result<TaskRow, StoreError>>) -> Conflict {
    match call.await {
        Err(StoreError::Conflict { reason, .. }) => reason,
        other => panic!("no conflict: {other:?}"),
    }
}

#[rstest]
#[tokio::test]
async fn what_is_held_back_is_queued_when_it_is_let_go(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let held = NewTask { suspended: true, create_cwom: true, ..new_task("a") };
    let recorded = row(store.record_task(held).await.unwrap());
    assert_eq!((recorded.phase, recorded.queued_at), (Phase::Pending, None));
    let issue = async || {
        let found = store.object(Kind::Issue, recorded.cwom_issue_id.unwrap()).await.unwrap().unwrap();
        found.object.spec.status().unwrap()
    };
    assert_eq!(issue().await, Status::Planned);
    let queued = store.start_attempt(start(&recorded, 1)).await.unwrap();
    assert_eq!((queued.phase, queued.queued_at), (Phase::Queued, Some(at(10))));
    assert_eq!(issue().await, Status::Ready);
    store.close().await;
    assert_eq!(db.check().await.problems, [] as [&str; 0]);
}

#[rstest]
#[tokio::test]
async fn a_whole_life_with_every_write_twice(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let recorded = row(store.record_task(new_task("a")).await.unwrap());
    assert_eq!((recorded.phase, recorded.attempt, recorded.queued_at), (Phase::Queued, 0, Some(at(1))));

    macro_rules! twice {
        ($write:ident($request:expr)) => {{
            let request = $request;
            let first = store.$write(request.clone()).await.unwrap();
            let before = db.rows().await;
            assert_eq!(store.$write(request).await.unwrap(), first, "a repetition returns the row");
            assert_eq!(db.rows().await, before, "and writes nothing");
            assert_eq!(store.task(recorded.id).await.unwrap().as_ref(), Some(&first), "stored as returned");
            first
        }};
    }

    let queued = twice!(start_attempt(start(&recorded, 1)));
    assert_eq!((queued.phase, queued.attempt, queued.attempt_is_open()), (Phase::Queued, 1, true));
    assert_eq!(queued.queued_at, Some(at(1)), "free to run since it was recorded");
    let run = twice!(mark_running(running(&recorded, 1)));
    assert_eq!((run.phase, run.started_at, run.assigned_to.as_deref()), (Phase::Running, Some(at(12)), Some("pod-1")));
    let known = MarkRunning { commit: Some("abc".into()), worker_id: "pod-x".into(), ..running(&recorded, 1) };
    let run = twice!(mark_running(known));
    assert_eq!((run.commit.as_deref(), run.assigned_to.as_deref()), (Some("abc"), Some("pod-1")));
    let waits = twice!(finish_attempt(end(&recorded, 1, Next::Retry(failure()))));
    assert_eq!((waits.phase, waits.attempt_is_open(), &waits.error), (Phase::Running, false, &None));
    let queued = twice!(start_attempt(start(&recorded, 2)));
    assert_eq!((queued.phase, queued.attempt, queued.started_at), (Phase::Queued, 2, Some(at(12))));
    assert_eq!(queued.queued_at, Some(at(20)), "the second attempt, since it is due");
    // A quick attempt, whose running nobody saw.
    let done = twice!(finish_attempt(end(&recorded, 2, completed())));
    assert_eq!((done.phase, done.completed_at, done.trace_files), (Phase::Completed, Some(at(28)), Some(2)));
    assert_eq!(done.assigned_to.as_deref(), Some("pod-2"));
    let deleted = RecordDeleted { id: recorded.id, uid: "a".into(), actor: ada(), note: None, at: at(60) };
    let gone = store.record_deleted(deleted.clone()).await.unwrap();
    let before = db.rows().await;
    assert_eq!(store.record_deleted(deleted).await.unwrap(), gone);
    assert_eq!(db.rows().await, before);
    assert_eq!(gone.unwrap().deleted_at, Some(at(60)));

    let jobs = store.jobs(recorded.id).await.unwrap();
    let statuses: Vec<_> = jobs.iter().map(|job| (job.attempt, job.status, job.trace_complete)).collect();
    assert_eq!(statuses, [(1, JobStatus::Failed, Some(true)), (2, JobStatus::Completed, Some(true))]);
    assert_eq!((&jobs[0].error, jobs[0].commit.as_deref()), (&Some(failure()), Some("abc")));
    let artifacts = store.artifacts(recorded.id).await.unwrap();
    let uris: Vec<_> = artifacts.iter().map(|file| file.uri.replace(&recorded.id.to_string(), "ID")).collect();
    assert_eq!(
        uris,
        [
            "team/ID/1/artifacts/report.md",
            "team/ID/1/task.json",
            "team/ID/2/artifacts/report.md",
            "team/ID/2/task.json"
        ]
    );
    insta::assert_json_snapshot!("whole_life", audit(store).await);
}

#[rstest]
#[tokio::test]
async fn terminal_is_final(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let cancelled = Next::Cancelled { failure: Failure::new("Cancelled", "asked for"), actor: ada() };
    let outcomes = [
        (completed(), Phase::Completed),
        (Next::Failed(failure()), Phase::Failed),
        (cancelled.clone(), Phase::Cancelled),
    ];
    for (n, (next, phase)) in outcomes.into_iter().enumerate() {
        let recorded = row(store.record_task(new_task(&format!("uid-{n}"))).await.unwrap());
        store.start_attempt(start(&recorded, 1)).await.unwrap();
        let ended = store.finish_attempt(end(&recorded, 1, next)).await.unwrap();
        assert_eq!(ended.phase, phase);
        let before = db.rows().await;
        for late in [completed(), Next::Failed(failure()), Next::Retry(failure()), cancelled.clone()] {
            assert_eq!(store.finish_attempt(end(&recorded, 1, late)).await.unwrap(), ended);
        }
        assert_eq!(store.mark_running(running(&recorded, 1)).await.unwrap(), ended);
        for ending in [Ending::Failed, Ending::Cancelled] {
            assert_eq!(store.finish_task(finish(&recorded, ending)).await.unwrap(), ended);
        }
        for attempt in 0..4 {
            assert_eq!(reason(store.start_attempt(start(&recorded, attempt))).await, Conflict::Ended(phase));
        }
        assert_eq!(store.task(recorded.id).await.unwrap(), Some(ended));
        assert_eq!(db.rows().await, before);
    }
}

#[rstest]
#[tokio::test]
async fn attempts_come_one_after_the_other(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let recorded = row(store.record_task(new_task("a")).await.unwrap());
    let unstarted = Conflict::UnknownAttempt(1);
    assert_eq!(reason(store.mark_running(running(&recorded, 1))).await, unstarted);
    assert_eq!(reason(store.finish_attempt(end(&recorded, 1, completed()))).await, unstarted);
    for asked in [0, 2, 3] {
        assert_eq!(reason(store.start_attempt(start(&recorded, asked))).await, Conflict::NotNext { current: 0, asked });
    }
    store.start_attempt(start(&recorded, 1)).await.unwrap();
    assert_eq!(reason(store.start_attempt(start(&recorded, 2))).await, Conflict::AttemptOpen(1));
    store.finish_attempt(end(&recorded, 1, Next::Retry(failure()))).await.unwrap();
    assert_eq!(
        reason(store.start_attempt(start(&recorded, 1))).await,
        Conflict::AttemptEnded(1),
        "a Job never runs again"
    );
    let second = store.start_attempt(start(&recorded, 2)).await.unwrap();
    assert_eq!(store.mark_running(running(&recorded, 1)).await.unwrap(), second, "late news change nothing");
    assert_eq!(store.finish_attempt(end(&recorded, 1, completed())).await.unwrap(), second);
    let exhausted = Conflict::AttemptsUsed(2);
    assert_eq!(reason(store.finish_attempt(end(&recorded, 2, Next::Retry(failure())))).await, exhausted);
    assert_eq!(store.task(recorded.id).await.unwrap(), Some(second));
}

#[rstest]
#[tokio::test]
async fn no_attempt_is_left_after_the_last_one(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let recorded = row(store.record_task(new_task("a")).await.unwrap());
    store.start_attempt(start(&recorded, 1)).await.unwrap();
    store.finish_attempt(end(&recorded, 1, Next::Retry(failure()))).await.unwrap();
    db.execute("UPDATE tasks SET max_attempts = 1").await.unwrap();
    assert_eq!(reason(store.start_attempt(start(&recorded, 2))).await, Conflict::AttemptsUsed(1));
}

#[rstest]
#[tokio::test]
async fn a_task_can_end_without_an_attempt(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let pending = row(store.record_task(new_task("a")).await.unwrap());
    let ended = store.finish_task(finish(&pending, Ending::Cancelled)).await.unwrap();
    assert_eq!((ended.phase, ended.completed_at, ended.attempt), (Phase::Cancelled, Some(at(50)), 0));
    let before = db.rows().await;
    assert_eq!(store.finish_task(finish(&pending, Ending::Failed)).await.unwrap(), ended);
    assert_eq!(db.rows().await, before);

    let open = row(store.record_task(new_task("b")).await.unwrap());
    store.start_attempt(start(&open, 1)).await.unwrap();
    let ended = store.finish_task(finish(&open, Ending::Failed)).await.unwrap();
    assert_eq!((ended.phase, ended.attempt_ended_at), (Phase::Failed, Some(at(50))));
    assert_eq!(store.jobs(open.id).await.unwrap()[0].status, JobStatus::Failed, "no attempt stays open");
    insta::assert_json_snapshot!("ended_without_an_attempt", audit(store).await);
}

#[rstest]
#[tokio::test]
async fn what_is_not_recorded_is_unknown(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let stranger = row(Database::fresh(backend).await.store.record_task(new_task("a")).await.unwrap());
    let unknown = StoreError::UnknownTask(stranger.id);
    assert_eq!(store.start_attempt(start(&stranger, 1)).await.unwrap_err(), unknown);
    assert_eq!(store.mark_running(running(&stranger, 1)).await.unwrap_err(), unknown);
    assert_eq!(store.finish_attempt(end(&stranger, 1, completed())).await.unwrap_err(), unknown);
    assert_eq!(store.finish_task(finish(&stranger, Ending::Failed)).await.unwrap_err(), unknown);
    let deleted = RecordDeleted { id: stranger.id, uid: "a".into(), actor: Actor::controller(), note: None, at: at(0) };
    assert_eq!(store.record_deleted(deleted).await.unwrap(), None);
    assert_eq!(db.rows().await, [0, 0, 0, 0]);
}

#[rstest]
#[tokio::test]
async fn a_change_and_its_entries_are_one(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let first = row(store.record_task(new_task("a")).await.unwrap());
    let second = row(store.record_task(new_task("b")).await.unwrap());
    store.start_attempt(start(&first, 1)).await.unwrap();
    let before = (db.rows().await, audit(store).await);
    // The attempt's row is in the way of another one: the write fails half-way.
    let colliding = StartAttempt { job_id: start(&first, 1).job_id, ..start(&second, 1) };
    assert_eq!(store.start_attempt(colliding.clone()).await.unwrap_err().category(), "internal");
    assert_eq!((db.rows().await, audit(store).await), before);
    assert_eq!(store.task(second.id).await.unwrap().as_ref(), Some(&second));

    // In a batch with others, it does not spoil them.
    let others = (0..20).map(|n| store.record_task(new_task(&format!("uid-{n}"))));
    let (failed, others) = futures::join!(store.start_attempt(colliding), futures::future::join_all(others));
    assert!(failed.is_err() && others.iter().all(Result::is_ok));
    assert_eq!(db.rows().await, [22, 1, 0, before.0[3] + 20]);
}

#[rstest]
#[tokio::test]
async fn a_row_that_nobody_wrote_is_named(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let odd = row(store.record_task(new_task("a")).await.unwrap());
    let fine = row(store.record_task(new_task("b")).await.unwrap());
    for damage in ["status = 'odd'", "attempt = -1", "inputs = '{'", "target_repo = 'nowhere'", "trace_id = ''"] {
        db.execute(&format!("UPDATE tasks SET {damage} WHERE uid = 'a'")).await.unwrap();
        let errors = [
            store.task(odd.id).await.unwrap_err(),
            store.start_attempt(start(&odd, 1)).await.unwrap_err(),
            store.record_task(new_task("a")).await.unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(&error, StoreError::Corrupt { table: "tasks", id, .. } if *id == odd.id.to_string()),
                "{damage}: {error:?}"
            );
        }
        db.execute(
            "UPDATE tasks SET status = 'pending', attempt = 0, inputs = '{}', target_repo = 'a/b', trace_id = '12345678'",
        )
        .await
        .unwrap();
    }
    assert!(store.start_attempt(start(&fine, 1)).await.is_ok());
}
