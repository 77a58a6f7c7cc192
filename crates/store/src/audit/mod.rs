//! The audit log (contract section 4): append-only, in the transaction of the change, chained by hash.

mod append;
mod chain;
mod query;
mod replay;
mod verify;

use serde_json::Value;

use jct_domain::audit::{Action, EntityKind};
use jct_domain::{Actor, TraceId};

pub(super) use append::{Head, append, lock_head};
pub(super) use chain::AuditColumns;
#[cfg(test)]
pub(super) use query::{CREATED, DENIED, REMOVED, list_sql};
pub(super) use query::{count, denials_among, entry_parses, has, list, list_where, refusals_of, removals_of};
pub(super) use replay::{LoggedChange, orphans, read_entries};
pub use verify::{AnchoredCheck, AuditCheck, AuditHead};
pub(super) use verify::{head, verify, verify_all, verify_since, verify_up_to};

/// An entry to be written. Its id, its time and its place in the chain come with the writing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) actor: Actor,
    pub(super) action: Action,
    pub(super) entity_kind: EntityKind,
    pub(super) entity_id: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
    pub(super) note: Option<String>,
    pub(super) trace_id: TraceId,
}
