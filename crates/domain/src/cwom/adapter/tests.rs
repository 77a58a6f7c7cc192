use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::cwom::{
    ArtifactType, Cost, FailureCategory, IssueType, RiskTolerance, Spec, check_update, read, read_tests, strategy,
};
use crate::trace::{ExecutorCost, ExecutorResult, FileEntry, FileKind};
use crate::{ActorKind, FailureReason, Naming, Task, task};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn trace_id() -> TraceId {
    TraceId::derive("uid")
}

fn origin(trace_id: &TraceId) -> Origin<'_> {
    let created_at = time("2026-03-01T12:00:00Z");
    Origin { task_id: Id::derive(created_at, "uid"), created_at, trace_id }
}

fn task(change: Value) -> Task {
    let mut spec = json!({
        "requested_by": {"kind": "human", "id": "ada", "label": "Ada"},
        "objective": "Greet the world\nIn every language.",
        "operation": "code_change",
        "target": {"repo": "octo/hello"},
    });
    json_patch::merge(&mut spec, &change);
    let (draft, findings) = task::read(&spec, Naming::Rest);
    assert_eq!(findings, []);
    draft.into_task().unwrap()
}

fn specs(bundle: CwomBundle) -> [Spec; 4] {
    let CwomBundle { repo, issue, context_packet, constraint_snapshot } = bundle;
    [repo.spec.into(), issue.spec.into(), context_packet.spec.into(), constraint_snapshot.spec.into()]
}

/// Any valid, normalized Task.
fn any_task() -> impl Strategy<Value = Task> {
    let texts = || prop::collection::vec(strategy::text(0, 1000), 0..3);
    let name = "[a-z0-9_.][a-z0-9._-]{0,6}";
    let requested_by =
        (prop::sample::select(ActorKind::NAMES), strategy::text(1, 128), prop::option::of(strategy::text(1, 256)));
    let objective = prop_oneof![
        4 => strategy::text(5, 4000),
        1 => ("[a-zß\n]{5,12}", 100..300_usize).prop_map(|(text, times)| text.repeat(times)),
    ];
    let target =
        (name, name, prop_oneof!["main", "[a-zä]{1,8}/[a-z0-9]{1,8}", "[0-9a-f]{40}"], "([a-zä \n]{1,6}/)?[a-z.]{0,6}");
    (
        (prop::option::of(strategy::text(1, 256)), requested_by, objective, 0..4_usize, target, 30..=86_400_u32),
        (strategy::any_object(), strategy::any_object(), texts(), texts(), any::<bool>()),
    )
        .prop_filter_map(
            "not a valid Task",
            |(
                (key, (kind, id, label), objective, operation, (owner, name, git_ref, path), budget),
                (inputs, metadata, criteria, evidence, repeat),
            )| {
                let criteria = if repeat { vec![objective.trim().to_owned()] } else { criteria };
                let spec = json!({
                    "idempotency_key": key,
                    "requested_by": {"kind": kind, "id": id, "label": label},
                    "objective": objective,
                    "operation": task::Operation::ALL[operation],
                    "target": {"repo": format!("{owner}/{name}"), "ref": git_ref, "path": path},
                    "constraints": {"time_budget_seconds": budget},
                    "inputs": inputs, "metadata": metadata,
                    "acceptance_criteria": criteria, "evidence_requirements": evidence,
                });
                let (draft, findings) = task::read(&spec, Naming::Rest);
                if findings.is_empty() { draft.into_task() } else { None }
            },
        )
}

proptest! {
    #[test]
    fn a_task_survives_the_way_there_and_back(task in any_task()) {
        let trace_id = trace_id();
        let bundle = task_to_cwom(&task, &origin(&trace_id));
        prop_assert_eq!(&issue_to_task(&bundle.view()), &Ok(task));
        for spec in specs(bundle) {
            let text = spec.to_json().to_string();
            let json: Value = serde_json::from_str(&text).unwrap();
            // The objects of a Task are as valid as any that people write, and survive storage.
            prop_assert_eq!(read(spec.kind(), &json, Naming::Rest), (Some(spec), vec![]));
        }
    }
}

