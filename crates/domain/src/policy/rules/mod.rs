//! The rules of the gate, in the order of the contract's table. A rule that cannot decide, because the field it looks at
//! is missing or malformed, finds nothing: the schema has spoken already.

mod network;
mod operation;
mod repo;
mod secrets;
mod time_budget;

use super::Policy;
use crate::task::{Draft, Naming};
use crate::{Code, Finding};

type Rule = fn(&Draft, Naming, &Policy) -> Option<Finding>;

pub const ALL: [Rule; 5] = [operation::check, repo::check, time_budget::check, network::check, secrets::check];

/// The finding on a draft that is no Task though no rule objects: a safety net that no input is known to reach.
pub fn unreadable(naming: Naming) -> Finding {
    Finding::new(Code::InvalidSpec, path(naming, "", ""), "is not a Task of version 1.0")
}

/// The path of a field, as the door in question writes it.
fn path(naming: Naming, custom_resource: &str, rest: &str) -> String {
    match naming {
        Naming::CustomResource if custom_resource.is_empty() => "spec".into(),
        Naming::CustomResource => format!("spec.{custom_resource}"),
        Naming::Rest if rest.is_empty() => "body".into(),
        Naming::Rest => rest.into(),
    }
}
