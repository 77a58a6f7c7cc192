//! The status of a work object: a projection of the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::status::conditions;
use crate::domain::choices;
use crate::domain::id::sha256_hex;

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
    /// Of a Run that JCT carries out: planned, ready, running, blocked, done, failed, canceled or under_review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Of a Run that JCT carries out: the Task that does it, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// The objects that the spec refers to, as far as they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<ResolvedRef>,
    /// Recorded, Resolved; of a Run that JCT carries out also Succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

impl WorkObjectStatus {
    /// The same for a cache: what was found is one entry, its digest. An Issue can name hundreds of objects.
    pub fn in_short(self) -> Self {
        let refs = match self.refs.as_slice() {
            [] => Vec::new(),
            refs => {
                let all = serde_json::to_vec(refs).unwrap_or_default();
                vec![ResolvedRef { id: sha256_hex(&all), ..ResolvedRef::default() }]
            }
        };
        Self { refs, ..self }
    }
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

choices! {
    /// The types of a work object's conditions.
    pub enum WorkCondition {
        /// It is in the database, as its spec says.
        Recorded = "Recorded",
        /// Every object that it refers to was found.
        Resolved = "Resolved",
        /// Of a Run that JCT carries out: it ended with the work done; Unknown until it ends.
        Succeeded = "Succeeded",
        /// For kstatus: it is recorded and whole; of a Run that JCT carries out, the work is done.
        Ready = "Ready",
        /// For kstatus: it waits, or is under way. Not there otherwise.
        Reconciling = "Reconciling",
        /// For kstatus: nothing more comes of it by itself. Not there otherwise.
        Stalled = "Stalled",
    }
}

choices! {
    /// The reasons of a work object's conditions. A Run that failed has a code of the gate or a
    /// [`FailureReason`](crate::domain::FailureReason) instead, one that is under way its phase.
    pub enum WorkReason {
        /// The row is written.
        Recorded = "Recorded",
        /// Nothing is missing.
        AllFound = "AllFound",
        /// An object that it refers to is not there, yet.
        ReferenceMissing = "ReferenceMissing",
        /// An id is that of an object of another kind.
        WrongKind = "WrongKind",
        /// An Issue would come before itself, or be a part of itself.
        CircularReference = "CircularReference",
        /// The spec does not fit the schema.
        InvalidSpec = "InvalidSpec",
        /// Another Repo of the namespace has the slug.
        SlugTaken = "SlugTaken",
        /// Another DoctrineRef of the namespace has namespace, name and version.
        DoctrineTaken = "DoctrineTaken",
        /// The id pinned by `jct.dev/id` belongs to another object.
        IdConflict = "IdConflict",
        /// The change is not allowed; the record keeps what was there.
        ChangeRefused = "ChangeRefused",
        /// The database cannot be written at the moment.
        StoreUnavailable = "StoreUnavailable",
        /// What it would be known from is not recorded.
        NotRecorded = "NotRecorded",
        /// A Run waits for what it starts from.
        WaitingForInputs = "WaitingForInputs",
        /// A Run's work is done.
        Done = "Done",
        /// A Run was ended because somebody asked for it.
        Canceled = "Canceled",
        /// A Run failed for a reason that has no name.
        Failed = "Failed",
    }
}
