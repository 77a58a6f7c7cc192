//! What an attempt may ask, by what it is granted.

use std::time::Duration;

use jct_model_gateway::Caller;
use jct_model_gateway::broker::WhenUsedUp;
use jct_model_gateway::budget::Limits;
use jct_model_gateway::ledger::{Budget, Scope};

use super::ledger::attempt_name;
use crate::domain::Id;
use crate::domain::model::Granted;
use crate::store::TaskRow;

/// The attempt of a Task's row that is open, as the broker knows who asks.
pub fn caller(row: &TaskRow, granted: Granted) -> Caller {
    let budgets = budgets((row.id, row.attempt), &row.namespace, &granted);
    Caller {
        attempt: attempt_name(row.id, row.attempt),
        trace_id: row.trace_id.to_string(),
        aliases: granted.aliases,
        budgets,
        when_used_up: granted
            .asks_for_seconds
            .map_or(WhenUsedUp::End, |seconds| WhenUsedUp::Ask(Duration::from_secs(seconds.into()))),
        max_in_flight: granted.defaults.max_in_flight as usize,
        max_request_bytes: granted.defaults.max_request_bytes,
        max_response_bytes: granted.defaults.max_response_bytes,
    }
}

fn budgets((task_id, attempt): (Id, u32), namespace: &str, granted: &Granted) -> Vec<Budget> {
    let of = |scope, limits: Limits| Budget { scope, limits };
    let mut budgets = vec![
        // Limited by its Task's alone, which may be raised.
        of(Scope::Attempt(attempt_name(task_id, attempt)), Limits::default()),
        of(Scope::Task(task_id.to_string()), granted.limits),
        of(Scope::GrantDay(granted.grant.clone()), granted.of_the_grant),
    ];
    if granted.of_the_namespace != Limits::default() {
        // Of this grant alone: another one has its own account for the namespace.
        let name = format!("{namespace}/{}", granted.grant);
        budgets.push(of(Scope::NamespaceDay(name), granted.of_the_namespace));
    }
    budgets
}
