//! The program `jct` as people, hooks and CI start it, without a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code that is not in a #[test]

mod agents;
mod check;
mod machine;
#[path = "../odd_manifests/mod.rs"]
mod odd_manifests;
mod run;
mod run_confinement;
mod run_ends;
mod run_git;
mod run_models;
mod trace;
