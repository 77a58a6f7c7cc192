//! What the API server finds wrong with the metadata of a new object (`k8s.io/apimachinery/pkg/api/validation`).

use serde_json::{Map, Value};

use crate::domain::applied::MAX_ANNOTATIONS_BYTES;
use crate::domain::name::{is_label, is_object_name};
use crate::domain::{Code, Finding};

/// Kubernetes adds five characters to the first 58 of `generateName`.
const MAX_GENERATED_PREFIX: usize = 58;
/// The fields, and what is to be said of a value of the wrong type.
const FIELDS: [(&str, Holds); 15] = [
    ("annotations", Holds::Texts),
    ("creationTimestamp", Holds::Time),
    ("deletionGracePeriodSeconds", Holds::Whole),
    ("deletionTimestamp", Holds::Time),
    ("finalizers", Holds::List),
    ("generateName", Holds::Text),
    ("generation", Holds::Whole),
    ("labels", Holds::Texts),
    (
        "managedFields",
        Holds::Objects(&["apiVersion", "fieldsType", "fieldsV1", "manager", "operation", "subresource", "time"]),
    ),
    ("name", Holds::Text),
    ("namespace", Holds::Text),
    ("ownerReferences", Holds::Objects(&["apiVersion", "blockOwnerDeletion", "controller", "kind", "name", "uid"])),
    ("resourceVersion", Holds::Text),
    ("selfLink", Holds::Text),
    ("uid", Holds::Text),
];

#[derive(Clone, Copy)]
enum Holds {
    Text,
    Texts,
    List,
    Objects(&'static [&'static str]),
    Time,
    Whole,
}

/// All that is wrong with `metadata`; null is none.
pub fn metadata_findings(metadata: &Value) -> Vec<Finding> {
    let mut checker = Checker { findings: Vec::new() };
    match metadata {
        Value::Object(metadata) => checker.check(metadata),
        Value::Null => checker.found("metadata.name", "is required"),
        _ => checker.found("metadata", "must be an object"),
    }
    checker.findings
}

struct Checker {
    findings: Vec<Finding>,
}

