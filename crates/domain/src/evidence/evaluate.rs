//! What the checks of an attempt come to. Pure.

use jiff::Timestamp;

use super::{CriterionResult, CriterionStatus, Evidence, EvidencePack, Subject, Verdict};
use crate::ActorKind;
use crate::cwom::Actor;
use crate::review::Required;
use crate::task::Operation;
use crate::trace::{EvidenceClaim, FileEntry, Manifest, folder};
use crate::{Id, Task, TraceId};

/// What is said of a criterion that the executor does not speak of either.
pub const NO_CLAIM: &str = "nothing shows it: no check of JCT's is about it";
/// An executor that is ended at its budget's end needs a moment.
const GRACE_MS: u64 = 10_000;
/// Of the names in a reason so many are told.
const TOLD: usize = 5;

/// What is known of an attempt that succeeded.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The Task's id.
    pub task_id: Id,
    /// When the Task's object was created.
    pub created_at: Timestamp,
    /// The Task's.
    pub trace_id: &'a TraceId,
    /// The Task's.
    pub namespace: &'a str,
    /// What was asked for.
    pub task: &'a Task,
    /// Of its trace, whose every digest held.
    pub manifest: &'a Manifest,
    /// The manifest's own.
    pub manifest_sha256: &'a str,
    /// Whether the worker said that digest by a way that does not lead over the volume.
    pub announced: bool,
    /// The branch that the change is to be delivered to.
    pub branch: Option<String>,
    /// The review that is required.
    pub review: Option<Required>,
    /// Now.
    pub at: Timestamp,
}

/// The checks of an attempt.
#[derive(Debug, Default)]
struct Checks {
    passed: Vec<String>,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Checks {
    /// Notes a check: `Ok` if it passed, else why it failed.
    fn note(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed.push(name.into()),
            Err(why) => self.failed.push(format!("{name}: {why}")),
        }
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push(format!("{name}: {why}"));
    }
}

/// Evaluates an attempt that succeeded.
pub fn evaluate(facts: &Facts<'_>) -> EvidencePack {
    let Facts { task_id, created_at, trace_id, namespace, task, manifest, manifest_sha256, branch, review, at, .. } =
        facts;
    let change = manifest.change.as_ref();
    let claims = manifest.result.as_ref().map_or(&[][..], |result| &result.evidence);
    let evidence: Vec<Evidence> = collected(task, claims, manifest);
    let missing: Vec<String> =
        evidence.iter().filter(|found| !found.found).map(|found| found.requirement.clone()).collect();
    let checks = checks(facts, claims, missing.len());
    let criteria: Vec<CriterionResult> = criteria(task, claims, manifest);
    let (verdict, verdict_reason) = verdict(&checks, &criteria);
    let subject = Subject {
        attempt: manifest.attempt,
        manifest_sha256: (*manifest_sha256).to_owned(),
        commit: change.map(|change| change.commit.clone()),
        tree: change.and_then(|change| change.tree.clone()),
        base_commit: change.map(|change| change.base_commit.clone()),
        branch: branch.clone(),
        repo: task.target.repo.to_string(),
    };
    let Checks { passed: checks_passed, failed: checks_failed, skipped: checks_skipped } = checks;
    EvidencePack {
        id: EvidencePack::id_of(*task_id, *created_at, manifest.attempt),
        trace_id: (*trace_id).clone(),
        namespace: (*namespace).to_owned(),
        task_id: *task_id,
        for_run: None,
        for_issue: None,
        subject_sha256: subject.sha256(*task_id),
        subject,
        verdict,
        verdict_reason,
        evaluated_at: *at,
        evaluated_by: Actor { actor_kind: ActorKind::System, actor_id: "jct-controller".into(), display: None },
        criteria_results: criteria,
        evidence_collected: evidence,
        evidence_missing: missing,
        checks_passed,
        checks_failed,
        checks_skipped,
        evidence_uri: Some(folder(namespace, *task_id, manifest.attempt)),
        review_required: review.clone(),
    }
}

