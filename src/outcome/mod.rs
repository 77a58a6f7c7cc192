//! How an attempt at a Task ended: judged by its trace, recorded, sealed and signed. The same wherever the attempt ran.

pub mod provenance;

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::evidence::{EvidencePack, Facts, evaluate};
use crate::domain::forge::{Forges, Mode};
use crate::domain::id::sha256_hex;
use crate::domain::provenance::ContainerImage;
use crate::domain::task::TaskDelivery;
use crate::domain::trace::{Expected, Manifest, Outcome, Termination, folder, task_json};
use crate::domain::{Actor, FailureReason, review};
use crate::store::{AttemptEnd, Failure, Next, Report, TaskRow, TraceRecord};
use crate::trace::{Found, TraceVolume, incomplete};

/// How an attempt ended, by the account of whoever ran it. The trace may know better.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Why, if it is seen to have failed.
    pub failure: Option<(FailureReason, String)>,
    /// What the worker said as it ended.
    pub termination: Option<Termination>,
    /// The pod, or the process that it ran in, if that was seen.
    pub pod: Option<String>,
    /// Exit code of the step that decided.
    pub exit_code: Option<i32>,
    /// When its first step started.
    pub started_at: Option<Timestamp>,
    /// When its last step ended.
    pub ended_at: Option<Timestamp>,
    pub images: Vec<ContainerImage>,
}

impl Ended {
    /// An end that nothing tells of.
    pub fn unseen(reason: FailureReason, message: String) -> Self {
        Self {
            failure: Some((reason, message)),
            termination: None,
            pod: None,
            exit_code: None,
            started_at: None,
            ended_at: None,
            images: Vec::new(),
        }
    }
}

/// Checks the trace of the open attempt of `row`; one that cannot be trusted is marked. Blocks.
///
/// # Errors
/// If the volume cannot be read or written.
pub fn judge(traces: &TraceVolume, row: &TaskRow, ended: &Ended) -> io::Result<Judgement> {
    let task_sha256 = sha256_hex(&task_json(&row.task));
    let expected = Expected {
        task_id: row.id,
        trace_id: &row.trace_id,
        namespace: &row.namespace,
        attempt: row.attempt,
        task_sha256: &task_sha256,
    };
    traces.clear(&row.namespace, row.id, row.attempt)?;
    let judgement = assess_trace(&traces.inspect(&expected)?, ended);
    if judgement.manifest().is_none() {
        let reason = judgement.failure.as_ref().map_or("no manifest", |(reason, _)| reason.as_str());
        traces.mark_incomplete(&row.namespace, &incomplete(&expected, reason, Timestamp::now()))?;
    }
    Ok(judgement)
}

/// Takes away the right to write from the trace that was judged. Blocks; does what it can.
pub fn seal(traces: &TraceVolume, row: &TaskRow, judgement: &Judgement) {
    traces.seal(&row.namespace, row.id, row.attempt, judgement.manifest());
}

/// What the trace and whoever ran it together say of an attempt.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Why it failed, if it did.
    pub failure: Option<(FailureReason, String)>,
    /// The manifest and its digest, where the trace holds.
    pub complete: Option<(Box<Manifest>, String)>,
    /// Whether the worker said that digest as it ended, by a way that does not lead over the volume.
    pub announced: bool,
}

impl Judgement {
    /// The attempt's end for the record; `end` says why and by whom the Task is ended, if somebody wants that.
    pub fn attempt_end(
        &self,
        row: &TaskRow,
        ended: &Ended,
        end: Option<(Failure, Actor)>,
        infrastructure_retries: u32,
        forges: &Forges,
    ) -> AttemptEnd {
        let manifest = self.manifest();
        let next = next(row, self, end, infrastructure_retries);
        let succeeded = matches!(next, Next::Completed { .. });
        AttemptEnd {
            task_id: row.id,
            attempt: row.attempt,
            next,
            trace: Some(trace_record(row, self)),
            exit_code: manifest.and_then(|manifest| manifest.exit_code).or(ended.exit_code),
            worker_id: ended.pod.clone(),
            commit: manifest.and_then(|manifest| manifest.source.as_ref().map(|source| source.commit.clone())),
            started_at: manifest.map(|manifest| manifest.started_at).or(ended.started_at),
            evidence: succeeded.then(|| self.evidence(row, forges)).flatten().map(Box::new),
            ended_at: ended.ended_at.unwrap_or_else(Timestamp::now),
        }
    }

