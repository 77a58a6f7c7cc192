//! Which fields of which kind may change once an object is created (contract section 2, invariants).

use serde_json::Value;

use super::{Kind, Spec, Status};
use crate::{Code, Finding, Naming};

/// How a field may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// In any way.
    Free,
    /// Not at all.
    Never,
    /// From nothing to something, and then no more.
    Once,
    /// By what comes after what is there: entries of lists, fields that were empty.
    Append,
    /// As [`Status::may_become`] allows.
    Lifecycle,
}

/// How the field with this snake_case name may change.
pub fn change(kind: Kind, field: &str) -> Change {
    match (kind, field) {
        (Kind::ContextPacket | Kind::ConstraintSnapshot, _) => Change::Never,
        (Kind::Repo, "slug") => Change::Never,
        (Kind::DoctrineRef, "namespace" | "name" | "version") => Change::Never,
        (Kind::Issue | Kind::Run, "status") => Change::Lifecycle,
        // What a Run was about, and who made an Artifact, is history.
        (Kind::Run, "for_issue" | "repo" | "mode") => Change::Never,
        (Kind::Run, "inputs" | "outputs") => Change::Append,
        (Kind::Artifact, "produced_by" | "for_issue") => Change::Never,
        (Kind::Artifact, "digest") => Change::Once,
        _ => Change::Free,
    }
}

/// What is wrong with the change from `old` to `new`: a finding for each field that may not change so.
pub fn check_update(old: &Spec, new: &Spec, naming: Naming) -> Vec<Finding> {
    let kind = old.kind();
    if new.kind() != kind {
        return vec![Finding::new(Code::InvalidSpec, naming.path(""), format!("must stay {}", a(kind)))];
    }
    let (old, new) = (old.to_json(), new.to_json());
    let mut findings = Vec::new();
    for field in kind.shape().fields {
        let (old, new) = (&old[field.name], &new[field.name]);
        let rule = change(kind, field.name);
        if old == new || rule == Change::Free {
            continue;
        }
        let path = field.name.to_owned();
        let mut refuse = |path: String, message: String| {
            findings.push(Finding::new(Code::InvalidSpec, naming.path(&path), message));
        };
        match rule {
            Change::Free => {}
            Change::Never if kind.is_immutable() => {
                refuse(path, format!("cannot change: {} is immutable; make a new {kind} instead", a(kind)));
            }
            Change::Never => refuse(path, format!("of {} cannot change; make a new {kind} instead", a(kind))),
            Change::Once if old.is_null() => {}
            Change::Once => refuse(path, "cannot change once it is set".into()),
            Change::Append => appended(old, new, path, &mut refuse),
            Change::Lifecycle => {
                let status = |value: &Value| value.as_str().and_then(Status::parse);
                if let (Some(from), Some(to)) = (status(old), status(new))
                    && !from.may_become(kind, to)
                {
                    refuse(path, forbidden(kind, from, to));
                }
            }
        }
    }
    findings
}

