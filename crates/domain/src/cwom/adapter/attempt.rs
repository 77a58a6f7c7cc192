//! An attempt of a Task as a Run, and the files of its trace as Artifacts.

use jiff::Timestamp;
use serde_json::{Map, json};

use super::{CwomIds, Origin, TASK_META, shortened};
use crate::cwom::{
    Actor, Artifact, ArtifactType, Check, Cost, Executor, Failure, FailureCategory, Kind, Mode, Object, Plan, Ref, Run,
    RunInputs, RunOutputs, Status, Telemetry, Verification, VerificationStatus, limits,
};
use crate::trace::{self, ARTIFACTS_DIR, EVENTS_FILE, ExecutorResult, FileEntry, FileKind, LOG_FILE, MANIFEST_FILE};
use crate::{ActorKind, FailureReason, Id, Task};

/// The greatest length of a summary or a failure's message, in characters.
const MAX_MESSAGE_CHARS: usize = 4000;

/// One attempt, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// From 1.
    pub number: u32,
    pub executor: &'a str,
    /// Name and version of the worker, such as `jct 0.1.0`, once known.
    pub worker: Option<&'a str>,
    /// The commit that it works on, once known.
    pub commit: Option<&'a str>,
    pub created_at: Timestamp,
    pub state: AttemptState<'a>,
    /// The Artifacts made of its trace.
    pub artifacts: &'a [Id],
    /// What its executor said of the work, once it is over.
    pub result: Option<&'a ExecutorResult>,
    /// What it computed, in milliseconds, once it is over.
    pub cpu_ms: Option<u64>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug)]
