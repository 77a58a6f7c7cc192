//! Which executor does which operation.

use crate::domain::task::Operation;

/// The executor built into the worker: a report on a repository, made without an LLM.
pub const ANALYSIS: &str = "analysis";

/// The executor for a Task: the one it names, or that of its operation. `None` if no such executor is configured for the
/// operation.
pub fn resolve(operation: Operation, named: Option<&str>) -> Option<&'static str> {
    let configured = match operation {
        Operation::Analysis => Some(ANALYSIS),
        Operation::CodeChange | Operation::Docs | Operation::Ops => None,
    };
    configured.filter(|executor| named.is_none_or(|name| name == *executor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_does_its_own_operation_only() {
        assert_eq!(resolve(Operation::Analysis, None), Some(ANALYSIS));
        assert_eq!(resolve(Operation::Analysis, Some("analysis")), Some(ANALYSIS));
        assert_eq!(resolve(Operation::Analysis, Some("other")), None);
        assert_eq!(resolve(Operation::Docs, Some("analysis")), None);
        assert_eq!(resolve(Operation::CodeChange, None), None);
    }
}
