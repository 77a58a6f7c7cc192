//! What is asked of an object when it is created or changed: one table for Task and the seven CWOM kinds, for the webhook
//! and `jct check` alike.

use serde_json::{Map, Value};

use super::{Policy, gate};
use crate::cwom::{self, Kind};
use crate::review::{Decision, MAX_REASON};
use crate::task::may_change;
use crate::{Code, Finding, Id, Naming};

/// The custom resources that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Task,
    Work(Kind),
    /// A Session, by which somebody asks who they are to the API.
    Session,
    /// A Review, by which somebody decides about what a Task made.
    Review,
}

impl Subject {
    /// The subject of this kind of our group, if there is one.
    pub fn parse(kind: &str) -> Option<Self> {
        match kind {
            "Task" => Some(Self::Task),
            "Session" => Some(Self::Session),
            "Review" => Some(Self::Review),
            _ => Kind::parse(kind).map(Self::Work),
        }
    }

    /// All that is wrong with a new object of this `spec`.
    pub fn check_new(self, spec: &Value, policy: &Policy) -> Vec<Finding> {
        match self {
            Self::Task => gate(spec, Naming::CustomResource, policy).findings().to_vec(),
            Self::Work(kind) => cwom::read(kind, spec, Naming::CustomResource).1,
            Self::Session => check_session(spec),
            Self::Review => check_review(spec),
        }
    }

    /// All that is wrong with a change of the spec.
    ///
    /// A spec that stays as it is is not read again: rules that became tighter must not keep an object from being
    /// cancelled, labelled or deleted.
    pub fn check_change(self, old: &Value, new: &Value) -> Vec<Finding> {
        match self {
            _ if old == new => Vec::new(),
            Self::Task => changed_fields(old, new),
            Self::Work(kind) => check_work_change(kind, old, new),
            Self::Session => {
                vec![Finding::new(Code::InvalidSpec, "spec", "cannot change: make a new Session instead")]
            }
            Self::Review => {
                vec![Finding::new(Code::InvalidSpec, "spec", "cannot change: make a new Review instead")]
            }
        }
    }
}

/// The characters of 32 bytes in base64.
const KEY_CHARS: usize = 44;

/// All that is wrong with the spec of a Session. Whether the key is of any use is seen when it is used.
fn check_session(spec: &Value) -> Vec<Finding> {
    let Some(fields) = spec.as_object() else {
        return vec![Finding::new(Code::InvalidSpec, "spec", "must be an object: {publicKey: …}")];
    };
    let is_base64 = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let mut findings = Vec::new();
    match fields.get("publicKey").and_then(Value::as_str) {
        Some(key) if key.len() == KEY_CHARS && is_base64(key) => {}
        _ => {
            let message = "must be an X25519 public key: 32 bytes in base64";
            findings.push(Finding::new(Code::InvalidSpec, "spec.publicKey", message));
        }
    }
    if fields.keys().any(|name| name != "publicKey") {
        findings.push(Finding::new(Code::InvalidSpec, "spec", "has no fields but publicKey"));
    }
    findings
}

