//! An object of any kind: the head that all kinds share, and its spec.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, Spec, WorkSpec};
use crate::{Id, TraceId};

/// An object: head and spec. `Object<Issue>` where the kind is known, `Object` where it may be any.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S = Spec> {
    /// Unique over all kinds.
    pub id: Id,
    /// When it came into being.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// The fields of its kind.
    pub spec: S,
}

/// Why JSON is no object.
#[derive(Debug, thiserror::Error)]
pub enum InvalidObject {
    /// It has no kind, or none of the seven.
    #[error("kind is none of the seven")]
    Kind,
    /// It does not fit its kind.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Head {
    id: Id,
    created_at: Timestamp,
    updated_at: Timestamp,
    trace_id: TraceId,
}

impl<S: WorkSpec> Object<S> {
    /// A new object; what is by default as old as the object is filled in.
    pub fn new(id: Id, created_at: Timestamp, trace_id: TraceId, spec: S) -> Self {
        Self { id, created_at, updated_at: created_at, trace_id, spec: spec.settled(created_at) }
    }
}

impl<S: WorkSpec + Into<Spec>> From<Object<S>> for Object {
    fn from(object: Object<S>) -> Self {
        let Object { id, created_at, updated_at, trace_id, spec } = object;
        Self { id, created_at, updated_at, trace_id, spec: spec.into() }
    }
}

impl Object {
    pub fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// The object as REST answers, audit entries and exports have it: one level, every field present.
    pub fn to_json(&self) -> Value {
        let mut json = Map::new();
        json.insert("kind".into(), self.kind().as_str().into());
        let Self { id, created_at, updated_at, trace_id, spec } = self;
        let head = Head { id: *id, created_at: *created_at, updated_at: *updated_at, trace_id: trace_id.clone() };
        for part in [serde_json::to_value(head).unwrap_or_default(), spec.to_json()] {
            if let Value::Object(fields) = part {
                json.extend(fields);
            }
        }
        Value::Object(json)
    }

    /// The object that [`Object::to_json`] wrote.
    ///
    /// # Errors
    /// [`InvalidObject`] if it did not write this.
    pub fn from_json(json: Value) -> Result<Self, InvalidObject> {
        let Value::Object(mut fields) = json else { return Err(InvalidObject::Kind) };
        let kind = fields.remove("kind");
        let kind = kind.as_ref().and_then(Value::as_str).and_then(Kind::parse).ok_or(InvalidObject::Kind)?;
        let head: Map<String, Value> = ["id", "created_at", "updated_at", "trace_id"]
            .into_iter()
            .filter_map(|name| fields.remove_entry(name))
            .collect();
        let Head { id, created_at, updated_at, trace_id } = serde_json::from_value(Value::Object(head))?;
        Ok(Self { id, created_at, updated_at, trace_id, spec: Spec::from_json(kind, Value::Object(fields))? })
    }
}
