//! An Issue, and what belongs to it, as a Task.

use serde_json::{Value, json};

use super::{TASK_INPUTS, TASK_META};
use crate::cwom::{Actor, ConstraintSnapshot, ContextPacket, Issue, IssueType, Repo};
use crate::task::{Operation, read};
use crate::{Code, Finding, Naming, Task};

/// An Issue with what belongs to it, which need not have come from a Task.
#[derive(Clone, Copy, Debug)]
pub struct IssueView<'a> {
    pub repo: &'a Repo,
    pub issue: &'a Issue,
    /// What one has to know for it.
    pub context_packet: Option<&'a ContextPacket>,
    /// What it is done under.
    pub constraint_snapshot: Option<&'a ConstraintSnapshot>,
    /// Which of them JCT made for a Task.
    pub made_by_jct: MadeByJct,
    /// Who asks for the work, such as the executor of a Run; without one the first assignee, or the snapshot's owner.
    pub requester: Option<&'a Actor>,
}

/// Which objects JCT made for a Task. Only these have in their `meta` and data blobs what a Task knew: such free-form fields
/// of others are what somebody wrote there, and never become a command, a ref or a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MadeByJct {
    pub issue: bool,
    pub context_packet: bool,
    pub constraint_snapshot: bool,
}

impl MadeByJct {
    /// All of them.
    pub const ALL: Self = Self { issue: true, context_packet: true, constraint_snapshot: true };
}

/// The Task of an Issue.
///
/// # Errors
/// All that keeps it from being a Task, by the field of the Task, such as an objective of over 4000 characters. Where the
/// policy is to be asked too, give [`task_document`] to the gate instead.
pub fn issue_to_task(view: &IssueView) -> Result<Task, Vec<Finding>> {
    let (draft, findings) = read(&task_document(view), Naming::Rest);
    if !findings.is_empty() {
        return Err(findings);
    }
    let unfit =
        || Finding::new(Code::InvalidSpec, Naming::Rest.path(""), "asks for what no Task of version 1.0 may have");
    draft.into_task().ok_or_else(|| vec![unfit()])
}

/// The Task of an Issue as a REST body, for the gate to read and judge.
pub fn task_document(view: &IssueView) -> Value {
    let IssueView { repo, issue, context_packet, constraint_snapshot, made_by_jct, requester } = *view;
    let of_issue = issue.meta.get(TASK_META).filter(|_| made_by_jct.issue);
    let noted = |name: &str| of_issue.and_then(|meta| meta.get(name)).cloned();
    let of_task = context_packet.filter(|_| made_by_jct.context_packet);
    let packet_noted = |name: &str| of_task.and_then(|packet| packet.meta.get(TASK_META)?.get(name)).cloned();
    let requester = requester.or(issue.assignees.first()).or(constraint_snapshot.map(|snapshot| &snapshot.owner));
    let objective = objective(issue, context_packet);
    json!({
        "idempotency_key": noted("idempotency_key"),
        "requested_by": requester.map(|Actor { actor_kind, actor_id, display }| {
            json!({"kind": actor_kind, "id": actor_id, "label": display})
        }),
        "objective": objective,
        "operation": operation(issue.r#type),
        "target": {
            "repo": repo.slug,
            "ref": packet_noted("ref").unwrap_or_else(|| repo.default_branch.clone().into()),
            "path": packet_noted("path"),
        },
        "constraints": constraint_snapshot.map_or(Value::Null, |snapshot| constraints(snapshot, made_by_jct.constraint_snapshot)),
        "inputs": of_task.map_or(Value::Null, inputs),
        "metadata": noted("metadata"),
        "acceptance_criteria": criteria(issue, objective, noted("criteria_from_objective")),
        "evidence_requirements": noted("evidence_requirements"),
    })
}

fn objective<'a>(issue: &'a Issue, packet: Option<&'a ContextPacket>) -> &'a str {
    let texts = [issue.description.as_str(), packet.map_or("", |packet| &packet.instructions), &issue.title];
    texts.into_iter().find(|text| !text.trim().is_empty()).unwrap_or_default()
}

/// The criteria, unless they only repeat the objective for want of others.
fn criteria<'a>(issue: &'a Issue, objective: &str, from_objective: Option<Value>) -> &'a [String] {
    let repeated = matches!(issue.acceptance.criteria.as_slice(), [only] if only == objective);
    if repeated && from_objective != Some(Value::Bool(false)) { &[] } else { &issue.acceptance.criteria }
}

fn operation(issue_type: IssueType) -> Operation {
    match issue_type {
        IssueType::Feature | IssueType::Bug => Operation::CodeChange,
        IssueType::Doc => Operation::Docs,
        IssueType::Research => Operation::Analysis,
        IssueType::Ops | IssueType::Chore | IssueType::Incident => Operation::Ops,
    }
}

/// The exact values where a Task noted them, else what the snapshot says in minutes.
fn constraints(snapshot: &ConstraintSnapshot, is_by_jct: bool) -> Value {
    if let Some(exact) = snapshot.meta.get(TASK_META).filter(|_| is_by_jct) {
        return exact.clone();
    }
    let seconds = snapshot.constraints.time.available_minutes.map(|minutes| (minutes * 60.0).round() as i64);
    json!({"time_budget_seconds": seconds})
}

fn inputs(packet: &ContextPacket) -> Value {
    let blob = packet.inputs.data_blobs.iter().find(|blob| blob.name == TASK_INPUTS);
    let Some(text) = blob.and_then(|blob| blob.inline.as_deref()) else { return Value::Null };
    // Text that is no JSON is handed on as text, for the reader to refuse.
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
