//! The digest of a spec: of its JSON as the API server has it, compact and with sorted keys, so that webhook and controller
//! come to the same one.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::id::hex;

/// The fields of a Task's spec that may change.
const CONTROLS: [&str; 2] = ["suspend", "cancel"];

/// The digest of a whole spec.
pub fn spec_sha256(spec: &Value) -> String {
    let mut hash = Sha256::new();
    write(&mut hash, spec);
    hex(&hash.finalize())
}

/// The digest of what a spec of `kind` commits its submitter to: for a Task all that can't change, for other kinds the whole.
pub fn submitted_sha256(kind: &str, spec: &Value) -> String {
    match spec {
        Value::Object(fields) if kind == "Task" => {
            let mut hash = Sha256::new();
            let kept = fields.iter().filter(|(name, _)| !CONTROLS.contains(&name.as_str()));
            write_object(&mut hash, kept.collect());
            hex(&hash.finalize())
        }
        _ => spec_sha256(spec),
    }
}

fn write(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => write_object(hash, fields.iter().collect()),
        Value::Array(items) => {
            hash.update(b"[");
            for (at, item) in items.iter().enumerate() {
                hash.update(if at == 0 { "" } else { "," });
                write(hash, item);
            }
            hash.update(b"]");
        }
        scalar => hash.update(scalar.to_string()),
    }
}

fn write_object(hash: &mut Sha256, mut fields: Vec<(&String, &Value)>) {
    // Whatever order the map has: that is a feature of a library which any dependency can switch.
    fields.sort_by_key(|(name, _)| *name);
    hash.update(b"{");
    for (at, (name, value)) in fields.into_iter().enumerate() {
        hash.update(if at == 0 { "" } else { "," });
        hash.update(Value::from(name.as_str()).to_string());
        hash.update(b":");
        write(hash, value);
    }
    hash.update(b"}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::id::sha256_hex;

    #[test]
    fn the_digest_is_that_of_compact_json_with_sorted_keys() {
        let spec: Value =
            serde_json::from_str(r#" { "b" : [1, 2.5, -0.0, 1e300, null], "a": {"é\n": "\u0000", "A": true} } "#)
                .unwrap();
        let compact = r#"{"a":{"A":true,"é\n":"\u0000"},"b":[1,2.5,-0.0,1e+300,null]}"#;
        assert_eq!(spec_sha256(&spec), sha256_hex(compact.as_bytes()));
        assert_ne!(spec_sha256(&spec), spec_sha256(&json!({"a": {}})));
        assert_ne!(spec_sha256(&json!(["a", "b"])), spec_sha256(&json!(["a,b"])));
    }

    #[test]
    fn a_task_may_be_suspended_and_cancelled_under_its_submitters_name_and_not_otherwise_changed() {
        let of = |spec: Value| submitted_sha256("Task", &spec);
        let task = of(json!({"objective": "Look", "target": {"suspend": 1}}));
        assert_eq!(of(json!({"objective": "Look", "target": {"suspend": 1}, "suspend": true, "cancel": true})), task);
        assert_ne!(of(json!({"objective": "Look", "target": {}})), task);
        assert_ne!(
            submitted_sha256("Issue", &json!({"cancel": true})),
            submitted_sha256("Issue", &json!({})),
            "only Tasks have controls"
        );
    }
}
