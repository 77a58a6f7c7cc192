//! The controller: brings what happened in line with what was asked for, one object at a time.
//!
//! `task/` holds the steps for a Task, `queue/` says when they are taken, `work_object/` those for the seven CWOM kinds; the files here hold what every kind
//! needs: the runner, metadata, finalizer and status, errors and their backoff, the caches of workers, what is remembered between passes.

mod action;
pub mod by_uid;
pub mod context;
pub mod error;
pub mod events;
mod finalizer;
pub mod head;
pub mod lists;
mod metrics;
pub mod orphans;
pub mod projected;
pub mod queue;
pub mod retention;
pub mod review;
mod rights;
mod runner;
pub mod status;
pub mod task;
pub mod troubles;
pub mod work_object;
pub mod workers;

pub use action::Action;
pub use context::Context;
pub use error::Error;
pub use metrics::{OutcomeLabels, ReconcileLabels, ReconcileMetrics};
pub use runner::run;
