//! INVALID_OPERATION

use super::{Code, Draft, Finding, Naming, Policy, path};
use crate::task::Operation;

pub fn check(draft: &Draft, naming: Naming, _: &Policy) -> Option<Finding> {
    let operation = draft.operation.as_deref()?;
    if Operation::parse(operation).is_some() {
        return None;
    }
    let field = path(naming, "operation", "operation");
    Some(Finding::new(Code::InvalidOperation, field, "must be one of code_change, docs, analysis, ops"))
}
