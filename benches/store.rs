//! What the record does, through the store's public interface: each Task is recorded with its work objects, queued, started
//! and completed with a trace, by so many callers at once. `cargo bench --bench store`.
//!
//! On SQLite in a temporary folder, or on the database of `JCT_BENCH_DATABASE_URL`. `JCT_BENCH_ENTRIES` says how many audit
//! entries there are to be, 100,000 by default, before reading is measured.

use std::env;
use std::time::{Duration, Instant};

use jct::domain::task::{Constraints, Operation, Repo, RequestedBy, Target};
use jct::domain::trace::{FileEntry, FileKind};
use jct::domain::{Actor, ActorKind, Id, Task, TraceId};
use jct::store::{
    AttemptEnd, AuditCheck, AuditQuery, MAX_PAGE, MarkRunning, NewTask, Next, Page, StartAttempt, Store, StoreSettings,
    TaskFilter, TraceRecord, TraceVisibility,
};
use jiff::Timestamp;
use serde_json::json;

/// How many callers at once, and how many Tasks they bring.
const LOADS: [(usize, usize); 4] = [(1, 300), (16, 2000), (64, 4000), (128, 4000)];
/// How many stories are read.
const STORIES: usize = 200;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let url = env::var("JCT_BENCH_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite://{}", folder.path().join("jct.db").display()));
    let wanted: u64 = env::var("JCT_BENCH_ENTRIES").map_or(Ok(100_000), |entries| entries.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&StoreSettings::new(url.parse()?)).await?;
        let mut reported = 0;
        for (callers, tasks) in LOADS {
            report(&store, callers, tasks, &mut reported).await?;
        }
        while store.stats().audit_entries < wanted {
            live(&store, 128, 4000, &mut reported).await?;
        }
        read(&store, reported).await?;
        store.close().await;
        Ok(())
    })
}

async fn report(store: &Store, callers: usize, tasks: usize, reported: &mut usize) -> anyhow::Result<()> {
    let (before, began) = (store.stats(), Instant::now());
    let mut waits = live(store, callers, tasks, reported).await?;
    let (after, seconds) = (store.stats(), began.elapsed().as_secs_f64());
    let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
    println!(
        "{callers:>3} callers: {:.0} tasks, {:.0} audit entries a second; {:.1} writes a commit; recording takes {}",
        tasks as f64 / seconds,
        rate(before.audit_entries, after.audit_entries),
        (after.requests - before.requests) as f64 / (after.commits - before.commits) as f64,
        spread(&mut waits),
    );
    Ok(())
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
    format!("{:.2?} in the median, p99 {:.2?}", at(0.5), at(0.99))
}

/// Lets so many Tasks live; how long each waited to be recorded.
async fn live(store: &Store, callers: usize, tasks: usize, reported: &mut usize) -> anyhow::Result<Vec<Duration>> {
    let first = *reported;
    *reported += tasks;
    let mut running = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let store = store.clone();
        running.spawn(async move {
            let mut waits = Vec::new();
            for n in (caller..tasks).step_by(callers) {
                waits.push(life(&store, first + n).await?);
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = running.join_next().await {
        waits.extend(done??);
    }
    Ok(waits)
}

/// Reads stories as `GET /trace/{id}` does, and the whole log as `jct audit --verify` does.
async fn read(store: &Store, reported: usize) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for story in 0..STORIES {
        let trace_id = TraceId::derive(&format!("uid-{}", story * reported / STORIES));
        let began = Instant::now();
        let filter = TaskFilter { trace_id: Some(trace_id.clone()), ..TaskFilter::default() };
        let tasks = store.tasks(&filter, Page::default()).await?;
        anyhow::ensure!(tasks.len() == 1, "{trace_id} has {} Tasks", tasks.len());
        for task in &tasks {
            store.jobs(task.id).await?;
            store.artifacts(task.id).await?;
        }
        store.objects_of_trace(&trace_id, &TraceVisibility::Everything).await?;
        let page = Page { limit: MAX_PAGE, ..Page::default() };
        store.audit(&AuditQuery { trace_id: Some(trace_id), page, ..AuditQuery::default() }).await?;
        times.push(began.elapsed());
    }
    let began = Instant::now();
    let AuditCheck::Intact { entries, .. } = store.verify_audit().await? else { anyhow::bail!("the log is broken") };
    let rate = entries as f64 / began.elapsed().as_secs_f64();
    println!("of {entries} entries: a story takes {}; verified at {rate:.0} entries a second", spread(&mut times));
    Ok(())
}

/// One life; how long it waited to be recorded.
async fn life(store: &Store, n: usize) -> anyhow::Result<Duration> {
    let at = Timestamp::now();
    let uid = format!("uid-{n}");
    let task_id = Id::derive(at, &uid);
    let began = Instant::now();
    store.record_task(new_task(task_id, uid, at)?).await?;
    let waited = began.elapsed();
    let job_id = Id::derive_for(at, &task_id.to_string(), "job/1");
    store.start_attempt(StartAttempt { task_id, attempt: 1, job_id, job_name: format!("t-{n}-1"), at }).await?;
    store.mark_running(MarkRunning { task_id, attempt: 1, worker_id: format!("pod-{n}"), commit: None, at }).await?;
    let end = AttemptEnd {
        task_id,
        attempt: 1,
        next: Next::Completed { result: json!({"summary": "done"}) },
        trace: Some(trace(task_id)),
        exit_code: Some(0),
        worker_id: None,
        commit: None,
        started_at: None,
        evidence: None,
        ended_at: at,
    };
    store.finish_attempt(end).await?;
    Ok(waited)
}

fn trace(task_id: Id) -> TraceRecord {
    let file = |path: &str, kind| FileEntry {
        path: path.into(),
        kind,
        media_type: "text/plain".into(),
        size_bytes: 1000,
        sha256: "ab".repeat(32),
    };
    TraceRecord {
        path: format!("bench/{task_id}/1"),
        manifest_sha256: Some("cd".repeat(32)),
        files: vec![
            file("artifacts/report.md", FileKind::Report),
            file("events.jsonl", FileKind::Log),
            file("stdout.log", FileKind::Log),
            file("task.json", FileKind::File),
            file("trace.log", FileKind::Log),
        ],
        complete: true,
        announced: true,
        report: None,
    }
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
        model: None,
        delivery: None,
        max_attempts: 1,
        create_cwom: true,
        for_run: None,
        client: None,
        suspended: false,
        shown: jct::store::Shown::default(),
        created_at: at,
        recorded_at: at,
    })
}
