//! Digests of JSON that do not depend on how it was written down: keys are sorted, blanks left out, numbers in one form.
//!
//! The webhook seals the digest of a spec, the controller holds what it reads against it: both by [`spec_digest`].

use std::io::{self, BufWriter};

use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Number, Value, json};
use sha2::{Digest as _, Sha256};

use super::Task;
use super::id::hex;
use super::task::{Asks, SHAPES, may_change};

/// The SHA-256 of a spec as it was written, as lower-case hex digits.
///
/// Numbers are taken as the API server keeps them, which writes 1.0 and 1e0 as 1.
pub fn spec_digest(spec: &Value) -> String {
    digest_of(&Canonical(spec))
}

/// The digests of one spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecDigests {
    /// Of all of it.
    pub whole: String,
    /// Of what it commits its submitter to: [`submitted_digest`].
    pub submitted: String,
}

impl SpecDigests {
    /// Those of a spec of `kind`.
    pub fn of(kind: &str, spec: &Value) -> Self {
        Self { whole: spec_digest(spec), submitted: submitted_digest(kind, spec) }
    }
}

/// The digest of what a spec of `kind` commits its submitter to: for a Task all that can't change, for other kinds the whole.
pub fn submitted_digest(kind: &str, spec: &Value) -> String {
    match spec {
        Value::Object(fields) if kind == "Task" => digest_of(&Submitted(fields)),
        _ => spec_digest(spec),
    }
}

/// A Task's spec without what may change.
struct Submitted<'a>(&'a Map<String, Value>);

impl Serialize for Submitted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = self.0.iter().filter(|(name, _)| !may_change(name));
        serializer.collect_map(kept.map(|(name, value)| (name, Canonical(value))))
    }
}

/// What is hashed at once, in bytes.
const PIECE: usize = 4096;

fn digest_of(document: &impl Serialize) -> String {
    struct Hash(Sha256);

    impl io::Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // JSON is written bit by bit, and each costs the hash a call.
    let mut hash = BufWriter::with_capacity(PIECE, Hash(Sha256::new()));
    // Neither a Value nor a hash can fail to be written.
    let _ = serde_json::to_writer(&mut hash, document);
    hash.into_inner().map(|hash| hex(&hash.0.finalize())).unwrap_or_default()
}

/// The digest of a Task as it is understood and of what is asked for beside it, defaults left out: two requests with the same
/// digest ask for the same, whatever aliases and defaults they spell out. What may change (`suspend`, `cancel`), and how long
/// the object stays after its end, do not count.
pub fn task_digest(task: &Task, asks: Asks, max_attempts: u32, create_cwom: bool) -> String {
    let Asks { executor, model, delivery } = asks;
    let mut asked = serde_json::to_value(task).unwrap_or_default();
    if let Value::Object(asked) = &mut asked {
        asked.insert("executor".into(), json!(executor));
        asked.insert("model".into(), json!(model));
        asked.insert("delivery".into(), json!(delivery));
        asked.insert("max_attempts".into(), json!(max_attempts));
        asked.insert("create_cwom".into(), json!(create_cwom));
        SHAPES.iter().for_each(|shape| leave_out(asked, &shape.defaults()));
    }
    spec_digest(&asked)
}

fn leave_out(asked: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (name, default) in defaults {
        if let (Some(Value::Object(inner)), Value::Object(defaults)) = (asked.get_mut(name), default)
            && !defaults.is_empty()
        {
            leave_out(inner, defaults);
        } else if asked.get(name) == Some(default) {
            asked.remove(name);
        }
    }
}

/// JSON in its one form. The keys of [`Map`] are sorted.
struct Canonical<'a>(&'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => canonical_number(number).serialize(serializer),
            Value::Array(values) => serializer.collect_seq(values.iter().map(Canonical)),
            Value::Object(map) => serializer.collect_map(map.iter().map(|(name, value)| (name, Canonical(value)))),
            other => other.serialize(serializer),
        }
    }
}

