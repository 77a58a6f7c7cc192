//! How Tasks go, on both databases.

use jct::domain::Phase;
use jct::store::{Ending, Failure, FinishTask, NewTask, StatisticsQuery, TaskRow};
use jiff::SignedDuration;
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, ada, at, completed, end, new_task, row, running, start};

#[rstest]
#[tokio::test]
async fn what_ended_is_summed_up_by_time_reason_and_executor(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let store = &db.store;
    let record = async |uid: &str, namespace: &str| -> TaskRow {
        row(store.record_task(NewTask { namespace: namespace.into(), ..new_task(uid) }).await.unwrap())
    };
    let done = record("done", "team").await;
    store.start_attempt(start(&done, 1)).await.unwrap();
    store.mark_running(running(&done, 1)).await.unwrap();
    let done = store.finish_attempt(end(&done, 1, completed())).await.unwrap();
    for (uid, seconds, namespace) in [("late", 7_300, "team"), ("elsewhere", 7_300, "other")] {
        let task = record(uid, namespace).await;
        let failure = Failure::new("SourceFailed", "x");
        let finish = FinishTask { task_id: task.id, ending: Ending::Failed, failure, actor: ada(), at: at(seconds) };
        store.finish_task(finish).await.unwrap();
    }
    record("waits", "team").await;

    let query = |namespace: Option<&str>| StatisticsQuery {
        namespace: namespace.map(str::to_owned),
        since: at(0),
        until: at(10_000),
        bucket_seconds: 3_600,
    };
    let told = store.statistics(&query(Some("team"))).await.unwrap();
    assert_eq!(told.open.values().sum::<u64>(), 1);
    let ended: Vec<_> = told.ended.iter().map(|one| (one.bucket, one.phase, one.count, one.ran)).collect();
    assert_eq!(ended, [(0, Phase::Completed, 1, 1), (2, Phase::Failed, 1, 0)]);
    let ran = done.completed_at.unwrap().duration_since(done.started_at.unwrap());
    assert_eq!(SignedDuration::from_micros(told.ended[0].run_micros.1.try_into().unwrap()), ran);
    assert_eq!(told.failures.into_iter().collect::<Vec<_>>(), [("SourceFailed".to_owned(), 1)]);
    assert_eq!(told.executors.iter().map(|one| one.count).sum::<u64>(), 2);
    let all = store.statistics(&query(None)).await.unwrap();
    assert_eq!(all.failures["SourceFailed"], 2);
    let before = store.statistics(&StatisticsQuery { until: at(7_200), ..query(None) }).await.unwrap();
    assert_eq!((before.ended.len(), before.failures.len()), (1, 0), "what ended later is not told");
}