#[test]
fn the_objects_of_a_task() {
    let task = task(json!({
        "idempotency_key": "k-1", "inputs": {"depth": 0.1}, "metadata": {"ticket": "T-1"},
        "target": {"ref": "v1", "path": "docs"}, "evidence_requirements": ["A log"],
    }));
    let trace_id = trace_id();
    let bundle = task_to_cwom(&task, &origin(&trace_id));
    assert_eq!(bundle.ids(), CwomIds::of(&origin(&trace_id), None));
    let objects = [
        Object::from(bundle.repo),
        bundle.issue.into(),
        bundle.context_packet.into(),
        bundle.constraint_snapshot.into(),
    ];
    insta::assert_json_snapshot!(objects.map(|object| object.to_json()));
}

#[test]
fn the_greatest_task_fits_its_objects() {
    let texts = vec!["\u{1}".repeat(1000); 50];
    let task = task(json!({
        "idempotency_key": "\u{1}".repeat(256),
        "objective": "🦀".repeat(4000),
        "inputs": {"x": "y".repeat(task::MAX_INPUTS_BYTES - 8)},
        "metadata": {"x": "y".repeat(task::MAX_METADATA_BYTES - 8)},
        "acceptance_criteria": texts, "evidence_requirements": texts,
    }));
    let trace_id = trace_id();
    let bundle = task_to_cwom(&task, &origin(&trace_id));
    assert_eq!(issue_to_task(&bundle.view()), Ok(task));
    for spec in specs(bundle) {
        assert_eq!(read(spec.kind(), &spec.to_json(), Naming::Rest).1, []);
    }
}

#[test]
fn a_repo_that_was_there_takes_the_place_of_the_new_one() {
    let trace_id = trace_id();
    let mut bundle = task_to_cwom(&task(json!({})), &origin(&trace_id));
    let id = Id::derive(Timestamp::UNIX_EPOCH, "other");
    bundle.use_repo(Object { id, ..bundle.repo.clone() });
    assert_eq!(bundle.issue.spec.repo.id(), Some(id));
    assert_eq!(bundle.ids(), CwomIds::of(&origin(&trace_id), Some(id)));
}

#[rstest]
#[case(false, false, RiskTolerance::Low)]
#[case(true, false, RiskTolerance::Medium)]
#[case(false, true, RiskTolerance::Medium)]
#[case(true, true, RiskTolerance::High)]
fn risk(#[case] allow_network: bool, #[case] allow_secrets: bool, #[case] expected: RiskTolerance) {
    let mut task = task(json!({}));
    task.constraints = task::Constraints { time_budget_seconds: 90, allow_network, allow_secrets };
    let trace_id = trace_id();
    let snapshot = task_to_cwom(&task, &origin(&trace_id)).constraint_snapshot.spec;
    assert_eq!(snapshot.constraints.risk.tolerance, Some(expected));
    assert_eq!(snapshot.constraints.time.available_minutes, Some(1.5));
}

fn spec(kind: Kind, change: Value) -> Spec {
    let mut document = read_tests::minimal(kind);
    json_patch::merge(&mut document, &change);
    read(kind, &document, Naming::Rest).0.unwrap()
}

/// An Issue that people wrote, on a Repo that people wrote.
fn written(change: Value) -> (Repo, Issue) {
    let (Spec::Repo(repo), Spec::Issue(issue)) =
        (spec(Kind::Repo, json!({"default_branch": "trunk"})), spec(Kind::Issue, change))
    else {
        panic!()
    };
    (*repo, *issue)
}

