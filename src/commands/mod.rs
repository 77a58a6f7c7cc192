//! The commands for people and scripts, beside `jct operator` and `jct worker`.

pub mod audit;
pub mod check;
pub mod db;
pub mod forge;
pub mod keys;
mod manifests;
mod output;
pub mod release_finalizers;
pub mod retention;
pub mod run;
pub mod tasks;
pub mod trace;
mod trust;
