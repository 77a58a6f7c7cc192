//! TIME_BUDGET_TOO_LOW, TIME_BUDGET_TOO_HIGH

use super::{Code, Draft, Finding, Naming, Policy, path};

pub fn check(draft: &Draft, naming: Naming, policy: &Policy) -> Option<Finding> {
    let budget = draft.time_budget_seconds;
    let (least, greatest) = (policy.min_time_budget_seconds, policy.max_time_budget_seconds);
    let code = if budget < i64::from(least) {
        Code::TimeBudgetTooLow
    } else if budget > i64::from(greatest) {
        Code::TimeBudgetTooHigh
    } else {
        return None;
    };
    let field = path(naming, "constraints.timeBudgetSeconds", "constraints.time_budget_seconds");
    Some(Finding::new(code, field, format!("must be {least} to {greatest} seconds")))
}