#[test]
fn an_issue_that_people_wrote_is_a_task() {
    let (repo, issue) = written(json!({"title": "Greet them all", "acceptance": {"criteria": ["All greeted"]}}));
    let ada = Actor { actor_kind: ActorKind::Human, actor_id: "ada".into(), display: None };
    let view = IssueView {
        repo: &repo,
        issue: &issue,
        context_packet: None,
        constraint_snapshot: None,
        made_by_jct: MadeByJct::default(),
        requester: Some(&ada),
    };
    let task = issue_to_task(&view).unwrap();
    assert_eq!((task.objective.as_str(), task.requested_by.id.as_str()), ("Greet them all", "ada"));
    assert_eq!((task.target.git_ref.as_str(), task.constraints.time_budget_seconds), ("trunk", 900));
    assert_eq!(task.acceptance_criteria, ["All greeted"]);

    let assigned = Issue { assignees: vec![Actor { actor_id: "bot".into(), ..ada.clone() }], ..issue.clone() };
    let of = |requester| issue_to_task(&IssueView { issue: &assigned, requester, ..view }).unwrap().requested_by.id;
    assert_eq!((of(Some(&ada)), of(None)), ("ada".into(), "bot".into()), "who asks now counts, then who was assigned");

    let nobody = issue_to_task(&IssueView { requester: None, ..view }).unwrap_err();
    assert_eq!(nobody[0].to_string(), "INVALID_SPEC: requested_by: is required");
}

#[rstest]
#[case(json!({"description": "x".repeat(4001)}), "objective")]
#[case(json!({"meta": {"task": {"metadata": 5}}}), "metadata")]
#[case(json!({"meta": {"task": {"evidence_requirements": [5]}}}), "evidence_requirements[0]")]
#[case(json!({"acceptance": {"criteria": ["x".repeat(1001)]}}), "acceptance_criteria[0]")]
fn an_issue_that_is_no_task_says_why(#[case] change: Value, #[case] field: &str) {
    let mut with_assignee = json!({
        "title": "Greet them all", "assignees": [{"actor_kind": "human", "actor_id": "ada"}],
    });
    json_patch::merge(&mut with_assignee, &change);
    let (repo, issue) = written(with_assignee);
    let view = IssueView {
        repo: &repo,
        issue: &issue,
        context_packet: None,
        constraint_snapshot: None,
        made_by_jct: MadeByJct { issue: true, ..MadeByJct::default() },
        requester: None,
    };
    let findings = issue_to_task(&view).unwrap_err();
    assert_eq!(findings.iter().map(|finding| finding.field.as_str()).collect::<Vec<_>>(), [field]);
}

#[test]
fn every_type_of_issue_is_an_operation() {
    let operations: Vec<Value> = IssueType::ALL
        .iter()
        .map(|issue_type| {
            let (repo, issue) = written(json!({"type": issue_type}));
            let view = IssueView {
                repo: &repo,
                issue: &issue,
                context_packet: None,
                constraint_snapshot: None,
                made_by_jct: MadeByJct::default(),
                requester: None,
            };
            task_document(&view)["operation"].clone()
        })
        .collect();
    assert_eq!(operations, ["code_change", "code_change", "ops", "analysis", "ops", "docs", "ops"]);
}