impl Checker {
    fn found(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding::new(Code::InvalidSpec, field, message));
    }

    fn check(&mut self, metadata: &Map<String, Value>) {
        for (name, value) in metadata {
            match FIELDS.iter().find(|(known, _)| known == name) {
                None => {
                    let shown: String = name.chars().take(64).collect();
                    let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
                    let message = format!("is not a field; the fields here are {}", known.join(", "));
                    self.found(format!("metadata.{shown}"), message);
                }
                Some((_, holds)) if !value.is_null() => self.typed(&format!("metadata.{name}"), value, *holds),
                Some(_) => {}
            }
        }
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
        self.names(text("name"), text("generateName"), metadata);
        let namespace = text("namespace");
        if !namespace.is_empty() && !is_label(namespace) {
            self.found("metadata.namespace", "must be lower-case letters, digits and inner dashes, at most 63");
        }
        self.labels(metadata);
        self.annotations(metadata);
        self.finalizers(metadata);
        self.owners(metadata);
    }

    fn typed(&mut self, path: &str, value: &Value, holds: Holds) {
        let wrong = match (holds, value) {
            (Holds::Text, value) => (!value.is_string()).then_some("must be a string"),
            (Holds::Texts, Value::Object(map)) => {
                for (name, value) in map.iter().filter(|(_, value)| !value.is_string() && !value.is_null()) {
                    let quoted = if value.is_object() || value.is_array() { "" } else { ": put it into quotes" };
                    self.found(format!("{path}[{name}]"), format!("must be a string{quoted}"));
                }
                None
            }
            (Holds::Texts, _) => Some("must be an object of strings"),
            (Holds::List, Value::Array(entries)) => {
                let wrong = entries.iter().any(|entry| !entry.is_string() && !entry.is_null());
                wrong.then_some("must be a list of strings")
            }
            (Holds::List, _) => Some("must be a list of strings"),
            (Holds::Objects(known), Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    self.entry(&format!("{path}[{index}]"), entry, known);
                }
                None
            }
            (Holds::Objects(_), _) => Some("must be a list of objects"),
            (Holds::Time, value) => {
                let is_time = value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok());
                (!is_time).then_some("must be a time such as 2026-03-01T12:00:00Z")
            }
            (Holds::Whole, value) => (!value.is_i64()).then_some("must be a whole number"),
        };
        if let Some(wrong) = wrong {
            self.found(path, wrong);
        }
    }

    fn entry(&mut self, path: &str, entry: &Value, known: &[&str]) {
        let Some(entry) = entry.as_object() else {
            if !entry.is_null() {
                self.found(path, "must be an object");
            }
            return;
        };
        for (name, value) in entry.iter().filter(|(_, value)| !value.is_null()) {
            let path = format!("{path}.{}", name.chars().take(64).collect::<String>());
            if !known.contains(&name.as_str()) {
                self.found(path, format!("is not a field; the fields here are {}", known.join(", ")));
                continue;
            }
            let fits = match name.as_str() {
                "blockOwnerDeletion" | "controller" => value.is_boolean(),
                "fieldsV1" => true,
                "time" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                _ => value.is_string(),
            };
            if !fits {
                self.found(path, "is of the wrong type");
            }
        }
    }

    fn names(&mut self, name: &str, prefix: &str, metadata: &Map<String, Value>) {
        let rule = "must be lower-case letters, digits, inner dashes and dots, at most 253";
        // A dash at its end will not be at the end of the name.
        let mut masked = prefix.to_owned();
        if prefix.len() > 1 && prefix.ends_with('-') {
            masked.truncate(prefix.len() - 1);
            masked.pop();
            masked.push('a');
        }
        let generated = format!("{}00000", prefix.chars().take(MAX_GENERATED_PREFIX).collect::<String>());
        let is_given = |name: &str| metadata.get(name).is_some_and(|value| !value.is_null() && value != "");
        if !prefix.is_empty() && (!is_object_name(&masked) || (name.is_empty() && !is_object_name(&generated))) {
            self.found("metadata.generateName", rule);
        }
        match name {
            "" if prefix.is_empty() && !is_given("name") && !is_given("generateName") => {
                self.found("metadata.name", "is required");
            }
            "" => {}
            name if is_object_name(name) => {}
            _ => self.found("metadata.name", rule),
        }
    }

    fn labels(&mut self, metadata: &Map<String, Value>) {
        let labels = metadata.get("labels").and_then(Value::as_object);
        for (name, value) in labels.into_iter().flatten() {
            let path = format!("metadata.labels[{name}]");
            if !is_qualified(name) {
                self.found(path, QUALIFIED);
            } else if value.as_str().is_some_and(|value| !value.is_empty() && !is_word(value)) {
                self.found(
                    path,
                    "must be at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
                );
            }
        }
    }

    fn annotations(&mut self, metadata: &Map<String, Value>) {
        let annotations = metadata.get("annotations").and_then(Value::as_object);
        let mut bytes = 0;
        for (name, value) in annotations.into_iter().flatten() {
            bytes += name.len() + value.as_str().map_or(0, str::len);
            // Capitals are allowed, in the prefix too.
            if !is_qualified(&name.to_lowercase()) {
                self.found(format!("metadata.annotations[{name}]"), QUALIFIED);
            }
        }
        if bytes > MAX_ANNOTATIONS_BYTES {
            self.found(
                "metadata.annotations",
                format!("must be at most 256 KiB in all, are {} KiB", bytes.div_ceil(1024)),
            );
        }
    }

    fn finalizers(&mut self, metadata: &Map<String, Value>) {
        let finalizers = metadata.get("finalizers").and_then(Value::as_array);
        let names: Vec<&str> =
            finalizers.into_iter().flatten().map(|entry| entry.as_str().unwrap_or_default()).collect();
        if names.iter().any(|name| !is_qualified(name)) {
            self.found("metadata.finalizers", format!("each {QUALIFIED}"));
        }
        if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
            self.found("metadata.finalizers", "must not have both orphan and foregroundDeletion");
        }
    }

    fn owners(&mut self, metadata: &Map<String, Value>) {
        let owners = metadata.get("ownerReferences").and_then(Value::as_array);
        let mut controllers = 0;
        for (index, owner) in owners.into_iter().flatten().enumerate() {
            for part in ["apiVersion", "kind", "name", "uid"] {
                if owner.get(part).is_none_or(|value| value.is_null() || value == "") {
                    self.found(format!("metadata.ownerReferences[{index}].{part}"), "is required");
                }
            }
            if owner.get("apiVersion") == Some(&"v1".into()) && owner.get("kind") == Some(&"Event".into()) {
                self.found(format!("metadata.ownerReferences[{index}]"), "must not be an Event");
            }
            controllers += usize::from(owner.get("controller") == Some(&true.into()));
        }
        if controllers > 1 {
            self.found("metadata.ownerReferences", "must have one controller at most");
        }
    }
}

const QUALIFIED: &str = "must be named as [domain/]name: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

/// See `IsQualifiedName`.
fn is_qualified(name: &str) -> bool {
    match name.split_once('/') {
        Some((prefix, name)) => is_object_name(prefix) && is_word(name),
        None => is_word(name),
    }
}

/// 1 to 63 letters, digits and what may be between them.
fn is_word(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && ends(text.bytes().next())
        && ends(text.bytes().next_back())
}
