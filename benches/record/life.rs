//! Ordinary Tasks, and what they live through.

use std::ops::Range;

use jct::domain::task::{Constraints, Operation, Repo, RequestedBy, Target};
use jct::domain::trace::{ExecutorResult, FileEntry, FileKind};
use jct::domain::{Actor, ActorKind, Id, Task, TraceId};
use jct::store::{AttemptEnd, MarkRunning, NewTask, Next, Report, Shown, StartAttempt, Store, TraceRecord};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// How far Tasks come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Queued,
    Whole,
}

impl Life {
    pub fn describe(self) -> &'static str {
        match self {
            Self::Queued => "recorded and queued",
            Self::Whole => "their whole life: recorded, queued, run, completed with six files",
        }
    }
}

/// Lets these Tasks live, by so many callers at once.
pub async fn live(store: &Store, life: Life, tasks: Range<usize>, callers: usize) -> anyhow::Result<()> {
    let mut running = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let (store, tasks) = (store.clone(), tasks.clone());
        running.spawn(async move {
            for n in tasks.skip(caller).step_by(callers) {
                one(&store, life, n).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

/// The uid of the object of a Task.
pub fn uid(n: usize) -> String {
    let digest = jct::domain::id::sha256_hex(n.to_string().as_bytes());
    format!("{}-{}-{}-{}-{}", &digest[..8], &digest[8..12], &digest[12..16], &digest[16..20], &digest[20..32])
}

/// The place of a Task, one of ten.
pub fn namespace(n: usize) -> String {
    format!("team-{}", n % 10)
}

async fn one(store: &Store, life: Life, n: usize) -> anyhow::Result<()> {
    let at = |seconds: i64| Timestamp::now() + SignedDuration::from_secs(seconds);
    let (uid, created_at) = (uid(n), Timestamp::now());
    let task_id = Id::derive(created_at, &uid);
    store.record_task(new_task(task_id, uid, n, created_at)?).await?;
    let job_id = Id::derive_for(created_at, &task_id.to_string(), "job/1");
    let job_name = format!("jct-{}-1", task_id.to_string().to_lowercase());
    let worker_id = format!("{job_name}-x7k2p");
    store.start_attempt(StartAttempt { task_id, attempt: 1, job_id, job_name, at: at(0) }).await?;
    if life == Life::Queued {
        return Ok(());
    }
    let commit = jct::domain::id::sha256_hex(b"commit")[..40].to_owned();
    store
        .mark_running(MarkRunning { task_id, attempt: 1, worker_id: worker_id.clone(), commit: None, at: at(2) })
        .await?;
    let end = AttemptEnd {
        task_id,
        attempt: 1,
        next: Next::Completed {
            result: json!({"summary": "Looked at 214 files in 17 folders; wrote report.md", "outputs": ["report.md"]}),
        },
        trace: Some(trace(&namespace(n), task_id, n)),
        exit_code: Some(0),
        worker_id: Some(worker_id),
        commit: Some(commit),
        started_at: Some(at(3)),
        evidence: None,
        ended_at: at(9),
    };
    store.finish_attempt(end).await?;
    Ok(())
}

fn trace(namespace: &str, task_id: Id, n: usize) -> TraceRecord {
    let file = |path: &str, kind, media_type: &str| FileEntry {
        path: path.into(),
        kind,
        media_type: media_type.into(),
        size_bytes: 1000 + n as u64,
        sha256: jct::domain::id::sha256_hex(format!("{n}/{path}").as_bytes()),
    };
    TraceRecord {
        path: format!("{namespace}/{task_id}/1"),
        manifest_sha256: Some(jct::domain::id::sha256_hex(task_id.to_string().as_bytes())),
        files: vec![
            file("artifacts/report.md", FileKind::Report, "text/markdown"),
            file("events.jsonl", FileKind::Log, "application/jsonl"),
            file("stderr.log", FileKind::Log, "text/plain"),
            file("stdout.log", FileKind::Log, "text/plain"),
            file("task.json", FileKind::File, "application/json"),
            file("trace.log", FileKind::Log, "text/plain"),
        ],
        complete: true,
        announced: true,
        report: Some(Report {
            executor: "analysis".into(),
            worker: "jct 1.0.0".into(),
            result: ExecutorResult {
                summary: Some("Looked at 214 files in 17 folders; wrote report.md".into()),
                ..ExecutorResult::default()
            },
            cpu_ms: Some(840),
        }),
    }
}

fn new_task(id: Id, uid: String, n: usize, at: Timestamp) -> anyhow::Result<NewTask> {
    let object = |value: Value| -> Map<String, Value> { value.as_object().cloned().unwrap_or_default() };
    Ok(NewTask {
        id,
        trace_id: TraceId::derive(&uid),
        namespace: namespace(n),
        name: format!("describe-api-{n}"),
        uid,
        submitted_by: Some("ada@example.org".into()),
        actor: Actor { kind: ActorKind::Human, id: "ada@example.org".into() },
        task: Task {
            version: "1.0".into(),
            idempotency_key: n.is_multiple_of(2).then(|| format!("nightly-{n}-run1")),
            requested_by: RequestedBy { kind: ActorKind::Human, id: "ada@example.org".into(), label: Some("Ada".into()) },
            objective: "Describe the public API of the crate: what each module is for, which functions callers need, and which of \
                        them are not documented"
                .into(),
            operation: Operation::Analysis,
            target: Target { repo: Repo::parse(&format!("acme/api-{}", n % 50))?, git_ref: "main".into(), path: "src".into() },
            constraints: Constraints { time_budget_seconds: 900, allow_network: false, allow_secrets: false },
            inputs: object(json!({"depth": 3, "include": ["src/**", "docs/**"], "exclude": ["target/**"], "format": "markdown"})),
            metadata: object(json!({"ticket": format!("API-{n}"), "team": "platform"})),
            acceptance_criteria: vec!["Every public function is described".into()],
            evidence_requirements: vec!["report".into()],
        },
        executor: None,
        model: None,
        delivery: None,
        max_attempts: 1,
        create_cwom: true,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: at,
        recorded_at: at,
    })
}
