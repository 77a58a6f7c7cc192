//! The record of work objects (contract section 2): one table for each kind, one row for each link, one audit entry for
//! each change.

mod belongings;
mod columns;
mod entries;
mod links;
mod load;
mod model;
mod patch;
mod put;
mod query;
mod replay;
mod resolve;
mod table;
mod task;
mod update;
mod view;

#[cfg(test)]
mod plan_tests;

pub use model::{
    DeleteObject, FailRun, ObjectField, ObjectFilter, ObjectOrigin, ObjectRow, PatchObject, Patched, PresentObject,
    Put, PutObject, RefProblem, Unique, Unresolved,
};

pub(super) use belongings::{belongings, remove_objects};
pub(super) use columns::object_parses;
pub(super) use entries::{LINKS, MADE_FOR, STATE_SHA256, state_digest};
pub(super) use links::{LINK_TABLES, LinkColumns};
pub(super) use load::{load_objects, save_objects};
pub(super) use query::{object_by_id, objects_of, objects_of_trace, present_objects, recorded_spec, table_name};
pub(super) use replay::{RecordedLink, apply_link_entry, object_state, present_links, recorded_state};
pub(super) use table::object_columns;
pub(super) use task::{Advance, advance_objects, objects_of_new_task, objects_of_tasks, review_objects};
pub(super) use view::{ObjectChanges, ObjectNeeds, Objects};
