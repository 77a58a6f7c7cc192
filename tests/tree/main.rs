//! What is written beside the code, held against the code: documents, chart, scripts, generated files, the contract with users,
//! and who may use what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code that is not in a #[test]

mod architecture;
mod argocd;
mod chart;
mod contract;
mod docs;
mod generated;
mod scripts;
