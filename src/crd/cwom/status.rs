//! The status of a work object: a projection of the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::status::conditions;

/// What became of a work object. Written by the controller alone, from the database.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkObjectStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The object's id: the key of its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The trace id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The objects that the spec refers to, as far as they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<ResolvedRef>,
    /// Recorded, Resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// A reference that was found.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedRef {
    /// Where the spec refers to it, such as `inputs.contextPackets[0]`.
    pub field: String,
    /// The kind of the object.
    pub kind: String,
    /// Its name, if that is what the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its id.
    pub id: String,
}

/// The types of a work object's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkCondition {
    /// It is in the database, as its spec says.
    Recorded,
    /// Every object that it refers to was found.
    Resolved,
}

impl WorkCondition {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::Recorded, Self::Resolved];

    /// The name in `.status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "Recorded",
            Self::Resolved => "Resolved",
        }
    }
}