/// All that is wrong with the spec of a Review. What it is about is looked at when it is answered.
fn check_review(spec: &Value) -> Vec<Finding> {
    let Some(fields) = spec.as_object() else {
        return vec![Finding::new(
            Code::InvalidSpec,
            "spec",
            "must be an object: {task, evidencePack, subjectSha256, decision}",
        )];
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let task = spec.pointer("/task/name").and_then(Value::as_str).unwrap_or_default();
    let reason = fields.get("reason");
    let is_reason = |reason: &Value| reason.as_str().is_some_and(|text| text.chars().count() <= MAX_REASON);
    let checks = [
        ("spec.task.name", !task.is_empty(), "must be the name of a Task of this namespace"),
        ("spec.evidencePack", text("evidencePack").parse::<Id>().is_ok(), "must be the id of an evidence pack"),
        (
            "spec.subjectSha256",
            is_digest(text("subjectSha256")),
            "must be the digest that the evidence pack shows: 64 hexadecimal digits",
        ),
        ("spec.decision", Decision::parse(text("decision")).is_some(), "must be approved, rejected or needs_changes"),
        ("spec.reason", reason.is_none_or(is_reason), "must be a text of at most 4000 characters"),
    ];
    let wrong = checks.into_iter().filter(|(_, holds, _)| !holds);
    let mut findings: Vec<Finding> =
        wrong.map(|(field, _, message)| Finding::new(Code::InvalidSpec, field, message)).collect();
    let known = ["task", "evidencePack", "subjectSha256", "decision", "reason"];
    if fields.keys().any(|name| !known.contains(&name.as_str())) {
        let message = format!("has no fields but {}", known.join(", "));
        findings.push(Finding::new(Code::InvalidSpec, "spec", message));
    }
    findings
}

/// A finding for each field of a Task, other than suspend and cancel, that differs.
fn changed_fields(old: &Value, new: &Value) -> Vec<Finding> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| !may_change(name) && old.get(*name) != new.get(*name))
        .map(|name| {
            let message = "cannot change: only suspend and cancel may; make a new Task instead";
            Finding::new(Code::InvalidSpec, format!("spec.{name}"), message)
        })
        .collect()
}

fn check_work_change(kind: Kind, old: &Value, new: &Value) -> Vec<Finding> {
    let (new, findings) = cwom::read(kind, new, Naming::CustomResource);
    let Some(new) = new else { return findings };
    match cwom::read(kind, old, Naming::CustomResource).0 {
        Some(old) => cwom::check_update(&old, &new, Naming::CustomResource),
        // What was admitted by other rules and is no longer understood may be mended, unless it must not change at all.
        None if kind.is_immutable() => {
            let message = format!("cannot change: a {kind} is immutable; make a new {kind} instead");
            vec![Finding::new(Code::InvalidSpec, "spec", message)]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_review_is_about_a_digest_and_never_changes() {
        let spec = serde_json::json!({"task": {"name": "fix"}, "evidencePack": "01KJMMA2G027CE4HT1RZKZBW4A",
            "subjectSha256": "ab".repeat(32), "decision": "approved"});
        let check = |spec: &Value| Subject::Review.check_new(spec, &Policy::default());
        assert_eq!(check(&spec), []);
        for (field, wrong) in
            [("task", "x"), ("evidencePack", "x"), ("subjectSha256", "AB"), ("decision", "maybe"), ("reviewer", "ada")]
        {
            let mut changed = spec.clone();
            changed[field] = wrong.into();
            assert_eq!(check(&changed).len(), 1, "{field}");
            assert_eq!(Subject::Review.check_change(&spec, &changed).len(), 1);
        }
        assert_eq!(check(&Value::Null).len(), 1);
        assert_eq!(Subject::Review.check_change(&spec, &spec), []);
    }

    #[test]
    fn a_session_has_a_key_and_nothing_else_and_never_changes() {
        let check = |spec: Value| Subject::Session.check_new(&spec, &Policy::default());
        let key = "A".repeat(43) + "=";
        assert_eq!(check(json!({"publicKey": key})), []);
        let bad = [Value::Null, json!({}), json!({"publicKey": 7}), json!({"publicKey": "A".repeat(1 << 20)})];
        for spec in
            bad.into_iter().chain([json!({"publicKey": "<".repeat(44)}), json!({"publicKey": key, "user": "root"})])
        {
            let findings = check(spec.clone());
            assert!(findings.len() == 1 && findings[0].message.len() < 100, "{spec:.80}: {findings:?}");
        }
        let (old, new) = (json!({"publicKey": key}), json!({"publicKey": "B".repeat(43) + "="}));
        assert_eq!(Subject::Session.check_change(&old, &new).len(), 1);
        assert_eq!(Subject::Session.check_change(&old, &old), []);
    }
}
