//! The controller: brings what happened in line with what was asked for, one object at a time.
//!
//! `task/` holds the steps for a Task; the files here hold what every kind needs: the runner, the caches of workers, errors
//! and their backoff, the trace volume.

pub mod context;
pub mod error;
pub mod orphans;
mod runner;
pub mod task;
pub mod trace_volume;
pub mod workers;

pub use context::Context;
pub use error::Error;
pub use runner::run;
