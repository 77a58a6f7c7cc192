//! What is wrong with an object: stable codes, the field, and a sentence that names the fix (contract section 1).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::choices;

choices! {
    /// The stable codes. Frozen: codes may be added, never renamed or removed.
    pub enum Code {
        /// The document does not fit the schema: a field is missing, too long, unknown or of the wrong type.
        InvalidSpec = "INVALID_SPEC",
        /// `operation` is not one of the four.
        InvalidOperation = "INVALID_OPERATION",
        /// The repository starts with none of the allowed prefixes.
        RepoNotAllowed = "REPO_NOT_ALLOWED",
        /// The time budget is below the minimum.
        TimeBudgetTooLow = "TIME_BUDGET_TOO_LOW",
        /// The time budget is above the maximum.
        TimeBudgetTooHigh = "TIME_BUDGET_TOO_HIGH",
        /// `allow_network` is true.
        NetworkAccessDenied = "NETWORK_ACCESS_DENIED",
        /// `allow_secrets` is true.
        SecretsAccessDenied = "SECRETS_ACCESS_DENIED",
        /// The executor asks models, none of which is granted to the namespace and the repository.
        ModelNotAllowed = "MODEL_NOT_ALLOWED",
        /// The Task asks for more of models than its executor and its grant have.
        BudgetTooHigh = "BUDGET_TOO_HIGH",
        /// The change may not be delivered so: no grant, a mode that it does not list, or a branch that is not the Task's to have.
        DeliveryNotAllowed = "DELIVERY_NOT_ALLOWED",
        /// Who reviews a change has a part in how it came about, or is nobody who may.
        ReviewNotAllowed = "REVIEW_NOT_ALLOWED",
        /// A review is about something else than what is to be reviewed.
        ReviewStale = "REVIEW_STALE",
        /// As many Tasks of the namespace are open as may be. A code of admission, not of the gate: asked once.
        TooManyTasks = "TOO_MANY_TASKS",
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub code: Code,
    /// The field's path, such as `spec.target.repo`.
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
    /// Whether it is a well-formed reference that leads to nothing. For us: clients have the message.
    #[serde(skip)]
    pub is_dangling: bool,
}

impl Finding {
    /// A finding on `field`.
    pub fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, field: field.into(), message: message.into(), is_dangling: false }
    }

    /// A reference on `field` to an object that is not there.
    pub fn dangling(field: impl Into<String>, kind: &str, id: &str) -> Self {
        Self { is_dangling: true, ..Self::new(Code::InvalidSpec, field, does_not_exist(kind, id)) }
    }
}

/// That an object to which something refers is not there, in the words of the contract.
pub fn does_not_exist(kind: &str, id: &str) -> String {
    format!("Referenced {kind} '{id}' does not exist")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.field, self.message)
    }
}