fn checks(facts: &Facts<'_>, claims: &[EvidenceClaim], missing: usize) -> Checks {
    let Facts { task, manifest, announced, .. } = facts;
    let mut checks = Checks::default();
    // Without that there is no evaluation at all.
    checks.note("manifest_verified", Ok(()));
    match announced {
        true => checks.note("manifest_announced", Ok(())),
        false => checks
            .skip("manifest_announced", "the worker did not say the manifest's digest: it was found on the volume"),
    }
    if matches!(task.operation, Operation::CodeChange | Operation::Docs) {
        let change = manifest.change.as_ref();
        checks.note("change_not_empty", change.map(|_| ()).ok_or_else(|| "nothing was changed".into()));
        if let Some(change) = change {
            match change.all_paths() {
                Some(paths) => checks.note("inside_target_path", inside(paths, &task.target.path)),
                None => checks.skip("inside_target_path", "not all of the changed files are named in the manifest"),
            }
        }
    }
    match &manifest.usage {
        Some(usage) => {
            let most = u64::from(task.constraints.time_budget_seconds) * 1000 + GRACE_MS;
            let over = || {
                format!("it ran for {} ms, and may run for {} s", usage.wall_ms, task.constraints.time_budget_seconds)
            };
            checks.note("time_budget_kept", (usage.wall_ms <= most).then_some(()).ok_or_else(over));
        }
        None => checks.skip("time_budget_kept", "the worker does not say how long the executor ran"),
    }
    if !task.evidence_requirements.is_empty() {
        let absent: Vec<&str> = claims
            .iter()
            .filter_map(|claim| claim.artifact.as_deref())
            .filter(|name| file(manifest, name).is_none())
            .take(TOLD)
            .collect();
        if !absent.is_empty() {
            checks.note(
                "required_artifacts",
                Err(format!("the executor names files that are not in its trace: {}", absent.join(", "))),
            );
        } else if missing > 0 {
            checks.skip(
                "required_artifacts",
                &format!("for {missing} of {} requirements no file is named", task.evidence_requirements.len()),
            );
        } else {
            checks.note("required_artifacts", Ok(()));
        }
    }
    let asked =
        task.inputs.get("verify").and_then(serde_json::Value::as_array).is_some_and(|commands| !commands.is_empty());
    match (asked, &manifest.image) {
        // JCT's own executor does not succeed where one of them fails.
        (true, None) => checks.note("verification_commands", Ok(())),
        (true, Some(_)) => checks.skip("verification_commands", "the executor's image ran them, if anybody did"),
        (false, _) => {}
    }
    checks
}

fn inside(paths: &[String], target: &str) -> Result<(), String> {
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let scope = parts.join("/");
    let within = |path: &String| {
        let rest = path.strip_prefix(scope.as_str());
        scope.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let outside: Vec<&str> = paths.iter().filter(|path| !within(path)).take(TOLD).map(String::as_str).collect();
    if outside.is_empty() { Ok(()) } else { Err(format!("outside of {scope}: {}", outside.join(", "))) }
}

/// The artifact of this name, with or without the folder before it.
fn file<'m>(manifest: &'m Manifest, name: &str) -> Option<&'m FileEntry> {
    let plain = name.strip_prefix("artifacts/").unwrap_or(name);
    manifest.files.iter().find(|file| file.path.strip_prefix("artifacts/") == Some(plain))
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What the executor names for each requirement: that a file is there says nothing of what it shows.
fn collected(task: &Task, claims: &[EvidenceClaim], manifest: &Manifest) -> Vec<Evidence> {
    let each = |(at, requirement): (usize, &String)| {
        let claim = claims.iter().find(|claim| claim.requirement == Some(index(at)));
        let found = claim.and_then(|claim| file(manifest, claim.artifact.as_deref()?));
        let notes = match (claim, found) {
            (None, _) => "the executor names nothing for it".to_owned(),
            (Some(_), None) => "the executor claims it, without a file that is in its trace".to_owned(),
            (Some(claim), Some(_)) => match &claim.notes {
                Some(notes) => format!("claimed by the executor, unverified: {notes}"),
                None => "claimed by the executor, unverified".to_owned(),
            },
        };
        Evidence {
            requirement: requirement.clone(),
            index: index(at),
            found: found.is_some(),
            artifact_uri: found.map(|file| file.path.clone()),
            artifact_type: found.map(|file| file.media_type.clone()),
            notes,
        }
    };
    task.evidence_requirements.iter().enumerate().map(each).collect()
}