    /// What is shown for an attempt that succeeded.
    fn evidence(&self, row: &TaskRow, forges: &Forges) -> Option<EvidencePack> {
        let (manifest, sha256) = self.complete.as_ref()?;
        let (repo, delivery, at) = (&row.task.target.repo, row.delivery.as_ref(), Timestamp::now());
        let delivers = delivery.filter(|delivery| delivery.mode != Mode::None && manifest.change.is_some());
        let prefix = || forges.for_repository(repo).map(|forge| forge.delivery.branch_prefix.as_str());
        let branch = delivers.map(|delivery| branch_of(row, delivery, prefix().unwrap_or("jct/")));
        Some(evaluate(&Facts {
            task_id: row.id,
            created_at: row.created_at,
            trace_id: &row.trace_id,
            namespace: &row.namespace,
            task: &row.task,
            manifest,
            manifest_sha256: sha256,
            announced: self.announced,
            branch,
            review: review::required(forges, repo, delivery, manifest.change.as_ref(), at),
            at,
        }))
    }

    fn manifest(&self) -> Option<&Manifest> {
        self.complete.as_ref().map(|(manifest, _)| &**manifest)
    }
}

/// The branch that the change of a Task is delivered to.
fn branch_of(row: &TaskRow, delivery: &TaskDelivery, prefix: &str) -> String {
    delivery.branch.clone().unwrap_or_else(|| {
        let id = row.id.to_lowercase();
        format!("{prefix}{}-{}", row.name, id.get(id.len().saturating_sub(8)..).unwrap_or_default())
    })
}

/// A trace that holds is believed, for it is the fuller account; without one an attempt has not succeeded.
fn assess_trace(found: &Found, ended: &Ended) -> Judgement {
    let failed = |reason, message: String| Judgement {
        failure: Some(ended.failure.clone().unwrap_or((reason, message))),
        complete: None,
        announced: false,
    };
    match found {
        Found::Complete { manifest, sha256 } => {
            let said = ended.termination.as_ref().and_then(|said| said.manifest_sha256.as_ref());
            if said.is_some_and(|said| said != sha256) {
                return Judgement {
                    failure: Some((
                        FailureReason::TraceInvalid,
                        "manifest.json is not the one that the worker wrote, by the digest in its termination message"
                            .into(),
                    )),
                    complete: None,
                    announced: true,
                };
            }
            let failure = match manifest.outcome {
                Outcome::Succeeded => None,
                Outcome::Failed => {
                    let reason = manifest.reason.unwrap_or(FailureReason::WorkerFailed);
                    Some(interruption(reason, manifest.message.clone().unwrap_or_default(), ended))
                }
            };
            Judgement { failure, complete: Some((manifest.clone(), sha256.clone())), announced: said.is_some() }
        }
        Found::Incomplete => failed(FailureReason::TraceInvalid, "the worker ended without sealing its trace".into()),
        Found::Invalid(why) => match &ended.failure {
            Some((reason, message)) => Judgement {
                failure: Some((*reason, format!("{message}; besides, its trace is invalid: {why}"))),
                complete: None,
                announced: false,
            },
            None => failed(FailureReason::TraceInvalid, why.clone()),
        },
    }
}

/// A worker that was told to stop, or whose supervisor was killed, knows that, but not by whom; who ran it may.
fn interruption(reason: FailureReason, message: String, ended: &Ended) -> (FailureReason, String) {
    use FailureReason::{Evicted, NodeLost, OomKilled, TimeBudgetExceeded, WorkerFailed};
    match (reason, &ended.failure) {
        (Evicted, Some((by @ (NodeLost | TimeBudgetExceeded), why))) | (WorkerFailed, Some((by @ OomKilled, why))) => {
            (*by, if why.is_empty() { message } else { why.clone() })
        }
        _ => (reason, message),
    }
}

