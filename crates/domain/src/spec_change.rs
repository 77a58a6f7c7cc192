//! A change of a Task's spec: the two fields that may change, who changed them, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many of them an object carries: the last ones.
pub const MAX_SPEC_CHANGES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecChange {
    /// The generation of the object that it led to.
    pub generation: i64,
    /// The user that the API server authenticated; none where no webhook saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When the webhook was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What `suspend` became, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What `cancel` became, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
}

impl SpecChange {
    /// A change of which nothing is known but that there was one.
    pub fn unseen(generation: i64) -> Self {
        Self { generation, by: None, at: None, suspend: None, cancel: None }
    }
}