/// What is known of each criterion: by claims nothing, so far.
fn criteria(task: &Task, claims: &[EvidenceClaim], manifest: &Manifest) -> Vec<CriterionResult> {
    let each = |(at, criterion): (usize, &String)| {
        let of_it: Vec<&EvidenceClaim> = claims.iter().filter(|claim| claim.criterion == Some(index(at))).collect();
        let there = |claim: &&EvidenceClaim| file(manifest, claim.artifact.as_deref()?).map(|file| file.path.clone());
        let reason = match of_it.first() {
            None => NO_CLAIM.to_owned(),
            Some(claim) => match &claim.notes {
                Some(notes) => format!("claimed by the executor, unverified: {notes}"),
                None => "claimed by the executor, unverified".to_owned(),
            },
        };
        CriterionResult {
            criterion: criterion.clone(),
            index: index(at),
            status: CriterionStatus::Unverified,
            reason,
            evidence_refs: of_it.iter().filter_map(there).collect(),
        }
    };
    task.acceptance_criteria.iter().enumerate().map(each).collect()
}

/// `pass` needs every check passed, and no criterion that does not hold.
fn verdict(checks: &Checks, criteria: &[CriterionResult]) -> (Verdict, String) {
    let broken = criteria.iter().filter(|result| result.status == CriterionStatus::NotSatisfied).count();
    if let Some(first) = checks.failed.first() {
        return (
            Verdict::Fail,
            format!("{} of {} checks failed: {first}", checks.failed.len(), checks.failed.len() + checks.passed.len()),
        );
    }
    if broken > 0 {
        return (Verdict::Fail, format!("{broken} criteria do not hold"));
    }
    if checks.passed.is_empty() {
        return (Verdict::Pending, "nothing was checked".into());
    }
    let unverified = criteria.iter().filter(|result| result.status != CriterionStatus::Satisfied).count();
    let besides = if unverified > 0 { format!("; {unverified} criteria are unverified") } else { String::new() };
    match checks.skipped.first() {
        Some(first) => (Verdict::Partial, format!("not every check was made: {first}{besides}")),
        None => (Verdict::Pass, format!("{} checks passed{besides}", checks.passed.len())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn task(criteria: &[&str], requirements: &[&str], path: &str) -> Task {
        let spec = json!({"version": "1.0", "requested_by": {"kind": "human", "id": "ada"}, "objective": "change it",
            "operation": "code_change", "target": {"repo": "octo/hello", "ref": "main", "path": path},
            "constraints": {"time_budget_seconds": 60, "allow_network": false, "allow_secrets": false}, "inputs": {}, "metadata": {},
            "acceptance_criteria": criteria, "evidence_requirements": requirements, "idempotency_key": null});
        serde_json::from_value(spec).unwrap()
    }

    fn manifest(paths: &[&str], claims: serde_json::Value) -> Manifest {
        let change = json!({"base_commit": "b", "commit": "c", "git_ref": "refs/heads/jct/x", "files_changed": paths.len(), "insertions": 1,
            "deletions": 0, "patch_sha256": "", "patch_bytes": 1, "bundle_sha256": "", "bundle_bytes": 1, "tree": "t", "paths": paths});
        let manifest = json!({"version": "1.0", "task_sha256": "", "task_id": "01KJMMA2G02YVRH9REXK5XRBYB", "trace_id": "a".repeat(32),
            "namespace": "team", "attempt": 1, "executor": "e", "image": "i", "worker": "jct 1", "outcome": "succeeded",
            "change": if paths.is_empty() { json!(null) } else { change },
            "usage": {"wall_ms": 10, "cpu_ms": 1, "peak_memory_bytes": 1}, "result": {"evidence": claims},
            "started_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:00:01Z",
            "files": [{"path": "artifacts/report.md", "kind": "report", "media_type": "text/markdown", "size_bytes": 1, "sha256": ""}]});
        serde_json::from_value(manifest).unwrap()
    }

    fn pack(task: &Task, manifest: &Manifest, announced: bool) -> EvidencePack {
        evaluate(&Facts {
            task_id: manifest.task_id,
            created_at: Timestamp::UNIX_EPOCH,
            trace_id: &manifest.trace_id,
            namespace: "team",
            task,
            manifest,
            manifest_sha256: "ab",
            announced,
            branch: None,
            review: None,
            at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn every_check_passed_is_pass() {
        let pack = pack(&task(&[], &[], ""), &manifest(&["src/a"], json!([])), true);
        assert_eq!(
            (pack.verdict, pack.checks_failed.len(), pack.checks_skipped.len()),
            (Verdict::Pass, 0, 0),
            "{pack:?}"
        );
        assert_eq!(
            pack.checks_passed,
            ["manifest_verified", "manifest_announced", "change_not_empty", "inside_target_path", "time_budget_kept"]
        );
    }

    #[test]
    fn an_empty_change_fails_and_so_does_one_outside() {
        let empty = pack(&task(&[], &[], ""), &manifest(&[], json!([])), true);
        assert_eq!(
            (empty.verdict, &*empty.checks_failed),
            (Verdict::Fail, &["change_not_empty: nothing was changed".to_owned()][..])
        );
        let outside = pack(&task(&[], &[], "src/"), &manifest(&["src/a", "src-old/b"], json!([])), true);
        assert_eq!(outside.checks_failed, ["inside_target_path: outside of src: src-old/b"]);
    }

    #[test]
    fn what_is_not_known_is_partial() {
        let silent = pack(&task(&[], &[], ""), &manifest(&["a"], json!([])), false);
        assert_eq!(silent.verdict, Verdict::Partial, "{silent:?}");
        let mut unnamed = manifest(&["a"], json!([]));
        unnamed.change.as_mut().unwrap().files_changed = 2;
        assert_eq!(pack(&task(&[], &[], "src"), &unnamed, true).verdict, Verdict::Partial);
        let missing = pack(&task(&[], &["a report"], ""), &manifest(&["a"], json!([])), true);
        assert_eq!((missing.verdict, &*missing.evidence_missing), (Verdict::Partial, &["a report".to_owned()][..]));
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let task = task(&[], &["a report"], "");
        let there = pack(
            &task,
            &manifest(&["a"], json!([{"requirement": 0, "artifact": "report.md", "notes": "see there"}])),
            true,
        );
        assert_eq!((there.verdict, there.evidence_collected[0].found), (Verdict::Pass, true));
        assert!(there.evidence_collected[0].notes.starts_with("claimed by the executor, unverified"));
        let absent = pack(&task, &manifest(&["a"], json!([{"requirement": 0, "artifact": "other.md"}])), true);
        assert_eq!((absent.verdict, absent.evidence_collected[0].found), (Verdict::Fail, false));
    }

    #[test]
    fn two_attempts_are_two_subjects() {
        let (task, first) = (task(&[], &[], ""), manifest(&["a"], json!([])));
        let mut second = first.clone();
        second.attempt = 2;
        let (first, second) = (pack(&task, &first, true), pack(&task, &second, true));
        assert!(first.subject_sha256 != second.subject_sha256 && first.id != second.id);
    }

    proptest! {
        /// Whatever an executor claims, no criterion is satisfied by it, and no verdict is better than without.
        #[test]
        fn a_claim_satisfies_nothing(claims in proptest::collection::vec((0_u32..4, 0_u32..4, "report.md|artifacts/report.md|x", ".{0,20}"), 0..8), announced: bool, named: bool) {
            let task = task(&["it works", "it is fast"], &["a report"], "src");
            let claims: Vec<_> = claims.into_iter().map(|(criterion, requirement, artifact, notes)|
                json!({"criterion": criterion, "requirement": requirement, "artifact": artifact, "notes": notes, "status": "satisfied"})).collect();
            let paths: &[&str] = if named { &["src/a"] } else { &["elsewhere"] };
            let pack = pack(&task, &manifest(paths, json!(claims)), announced);
            prop_assert!(pack.criteria_results.iter().all(|result| result.status == CriterionStatus::Unverified));
            prop_assert_eq!(pack.verdict == Verdict::Fail, !pack.checks_failed.is_empty());
            if pack.verdict == Verdict::Pass {
                prop_assert!(pack.checks_failed.is_empty() && pack.checks_skipped.is_empty() && announced && named);
            }
        }
    }
}