fn next(row: &TaskRow, judgement: &Judgement, end: Option<(Failure, Actor)>, infrastructure_retries: u32) -> Next {
    let Some((reason, message)) = &judgement.failure else {
        return Next::Completed { result: result(judgement) };
    };
    if let Some((failure, actor)) = end {
        return Next::Cancelled { failure, actor };
    }
    let failure = Failure::new(reason.as_str(), message.clone());
    let is_allowed = if reason.is_infrastructure() {
        row.infrastructure_failures < infrastructure_retries
    } else {
        row.attempt < row.allowed_attempts()
    };
    if reason.is_retryable() && is_allowed { Next::Retry(failure) } else { Next::Failed(failure) }
}

/// What the record keeps of a success: a summary, small and without the files themselves.
fn result(judgement: &Judgement) -> Value {
    let Some((manifest, sha256)) = &judgement.complete else { return Value::Null };
    json!({
        "outcome": "succeeded",
        "summary": manifest.result.as_ref().and_then(|result| result.summary.as_ref()),
        "executor": manifest.executor,
        "source": manifest.source,
        "exit_code": manifest.exit_code,
        "manifest_sha256": sha256,
        "artifacts": manifest.files.iter().filter(|file| file.path.starts_with("artifacts/")).map(|file| &file.path).take(100).collect::<Vec<_>>(),
    })
}

fn trace_record(row: &TaskRow, judgement: &Judgement) -> TraceRecord {
    let path = folder(&row.namespace, row.id, row.attempt);
    match &judgement.complete {
        Some((manifest, sha256)) => {
            let report = Report {
                executor: manifest.executor.clone(),
                worker: manifest.worker.clone(),
                result: manifest.result.clone().unwrap_or_default(),
                cpu_ms: manifest.usage.as_ref().map(|usage| usage.cpu_ms),
            };
            let (sha256, files) = (Some(sha256.clone()), manifest.files.clone());
            TraceRecord {
                path,
                manifest_sha256: sha256,
                files,
                complete: true,
                announced: judgement.announced,
                report: Some(report),
            }
        }
        None => TraceRecord {
            path,
            manifest_sha256: None,
            files: Vec::new(),
            complete: false,
            announced: false,
            report: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(manifest_sha256: Option<&str>) -> Ended {
        let termination = Termination {
            outcome: Outcome::Succeeded,
            reason: None,
            message: None,
            manifest_sha256: manifest_sha256.map(str::to_owned),
            claimed_by: None,
        };
        Ended {
            failure: None,
            termination: Some(termination),
            ..Ended::unseen(FailureReason::WorkerFailed, String::new())
        }
    }

    fn found() -> Found {
        let manifest = json!({"version": "1.0", "task_sha256": "", "task_id": "01KJMMA2G02YVRH9REXK5XRBYB", "trace_id": "a".repeat(32),
            "namespace": "team", "attempt": 1, "executor": "analysis", "worker": "jct 1", "outcome": "succeeded",
            "started_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:00:01Z", "files": []});
        Found::Complete { manifest: Box::new(serde_json::from_value(manifest).unwrap()), sha256: "ab".into() }
    }

    #[test]
    fn a_manifest_that_nobody_announced_counts_and_says_so() {
        let announced = assess_trace(&found(), &ended(Some("ab")));
        assert!(announced.failure.is_none() && announced.announced);
        for silent in [ended(None), Ended::unseen(FailureReason::JobDeleted, "gone".into())] {
            let judgement = assess_trace(&found(), &silent);
            assert!(judgement.failure.is_none() && judgement.complete.is_some() && !judgement.announced);
        }
        let other = assess_trace(&found(), &ended(Some("cd")));
        assert!(
            other.complete.is_none() && other.failure.is_some_and(|(reason, _)| reason == FailureReason::TraceInvalid)
        );
    }
}