/// The kind with its article.
fn a(kind: Kind) -> String {
    let article = if matches!(kind, Kind::Issue | Kind::Artifact) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn forbidden(kind: Kind, from: Status, to: Status) -> String {
    if from.is_terminal(kind) {
        return format!("cannot become {to}: {from} is the end of {}", a(kind));
    }
    let next: Vec<&str> = from.next(kind).iter().map(|status| status.as_str()).collect();
    format!("cannot become {to}; from {from} it can become {}", next.join(", "))
}

/// Notes where `new` takes something away from `old`.
fn appended(old: &Value, new: &Value, path: String, refuse: &mut impl FnMut(String, String)) {
    match (old, new) {
        (Value::Object(fields), Value::Object(new)) if !fields.contains_key("kind") => {
            for (name, old) in fields {
                appended(old, new.get(name).unwrap_or(&Value::Null), format!("{path}.{name}"), refuse);
            }
        }
        (Value::Array(old), Value::Array(new)) if new.starts_with(old) => {}
        (Value::Array(_), _) => {
            refuse(
                path,
                "is append-only: the entries that are there must stay, in their order, before new ones".into(),
            );
        }
        (old, new) if old == new || old.is_null() => {}
        _ => refuse(path, "is append-only: it cannot change once it is set".into()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::cwom::read_tests::minimal;
    use crate::cwom::{ConstraintSnapshot, ContextPacket, read};

    const A: &str = "01KJMMA2G027CE4HT1RZKZBW4A";
    const B: &str = "01KJMMA2G027CE4HT1RZKZBW4B";

    fn packet(id: &str) -> Value {
        json!({"kind": "ContextPacket", "id": id})
    }

    fn changed(kind: Kind, before: &Value, after: &Value) -> Vec<String> {
        let spec = |changes: &[&Value]| {
            let mut document = minimal(kind);
            changes.iter().for_each(|change| json_patch::merge(&mut document, change));
            let (spec, findings) = read(kind, &document, Naming::Rest);
            assert_eq!(findings, []);
            spec.unwrap()
        };
        let findings = check_update(&spec(&[before]), &spec(&[before, after]), Naming::CustomResource);
        findings.iter().map(ToString::to_string).collect()
    }

    /// A field that is not named may change: whoever adds one decides that here.
    #[rstest]
    #[case(Kind::Repo, "name source default_branch visibility owners policy links tags meta")]
    #[case(
        Kind::Issue,
        "repo title description type priority assignees watchers doctrine_refs constraints context_packets acceptance \
         relationships runs tags meta"
    )]
    #[case(Kind::ContextPacket, "")]
    #[case(Kind::ConstraintSnapshot, "")]
    #[case(Kind::DoctrineRef, "type priority statement rationale links applicability tags meta")]
    #[case(Kind::Run, "executor plan telemetry cost failure tags meta")]
    #[case(Kind::Artifact, "type title uri media_type size_bytes preview verification tags meta")]
    fn what_may_change_freely(#[case] kind: Kind, #[case] expected: &str) {
        let free = kind.shape().fields.iter().filter(|field| change(kind, field.name) == Change::Free);
        assert_eq!(free.map(|field| field.name).collect::<Vec<_>>().join(" "), expected);
    }

    #[rstest]
    #[case(Kind::Repo, json!({}), json!({"slug": "octo/other"}), "spec.slug: of a Repo cannot change; make a new Repo")]
    #[case(Kind::DoctrineRef, json!({}), json!({"version": "2"}), "spec.version: of a DoctrineRef cannot change")]
    #[case(Kind::DoctrineRef, json!({}), json!({"name": "x"}), "spec.name: of a DoctrineRef cannot change")]
    #[case(Kind::DoctrineRef, json!({}), json!({"namespace": "x"}), "spec.namespace: of a DoctrineRef cannot change")]
    #[case(Kind::ContextPacket, json!({}), json!({"open_questions": ["x"]}), "spec.openQuestions: cannot change: a ContextPacket is immutable; make a new")]
    #[case(Kind::ContextPacket, json!({}), json!({"tags": ["x"]}), "spec.tags: cannot change")]
    #[case(Kind::ContextPacket, json!({"meta": {"a": {"b": 1}}}), json!({"meta": {"a": {"b": 2}}}), "spec.meta: cannot change")]
    #[case(Kind::ConstraintSnapshot, json!({}), json!({"constraints": {"risk": {"tolerance": "low"}}}), "spec.constraints: cannot change")]
    #[case(Kind::Issue, json!({"status": "running"}), json!({"status": "planned"}), "spec.status: cannot become planned; from running it can become ready, blocked")]
    #[case(Kind::Issue, json!({"status": "done"}), json!({"status": "running"}), "spec.status: cannot become running: done is the end of an Issue")]
    #[case(Kind::Run, json!({"status": "failed"}), json!({"status": "running"}), "spec.status: cannot become running: failed is the end of a Run")]
    #[case(Kind::Run, json!({}), json!({"for_issue": {"id": B}}), "spec.forIssue: of a Run cannot change")]
    #[case(Kind::Run, json!({}), json!({"mode": "human"}), "spec.mode: of a Run cannot change")]
    #[case(Kind::Run, json!({"inputs": {"context_packets": [packet(A)]}}), json!({"inputs": {"context_packets": []}}), "spec.inputs.contextPackets: is append-only")]
    #[case(Kind::Run, json!({"inputs": {"context_packets": [packet(A)]}}), json!({"inputs": {"context_packets": [packet(B), packet(A)]}}), "spec.inputs.contextPackets: is append-only: the entries that are there must stay")]
    #[case(Kind::Run, json!({"inputs": {"constraint_snapshot": {"kind": "ConstraintSnapshot", "id": A}}}), json!({"inputs": {"constraint_snapshot": {"id": B}}}), "spec.inputs.constraintSnapshot: is append-only: it cannot change once it is set")]
    #[case(Kind::Run, json!({"inputs": {"constraint_snapshot": {"kind": "ConstraintSnapshot", "id": A}}}), json!({"inputs": null}), "spec.inputs.constraintSnapshot: is append-only")]
    #[case(Kind::Run, json!({"outputs": {"decision_log": ["a", "b"]}}), json!({"outputs": {"decision_log": ["a"]}}), "spec.outputs.decisionLog: is append-only")]
    #[case(Kind::Run, json!({"outputs": {"result_summary": "a"}}), json!({"outputs": {"result_summary": "b"}}), "spec.outputs.resultSummary: is append-only")]
    #[case(Kind::Artifact, json!({}), json!({"produced_by": {"id": B}}), "spec.producedBy: of an Artifact cannot change")]
    #[case(Kind::Artifact, json!({"digest": "sha256:00"}), json!({"digest": "sha256:01"}), "spec.digest: cannot change once it is set")]
    fn refused(#[case] kind: Kind, #[case] before: Value, #[case] after: Value, #[case] expected: &str) {
        let found = changed(kind, &before, &after);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("INVALID_SPEC: {expected}")), "{found:?}");
    }

    #[rstest]
    #[case(Kind::Repo, json!({}), json!({"name": "x", "owners": [{"actor_kind": "human", "actor_id": "x"}], "tags": ["x"]}))]
    #[case(Kind::DoctrineRef, json!({}), json!({"statement": "x", "priority": "must"}))]
    #[case(Kind::ContextPacket, json!({}), json!({"instructions": "", "tags": []}))]
    #[case(Kind::Issue, json!({}), json!({"status": "done", "title": "x", "repo": {"id": B}}))]
    #[case(Kind::Issue, json!({"status": "failed"}), json!({"status": "running"}))]
    #[case(Kind::Run, json!({"status": "done"}), json!({"status": "done", "cost": {"tokens": 1}}))]
    #[case(Kind::Run, json!({"inputs": {"context_packets": [packet(A)]}}), json!({"inputs": {"context_packets": [packet(A), packet(B)]}}))]
    #[case(Kind::Run, json!({}), json!({"outputs": {"result_summary": "a", "decision_log": ["a"]}}))]
    #[case(Kind::Artifact, json!({}), json!({"digest": "sha256:01", "uri": "https://elsewhere"}))]
    fn allowed(#[case] kind: Kind, #[case] before: Value, #[case] after: Value) {
        assert_eq!(changed(kind, &before, &after), [""; 0]);
    }

    #[test]
    fn every_field_named_here_exists() {
        let fixed = |kind: Kind| {
            kind.shape()
                .fields
                .iter()
                .filter(|f| change(kind, f.name) != Change::Free)
                .map(|f| f.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(fixed(Kind::Repo), ["slug"]);
        assert_eq!(fixed(Kind::Issue), ["status"]);
        assert_eq!(fixed(Kind::ContextPacket).len(), ContextPacket::SHAPE.fields.len());
        assert_eq!(fixed(Kind::ConstraintSnapshot).len(), ConstraintSnapshot::SHAPE.fields.len());
        assert_eq!(fixed(Kind::DoctrineRef), ["namespace", "name", "version"]);
        assert_eq!(fixed(Kind::Run), ["for_issue", "repo", "status", "mode", "inputs", "outputs"]);
        assert_eq!(fixed(Kind::Artifact), ["produced_by", "for_issue", "digest"]);
    }
}
