//! How many audit entries a second become durable on SQLite, through the store's public interface: each Task is recorded,
//! queued, started and completed, by many callers at once. `cargo bench --bench store`.

use std::time::Instant;

use jct::domain::task::{Constraints, Operation, Repo, RequestedBy, Target};
use jct::domain::{Actor, ActorKind, Id, Task, TraceId};
use jct::store::{AttemptEnd, AuditCheck, MarkRunning, NewTask, Next, StartAttempt, Store, StoreSettings};
use jiff::Timestamp;
use serde_json::json;

const TASKS: usize = 4000;
const CALLERS: usize = 128;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("jct.db").display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&StoreSettings::new(url.parse()?)).await?;
        let began = Instant::now();
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let store = store.clone();
            callers.spawn(async move {
                for n in (caller..TASKS).step_by(CALLERS) {
                    life(&store, n).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = callers.join_next().await {
            done??;
        }
        report("lives", began, &store);

        let began = Instant::now();
        let check = store.verify_audit().await?;
        let AuditCheck::Intact { entries, .. } = check else { anyhow::bail!("{check:?}") };
        println!("verified {entries} entries at {:.0} a second", entries as f64 / began.elapsed().as_secs_f64());
        store.close().await;
        Ok(())
    })
}

fn report(what: &str, began: Instant, store: &Store) {
    let (stats, seconds) = (store.stats(), began.elapsed().as_secs_f64());
    println!(
        "{what}: {TASKS} tasks in {seconds:.2} s: {:.0} tasks, {:.0} writes, {:.0} audit entries a second, {:.1} writes a commit",
        TASKS as f64 / seconds,
        stats.requests as f64 / seconds,
        stats.audit_entries as f64 / seconds,
        stats.requests as f64 / stats.commits as f64,
    );
}

async fn life(store: &Store, n: usize) -> anyhow::Result<()> {
    let at = Timestamp::now();
    let uid = format!("uid-{n}");
    let task_id = Id::derive(at, &uid);
    store.record_task(new_task(task_id, uid, at)?).await?;
    let job_id = Id::derive_for(at, &task_id.to_string(), "job/1");
    store.start_attempt(StartAttempt { task_id, attempt: 1, job_id, job_name: format!("t-{n}-1"), at }).await?;
    store.mark_running(MarkRunning { task_id, attempt: 1, worker_id: format!("pod-{n}"), commit: None, at }).await?;
    let end = AttemptEnd {
        task_id,
        attempt: 1,
        next: Next::Completed { result: json!({"summary": "done"}) },
        trace: None,
        exit_code: Some(0),
        worker_id: None,
        commit: None,
        started_at: None,
        ended_at: at,
    };
    store.finish_attempt(end).await?;
    Ok(())
}

fn new_task(id: Id, uid: String, at: Timestamp) -> anyhow::Result<NewTask> {
    Ok(NewTask {
        id,
        trace_id: TraceId::derive(&uid),
        namespace: "bench".into(),
        name: uid.clone(),
        uid,
        submitted_by: Some("ada@example.org".into()),
        actor: Actor { kind: ActorKind::Human, id: "ada@example.org".into() },
        task: Task {
            version: "1.0".into(),
            idempotency_key: None,
            requested_by: RequestedBy { kind: ActorKind::Human, id: "ada".into(), label: None },
            objective: "Describe the public API of the crate".into(),
            operation: Operation::Docs,
            target: Target { repo: Repo::parse("acme/api")?, git_ref: "main".into(), path: String::new() },
            constraints: Constraints { time_budget_seconds: 900, allow_network: false, allow_secrets: false },
            inputs: serde_json::Map::new(),
            metadata: serde_json::Map::new(),
            acceptance_criteria: vec![],
            evidence_requirements: vec![],
        },
        executor: None,
        max_attempts: 1,
        create_cwom: false,
        for_run: None,
        created_at: at,
        recorded_at: at,
    })
}
