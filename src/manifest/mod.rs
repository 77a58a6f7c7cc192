//! Manifests as kubectl reads and the API server checks them, so that what is judged offline is what a cluster would be sent.
//!
//! kubectl reads YAML 1.1, by go.yaml.in/yaml/v2 and sigs.k8s.io/yaml, and makes JSON of it: `yes` is true, `010` is 8, `60.0`
//! is 60, `<<` merges. [`objects()`] gives the same values for the same bytes. Where kubectl drops something without a word (a
//! key that is given twice, what follows `...`), that is told instead.
//!
//! Pure: bytes in, objects out.

mod json;
mod metadata;
mod object;
mod scalar;
mod stream;
mod yaml;

use std::fmt;

use serde_json::{Number, Value};

pub use metadata::metadata_findings;
pub use object::Manifest;

/// How deep a document may be nested. The webhook takes less, the stack more.
const MAX_DEPTH: usize = 126;
const TOO_DEEP: &str = "is nested deeper than 126";

/// One document, as JSON.
#[derive(Clone, Debug, PartialEq)]
struct Document {
    value: Value,
    /// The keys that are given more than once in one mapping, by their paths.
    repeated: Vec<String>,
}

/// Why a file can't be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The document, counted from 1.
    pub document: usize,
    /// In words, with the line.
    pub problem: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}: {}", self.document, self.problem)
    }
}

/// The objects of YAML or JSON of one or many documents: those of a list, none of an empty document. What can be read before an
/// error is there with it.
pub fn objects(bytes: &[u8]) -> (Vec<Manifest>, Option<Unreadable>) {
    let (documents, error) = stream::documents(bytes);
    let mut objects = Vec::new();
    for (number, document) in documents {
        match object::flatten(number, document) {
            Ok(found) => objects.extend(found),
            Err(problem) => return (objects, Some(Unreadable { document: number, problem })),
        }
    }
    (objects, error)
}

/// A number as it is after kubectl has written it and the API server has read it: whole, if it fits 64 bits.
fn number(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 1e21 {
        // By its shortest digits, which is how it is sent.
        if let Ok(whole) = value.to_string().parse::<i64>() {
            return Some(whole.into());
        }
    }
    Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests;
