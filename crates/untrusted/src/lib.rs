//! What a stranger wrote, and how it is handled: files, names, paths, processes, their output, and git on a tree that may hold
//! anything. The worker and the built-in executors share it; it knows neither.

#![warn(missing_docs)] // other crates use it

pub mod capture;
mod failure;
pub mod files;
pub mod git;
pub mod lfs;
pub mod names;
pub mod path;
pub mod process;
pub mod redact;

pub use failure::Failure;