pub enum AttemptState<'a> {
    /// Its Job is about to be created, or waits.
    Planned,
    Running {
        started_at: Timestamp,
    },
    Ended {
        /// When it began; none if its worker never ran.
        started_at: Option<Timestamp>,
        ended_at: Timestamp,
        ending: Ending<'a>,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    Done {
        /// What came of it, in a sentence.
        summary: Option<&'a str>,
    },
    /// Without.
    Failed { reason: FailureReason, message: &'a str },
    /// Because somebody asked for it.
    Canceled { message: &'a str },
}

/// The id of the Run of the attempt with this number.
pub fn run_id(origin: &Origin, attempt: u32) -> Id {
    origin.id(&format!("run/{attempt}"))
}

/// The Run of an attempt. Its inputs are pinned to what the Task made.
pub fn run_of_attempt(task: &Task, origin: &Origin, ids: &CwomIds, attempt: &Attempt) -> Object<Run> {
    let Attempt { number, executor, worker, commit, created_at, state, artifacts, result, cpu_ms } = *attempt;
    let (status, telemetry) = progress(state);
    let (result_summary, failure) = outcome(state);
    let run = Run {
        for_issue: Ref::to(Kind::Issue, ids.issue),
        repo: Ref::to(Kind::Repo, ids.repo),
        status,
        mode: if task.requested_by.kind == ActorKind::Agent { Mode::Agent } else { Mode::System },
        executor: Executor {
            actor: Actor::from(&task.requested_by),
            runtime: Some(shortened(executor, 64)).filter(|name| !name.is_empty()),
            toolchain: worker.map(|worker| shortened(worker, 128)).into_iter().collect(),
        },
        inputs: RunInputs {
            context_packets: vec![Ref::to(Kind::ContextPacket, ids.context_packet)],
            doctrine_refs: Vec::new(),
            constraint_snapshot: Some(Ref::to(Kind::ConstraintSnapshot, ids.constraint_snapshot)),
        },
        plan: Plan { steps: Vec::new(), risk_notes: Vec::new() },
        cost: cost(result, cpu_ms),
        outputs: RunOutputs {
            artifacts: artifacts.iter().take(limits::MAX_ARTIFACTS).map(|id| Ref::to(Kind::Artifact, *id)).collect(),
            result_summary: result_summary.or_else(|| summary_of(result)),
            decision_log: result.map(|result| sentences(&result.decision_log)).unwrap_or_default(),
        },
        failure,
        tags: Vec::new(),
        meta: Map::from_iter([(
            TASK_META.to_owned(),
            json!({"task_id": origin.task_id, "attempt": number, "commit": commit}),
        )]),
        telemetry,
    };
    let updated_at = run.telemetry.ended_at.or(run.telemetry.started_at).unwrap_or(created_at).max(created_at);
    Object { updated_at, ..Object::new(run_id(origin, number), created_at, origin.trace_id.clone(), run) }
}

/// In the words of the executor.
fn summary_of(result: Option<&ExecutorResult>) -> Option<String> {
    result.and_then(|result| result.summary.as_deref()).map(|summary| shortened(summary, MAX_MESSAGE_CHARS))
}

fn sentences(log: &[String]) -> Vec<String> {
    log.iter().take(limits::MAX_LIST).map(|entry| shortened(entry, MAX_MESSAGE_CHARS)).collect()
}

/// An executor may claim any number: what no Run may cost is left out.
fn cost(result: Option<&ExecutorResult>, cpu_ms: Option<u64>) -> Cost {
    let claimed = result.and_then(|result| result.cost).unwrap_or_default();
    let fits = |amount: &f64| (0.0..=1e12).contains(amount);
    #[allow(clippy::cast_precision_loss)] // beyond 285,000 years
    let compute_s = cpu_ms.map(|milliseconds| milliseconds as f64 / 1000.0).filter(fits);
    Cost {
        usd: claimed.usd.filter(fits),
        tokens: claimed.tokens.filter(|tokens| i64::try_from(*tokens).is_ok()),
        compute_s,
    }
}

fn progress(state: AttemptState) -> (Status, Telemetry) {
    let telemetry = |started_at, ended_at, duration_s| Telemetry { started_at, ended_at, duration_s };
    match state {
        AttemptState::Planned => (Status::Planned, telemetry(None, None, None)),
        AttemptState::Running { started_at } => (Status::Running, telemetry(Some(started_at), None, None)),
        AttemptState::Ended { started_at, ended_at, ending } => {
            let status = match ending {
                Ending::Done { .. } => Status::Done,
                Ending::Failed { .. } => Status::Failed,
                Ending::Canceled { .. } => Status::Canceled,
            };
            let seconds = started_at.map(|started_at| ended_at.duration_since(started_at).as_secs_f64().max(0.0));
            (status, telemetry(started_at, Some(ended_at), seconds))
        }
    }
}

fn outcome(state: AttemptState) -> (Option<String>, Option<Failure>) {
    let AttemptState::Ended { ending, .. } = state else { return (None, None) };
    match ending {
        Ending::Done { summary } => (summary.map(|summary| shortened(summary, MAX_MESSAGE_CHARS)), None),
        Ending::Canceled { message } => (Some(shortened(message, MAX_MESSAGE_CHARS)), None),
        Ending::Failed { reason, message } => {
            let message = shortened(&format!("{reason}: {message}"), MAX_MESSAGE_CHARS);
            (None, Some(Failure { category: failure_category(reason), message }))
        }
    }
}

/// What kind of failure a reason is.
pub fn failure_category(reason: FailureReason) -> FailureCategory {
    use FailureReason as Reason;
    match reason {
        Reason::InvalidSpec
        | Reason::InvalidOperation
        | Reason::RepoNotAllowed
        | Reason::TimeBudgetTooLow
        | Reason::TimeBudgetTooHigh
        | Reason::NetworkAccessDenied
        | Reason::SecretsAccessDenied
        | Reason::ModelNotAllowed
        | Reason::BudgetTooHigh
        | Reason::DeliveryNotAllowed
        | Reason::ReviewNotAllowed
        | Reason::ReviewStale
        | Reason::TooManyTasks
        | Reason::IdConflict
        | Reason::IdempotencyKeyReused
        | Reason::RecordLost
        | Reason::AuthorUnknown
        | Reason::AuthorNotAllowed
        | Reason::ChangeNotAllowed => FailureCategory::Policy,
        Reason::ExecutorNotConfigured
        | Reason::ModelUnavailable
        | Reason::SourceUnavailable
        | Reason::SourceNotFound
        | Reason::RefNotFound
        | Reason::SourceTooLarge
        | Reason::PathNotFound
        | Reason::ImagePullFailed => FailureCategory::Dependency,
        Reason::ExecutorFailed
        | Reason::TimeBudgetExceeded
        | Reason::ModelBudgetExceeded
        | Reason::LimitExceeded
        | Reason::SandboxUnavailable
        | Reason::Cancelled
        | Reason::OomKilled
        | Reason::Evicted
        | Reason::Interrupted
        | Reason::JobDeleted
        | Reason::NodeLost
        | Reason::StartFailed => FailureCategory::Runtime,
        Reason::TraceInvalid | Reason::WorkerFailed => FailureCategory::Unknown,
    }
}

/// Whether a file of a trace becomes an Artifact: what the executor made, and what tells how it went.
pub fn is_of_interest(file: &FileEntry) -> bool {
    file.path.starts_with(&format!("{ARTIFACTS_DIR}/")) || [EVENTS_FILE, LOG_FILE].contains(&file.path.as_str())
}

/// A file of the trace in `folder` as an Artifact of the attempt's Run, its digest checked at `checked_at`.
pub fn artifact_of_file(
    origin: &Origin,
    ids: &CwomIds,
    attempt: u32,
    folder: &str,
    file: &FileEntry,
    checked_at: Timestamp,
) -> Object<Artifact> {
    let FileEntry { path, kind, media_type, size_bytes, sha256 } = file;
    let passed = VerificationStatus::Passed;
    let artifact = Artifact {
        produced_by: Ref::to(Kind::Run, run_id(origin, attempt)),
        for_issue: Ref::to(Kind::Issue, ids.issue),
        r#type: artifact_type(path, *kind),
        title: shortened(path.strip_prefix(&format!("{ARTIFACTS_DIR}/")).unwrap_or(path), 512),
        uri: shortened(&format!("trace://{folder}/{path}"), 2000),
        digest: Some(format!("sha256:{sha256}")),
        media_type: Some(shortened(media_type, 255)).filter(|name| !name.is_empty()),
        size_bytes: Some(*size_bytes),
        preview: None,
        verification: Verification {
            status: passed,
            checks: vec![Check { name: "sha256".into(), status: passed, evidence_uri: Some(manifest_uri(folder)) }],
        },
        tags: Vec::new(),
        meta: Map::new(),
    };
    let id = origin.id(&format!("artifact/{attempt}/{path}"));
    Object::new(id, checked_at, origin.trace_id.clone(), artifact)
}

/// The manifest, which binds the file by its digest.
fn manifest_uri(folder: &str) -> String {
    format!("trace://{folder}/{MANIFEST_FILE}")
}

fn artifact_type(path: &str, kind: FileKind) -> ArtifactType {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match kind {
        _ if [EVENTS_FILE, LOG_FILE, trace::TASK_FILE].contains(&path) => ArtifactType::Trace,
        FileKind::Diff => ArtifactType::CodePatch,
        FileKind::Report => ArtifactType::Report,
        FileKind::Log | FileKind::Error => ArtifactType::Log,
        FileKind::Metric => ArtifactType::Dataset,
        FileKind::File => match extension.as_str() {
            "md" | "txt" | "html" | "htm" | "pdf" | "rst" | "adoc" => ArtifactType::Doc,
            "json" | "jsonl" | "csv" | "tsv" | "xml" | "yaml" | "yml" | "parquet" | "sqlite" => ArtifactType::Dataset,
            _ => ArtifactType::Binary,
        },
    }
}
