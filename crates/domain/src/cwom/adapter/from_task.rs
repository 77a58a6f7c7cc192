//! A Task as Repo, Issue, ContextPacket and ConstraintSnapshot.

use serde_json::{Map, Value, json};

use super::{CwomBundle, CwomIds, Origin, TASK_INPUTS, TASK_META, issue_status, shortened};
use crate::cwom::{
    Acceptance, Actor, Budget, ConstraintSnapshot, Constraints, ContextPacket, DataBlob, Energy, Environment, Health,
    Issue, IssueType, Kind, Object, PacketInputs, Priority, Ref, Relationships, Repo, RepoPolicy, Risk, RiskTolerance,
    Scope, Source, Time, Tools, Visibility,
};
use crate::id::sha256_hex;
use crate::task::{self, Operation, Target, Task};
use crate::{Id, Phase};

/// The greatest length of an Issue's title that is made of an objective, in characters.
const MAX_TITLE_CHARS: usize = 200;

/// The objects that tell a Task's causality.
pub fn task_to_cwom(task: &Task, origin: &Origin) -> CwomBundle {
    let ids = CwomIds::of(origin, None);
    CwomBundle {
        repo: object(origin, ids.repo, repo(&task.target)),
        issue: object(origin, ids.issue, issue(task, &ids)),
        context_packet: object(origin, ids.context_packet, context_packet(task, &ids)),
        constraint_snapshot: object(origin, ids.constraint_snapshot, constraint_snapshot(task)),
    }
}

fn object<S: crate::cwom::WorkSpec>(origin: &Origin, id: Id, spec: S) -> Object<S> {
    Object::new(id, origin.created_at, origin.trace_id.clone(), spec)
}

fn repo(target: &Target) -> Repo {
    let slug = target.repo.as_str();
    Repo {
        name: slug.rsplit('/').next().unwrap_or(slug).into(),
        slug: slug.into(),
        source: Source { system: "jct".into(), external_id: None, url: None },
        default_branch: "main".into(),
        visibility: Visibility::Private,
        owners: Vec::new(),
        policy: RepoPolicy { allowed_tools: Vec::new(), secrets_profile: None },
        links: Vec::new(),
        tags: Vec::new(),
        meta: Map::new(),
    }
}

fn issue(task: &Task, ids: &CwomIds) -> Issue {
    let Task {
        version: _,
        idempotency_key,
        requested_by,
        objective,
        operation,
        target: _,
        constraints: _,
        inputs: _,
        metadata,
        acceptance_criteria,
        evidence_requirements,
    } = task;
    let from_objective = acceptance_criteria.is_empty();
    let criteria = if from_objective { vec![objective.clone()] } else { acceptance_criteria.clone() };
    let title = objective.lines().next().unwrap_or_default();
    Issue {
        repo: Ref::to(Kind::Repo, ids.repo),
        title: shortened(title, MAX_TITLE_CHARS),
        description: objective.clone(),
        r#type: issue_type(*operation),
        priority: Priority::P2,
        status: issue_status(Phase::Pending),
        assignees: vec![Actor::from(requested_by)],
        watchers: Vec::new(),
        doctrine_refs: Vec::new(),
        constraints: vec![Ref::to(Kind::ConstraintSnapshot, ids.constraint_snapshot)],
        context_packets: vec![Ref::to(Kind::ContextPacket, ids.context_packet)],
        acceptance: Acceptance { criteria, tests_expected: None },
        relationships: Relationships {
            parent: None,
            blocks: Vec::new(),
            blocked_by: Vec::new(),
            duplicates: Vec::new(),
        },
        runs: Vec::new(),
        tags: Vec::new(),
        meta: task_meta(json!({
            "idempotency_key": idempotency_key,
            "metadata": metadata,
            "evidence_requirements": evidence_requirements,
            "criteria_from_objective": from_objective,
        })),
    }
}

fn context_packet(task: &Task, ids: &CwomIds) -> ContextPacket {
    let Target { repo, git_ref, path } = &task.target;
    let mut assumptions = vec![format!("The work starts from {git_ref} of {repo}.")];
    if !path.is_empty() {
        assumptions.push(format!("The work is about the path {path}."));
    }
    ContextPacket {
        for_issue: Ref::to(Kind::Issue, ids.issue),
        version: "1".into(),
        summary: format!("{} on {repo} at {git_ref}", task.operation),
        inputs: PacketInputs { documents: Vec::new(), data_blobs: inputs(task), links: Vec::new() },
        assumptions,
        open_questions: Vec::new(),
        instructions: task.objective.clone(),
        doctrine_refs: Vec::new(),
        constraint_snapshot: Some(Ref::to(Kind::ConstraintSnapshot, ids.constraint_snapshot)),
        tags: Vec::new(),
        meta: task_meta(json!({"ref": git_ref, "path": path})),
    }
}

fn inputs(task: &Task) -> Vec<DataBlob> {
    if task.inputs.is_empty() {
        return Vec::new();
    }
    let json = Value::Object(task.inputs.clone()).to_string();
    vec![DataBlob {
        name: TASK_INPUTS.into(),
        media_type: "application/json".into(),
        uri: None,
        digest: Some(format!("sha256:{}", sha256_hex(json.as_bytes()))),
        inline: Some(json),
    }]
}

fn constraint_snapshot(task: &Task) -> ConstraintSnapshot {
    let task::Constraints { time_budget_seconds, allow_network, allow_secrets } = task.constraints;
    let tolerance = match (allow_network, allow_secrets) {
        (false, false) => RiskTolerance::Low,
        (true, true) => RiskTolerance::High,
        _ => RiskTolerance::Medium,
    };
    ConstraintSnapshot {
        scope: Scope::Run,
        captured_at: None,
        owner: Actor::from(&task.requested_by),
        constraints: Constraints {
            time: Time { available_minutes: Some(f64::from(time_budget_seconds) / 60.0), deadline: None },
            energy: Energy { score_0_5: None, notes: None },
            health: Health { flags: Vec::new(), notes: None },
            budget: Budget { usd_available: None, burn_limit_usd: None },
            tools: Tools { allowed: Vec::new(), blocked: Vec::new() },
            environment: Environment { location: None, connectivity: None, device: None },
            risk: Risk { tolerance: Some(tolerance), notes: None },
        },
        tags: Vec::new(),
        meta: task_meta(json!({
            "time_budget_seconds": time_budget_seconds,
            "allow_network": allow_network,
            "allow_secrets": allow_secrets,
        })),
    }
}

fn issue_type(operation: Operation) -> IssueType {
    match operation {
        Operation::CodeChange => IssueType::Feature,
        Operation::Docs => IssueType::Doc,
        Operation::Analysis => IssueType::Research,
        Operation::Ops => IssueType::Ops,
    }
}

fn task_meta(value: Value) -> Map<String, Value> {
    Map::from_iter([(TASK_META.to_owned(), value)])
}