#[test]
fn an_attempt_is_a_run_that_only_grows() {
    let trace_id = trace_id();
    let origin = origin(&trace_id);
    let ids = CwomIds::of(&origin, None);
    let task = task(json!({}));
    let started_at = time("2026-03-01T12:00:01Z");
    let ended_at = time("2026-03-01T12:00:03.5Z");
    let planned = Attempt {
        number: 1,
        executor: "analysis",
        worker: None,
        commit: None,
        created_at: origin.created_at,
        state: AttemptState::Planned,
        artifacts: &[],
        result: None,
        cpu_ms: None,
    };
    let ended = |ending| AttemptState::Ended { started_at: Some(started_at), ended_at, ending };
    let artifacts = [Id::derive(started_at, "a")];
    let states = [
        planned,
        Attempt { state: AttemptState::Running { started_at }, ..planned },
        Attempt {
            state: ended(Ending::Done { summary: Some("2 files") }),
            worker: Some("jct 0.1.0"),
            commit: Some("c0ffee"),
            artifacts: &artifacts,
            ..planned
        },
    ];
    let runs = states.map(|attempt| run_of_attempt(&task, &origin, &ids, &attempt));
    for pair in runs.windows(2) {
        assert_eq!(pair[0].id, pair[1].id);
        let [old, new] = [&pair[0], &pair[1]].map(|run| Spec::from(run.spec.clone()));
        assert_eq!(check_update(&old, &new, Naming::Rest), []);
    }
    let [_, _, done] = runs;
    insta::assert_json_snapshot!("run_done", Object::from(done).to_json());

    let (reason, message) = (FailureReason::TimeBudgetExceeded, "x".repeat(5000));
    let failed = ended(Ending::Failed { reason, message: &message });
    let failed = run_of_attempt(&task, &origin, &ids, &Attempt { number: 2, state: failed, ..planned });
    assert_ne!(failed.id, run_id(&origin, 1));
    let failure = failed.spec.failure.clone().unwrap();
    assert_eq!((failed.spec.status, failure.category), (Status::Failed, FailureCategory::Runtime));
    assert!(failure.message.starts_with("TimeBudgetExceeded: xxx") && failure.message.len() == 4000);
    let canceled = ended(Ending::Canceled { message: "ada asked for it" });
    let canceled = run_of_attempt(&task, &origin, &ids, &Attempt { state: canceled, ..planned });
    assert_eq!(canceled.spec.status, Status::Canceled);
    // What an executor claims is kept as far as a Run may hold it.
    let result = ExecutorResult {
        summary: Some("all done\0".into()),
        decision_log: vec!["y".repeat(5000); 200],
        cost: Some(ExecutorCost { usd: Some(f64::NAN), tokens: Some(u64::MAX) }),
        ..ExecutorResult::default()
    };
    let state = ended(Ending::Done { summary: None });
    let claimed = Attempt { state, result: Some(&result), cpu_ms: Some(1500), ..planned };
    let claimed = run_of_attempt(&task, &origin, &ids, &claimed);
    assert_eq!(claimed.spec.outputs.result_summary.as_deref(), Some("all done"));
    assert_eq!(claimed.spec.cost, Cost { usd: None, tokens: None, compute_s: Some(1.5) });
    assert_eq!(claimed.spec.outputs.decision_log, vec!["y".repeat(4000); 100]);
    for run in [failed, canceled, claimed] {
        assert_eq!(read(Kind::Run, &Spec::from(run.spec).to_json(), Naming::Rest).1, []);
    }
}

#[test]
fn the_issue_follows_its_task() {
    for from in Phase::ALL {
        for to in Phase::ALL {
            let (old, new) = (issue_status(from), issue_status(to));
            assert!(!from.may_become(to) || old.may_become(Kind::Issue, new), "{from} -> {to}");
        }
    }
}

fn file(path: &str, kind: FileKind) -> FileEntry {
    FileEntry { path: path.into(), kind, media_type: "text/plain".into(), size_bytes: 5, sha256: "ab".repeat(32) }
}