/// As the API server's decoder takes it: an integer of 64 bits, or else a float, which is written without a fraction where it
/// has none.
fn canonical_number(number: &Number) -> Number {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    if number.is_i64() {
        return number.clone();
    }
    let float = number.as_f64().unwrap_or_default();
    if float.fract() == 0.0 && float.abs() < TOO_LARGE {
        #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and fits")]
        return Number::from(float as i64);
    }
    Number::from_f64(float).unwrap_or_else(|| number.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::sha256_hex;
    use crate::policy::{Policy, Verdict, judge};
    use crate::task::Naming;

    fn digest(text: &str) -> String {
        spec_digest(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_form_is_frozen() {
        // Seals and records out there hold such digests.
        let text = r#"{"b":[1,2.5,null,true,"é\n"],"a":{"z":-1,"y":{}}}"#;
        let canonical = r#"{"a":{"y":{},"z":-1},"b":[1,2.5,null,true,"é\n"]}"#;
        assert_eq!(digest(text), sha256_hex(canonical.as_bytes()));
    }

    #[test]
    fn how_it_is_written_does_not_count_and_what_it_says_does() {
        let same = [r#"{"a": 1, "b": [100]}"#, r#"{"b":[1e2],"a":1.0}"#, r#"{"a":1e0,"b":[100.0]}"#];
        for text in same {
            assert_eq!(digest(text), digest(same[0]), "{text}");
        }
        for other in [r#"{"a":1}"#, r#"{"a":"1","b":[100]}"#, r#"{"a":1.5,"b":[100]}"#, r#"{"a":1,"b":{"0":100}}"#] {
            assert_ne!(digest(other), digest(same[0]), "{other}");
        }
        assert_eq!(digest("[-0.0]"), digest("[0]"));
        assert_eq!(digest("[18446744073709551615]"), digest("[18446744073709552000]"), "the API server has no u64");
        assert_ne!(digest("[9007199254740993]"), digest("[9007199254740992]"), "integers are exact");
    }

    fn of(spec: &Value) -> String {
        let (verdict, controls) = judge(spec, Naming::CustomResource, &Policy::default().allowing("octo/"));
        let Verdict::Accepted(task) = verdict else { panic!("{verdict:?}") };
        task_digest(&task, controls.asks(), controls.max_attempts, controls.create_cwom)
    }

    #[test]
    fn defaults_and_aliases_do_not_count_and_every_field_does() {
        let least = json!({
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "ops",
            "target": {"repo": "octo/hello"},
        });
        let spelt = json!({
            "version": "1.0", "requestedBy": {"kind": "human", "id": "ada"}, "objective": " Look around ", "type": "ops",
            "target": {"repository": "Octo/Hello.git", "ref": "", "path": ""}, "payload": {}, "metadata": {},
            "constraints": {"timeBudgetSeconds": 900, "allowNetwork": false, "allowSecrets": false},
            "acceptanceCriteria": [], "evidenceRequirements": [], "maxAttempts": 1, "createCwom": true,
            "suspend": true, "cancel": true, "ttlSecondsAfterFinished": 1, "delivery": {"mode": "none"},
        });
        assert_eq!(of(&least), of(&spelt));
        let changes = [
            json!({"idempotencyKey": "k"}),
            json!({"requestedBy": {"kind": "agent"}}),
            json!({"requestedBy": {"id": "eve"}}),
            json!({"requestedBy": {"label": "Ada"}}),
            json!({"objective": "Look away"}),
            json!({"operation": "docs"}),
            json!({"target": {"repo": "octo/other"}}),
            json!({"target": {"ref": "v1"}}),
            json!({"target": {"path": "src"}}),
            json!({"constraints": {"timeBudgetSeconds": 60}}),
            json!({"inputs": {"main": {}}}),
            json!({"metadata": {"a": false}}),
            json!({"acceptanceCriteria": ["a"]}),
            json!({"evidenceRequirements": ["a"]}),
            json!({"executor": "other"}),
            json!({"model": {"maxUsd": 1}}),
            json!({"delivery": {"mode": "branch"}}),
            json!({"maxAttempts": 2}),
            json!({"createCwom": false}),
        ];
        for change in changes {
            let mut other = least.clone();
            json_patch::merge(&mut other, &change);
            assert_ne!(of(&other), of(&least), "{change}");
        }
    }

    #[test]
    fn a_task_may_be_suspended_and_cancelled_under_its_submitters_name_and_not_otherwise_changed() {
        let of = |spec: Value| submitted_digest("Task", &spec);
        let task = of(json!({"objective": "Look", "target": {"suspend": 1}}));
        assert_eq!(task, spec_digest(&json!({"objective": "Look", "target": {"suspend": 1}})));
        assert_eq!(of(json!({"objective": "Look", "target": {"suspend": 1.0}, "suspend": true, "cancel": true})), task);
        assert_ne!(of(json!({"objective": "Look", "target": {}})), task);
        let of_issue = |spec: Value| submitted_digest("Issue", &spec);
        assert_ne!(of_issue(json!({"cancel": true})), of_issue(json!({})), "only Tasks have controls");
    }
}