#[rstest]
#[case("artifacts/change.patch", FileKind::Diff, ArtifactType::CodePatch, true)]
#[case("artifacts/report.md", FileKind::Report, ArtifactType::Report, true)]
#[case("artifacts/guide.md", FileKind::File, ArtifactType::Doc, true)]
#[case("artifacts/table.CSV", FileKind::File, ArtifactType::Dataset, true)]
#[case("artifacts/v1.0/json", FileKind::File, ArtifactType::Binary, true)]
#[case("artifacts/app", FileKind::File, ArtifactType::Binary, true)]
#[case("artifacts/build.log", FileKind::Log, ArtifactType::Log, true)]
#[case("artifacts/metrics.json", FileKind::Metric, ArtifactType::Dataset, true)]
#[case("events.jsonl", FileKind::Log, ArtifactType::Trace, true)]
#[case("trace.log", FileKind::Log, ArtifactType::Trace, true)]
#[case("stdout.log", FileKind::Log, ArtifactType::Log, false)]
#[case("task.json", FileKind::File, ArtifactType::Trace, false)]
fn files_are_artifacts(
    #[case] path: &str,
    #[case] kind: FileKind,
    #[case] expected: ArtifactType,
    #[case] of_interest: bool,
) {
    let trace_id = trace_id();
    let origin = origin(&trace_id);
    let ids = CwomIds::of(&origin, None);
    let file = file(path, kind);
    let artifact = artifact_of_file(&origin, &ids, 1, "team/x/1", &file, time("2026-03-01T12:00:04Z"));
    assert_eq!((artifact.spec.r#type, is_of_interest(&file)), (expected, of_interest));
    assert_eq!(artifact.spec.produced_by.id(), Some(run_id(&origin, 1)));
    assert_eq!(artifact.spec.digest.as_deref(), Some(format!("sha256:{}", "ab".repeat(32)).as_str()));
    let spec = Spec::from(artifact.spec);
    assert_eq!(read(Kind::Artifact, &spec.to_json(), Naming::Rest), (Some(spec), vec![]));
}

#[test]
fn a_file_of_the_longest_name_is_an_artifact() {
    let trace_id = trace_id();
    let origin = origin(&trace_id);
    let path = format!("artifacts/{}", "ä/".repeat(500));
    let artifact = artifact_of_file(
        &origin,
        &CwomIds::of(&origin, None),
        1,
        &"n".repeat(100),
        &file(&path, FileKind::File),
        time("2026-03-01T12:00:04Z"),
    );
    assert_eq!(read(Kind::Artifact, &Spec::from(artifact.spec).to_json(), Naming::Rest).1, []);
}

#[test]
fn what_people_write_into_free_form_fields_becomes_no_command_ref_or_path() {
    let (repo, issue) = written(json!({
        "title": "Greet them all", "assignees": [{"actor_kind": "human", "actor_id": "ada"}],
        "meta": {"task": {"metadata": {"a": 1}, "evidence_requirements": ["e"], "idempotency_key": "k"}},
    }));
    let evil = json!({"commands": [["/bin/sh", "-c", "evil"]]}).to_string();
    let packet = spec(
        Kind::ContextPacket,
        json!({
            "meta": {"task": {"ref": "attacker-branch", "path": "evil"}},
            "inputs": {"data_blobs": [{"name": "task-inputs", "media_type": "application/json", "inline": evil}]},
        }),
    );
    let snapshot = spec(
        Kind::ConstraintSnapshot,
        json!({
            "meta": {"task": {"time_budget_seconds": 86400, "allow_network": true, "allow_secrets": true}},
            "constraints": {"time": {"available_minutes": 1}},
        }),
    );
    let (Spec::ContextPacket(packet), Spec::ConstraintSnapshot(snapshot)) = (packet, snapshot) else { panic!() };
    let view = IssueView {
        repo: &repo,
        issue: &issue,
        context_packet: Some(&packet),
        constraint_snapshot: Some(&snapshot),
        made_by_jct: MadeByJct::default(),
        requester: None,
    };
    let task = issue_to_task(&view).unwrap();
    assert_eq!((task.target.git_ref.as_str(), task.target.path.as_str()), ("trunk", ""));
    assert!(task.inputs.is_empty() && task.metadata.is_empty() && task.evidence_requirements.is_empty());
    assert_eq!((task.idempotency_key, task.constraints.time_budget_seconds), (None, 60));
    // The same fields of what JCT made are what a Task knew.
    let made = task_document(&IssueView { made_by_jct: MadeByJct::ALL, ..view });
    assert_eq!(
        (&made["target"]["ref"], &made["inputs"]["commands"][0][2]),
        (&json!("attacker-branch"), &json!("evil"))
    );
    assert_eq!((&made["constraints"]["allow_network"], &made["metadata"]["a"]), (&json!(true), &json!(1)));
}
