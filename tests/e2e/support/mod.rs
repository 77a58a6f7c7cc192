//! What the tests stand on: the cluster, manifests, repositories, and the three places where a Task leaves its mark.

#![allow(clippy::new_without_default, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kubectl;
mod manifest;
mod operator;
mod postgres;
mod record;
mod repository;
mod rest;
mod task;
mod world;

pub use kubectl::{helm, kubectl, run};
pub use manifest::{NORMAL, task, task_on};
pub use operator::{
    configuration, configure, helm_fails, kill_operator, no_operator_restarted, operator_besides, operators, upgrade,
};
pub use postgres::Postgres;
pub use record::{
    Trace, Write, audit, begun, jct, jobs_ever, lock_database, query, spec_in, verified, verify_audit,
    verify_other_audit, writes,
};
pub use repository::{Entry, Held, Repository};
pub use rest::{Rest, token};
pub use task::Task;
pub use world::{World, condition, id, phase, reason, until};

/// Where the chart is installed, and the worker Jobs are.
pub const RELEASE_NAMESPACE: &str = "jct-system";

/// The user name of the operator.
pub const OPERATOR: &str = "system:serviceaccount:jct-system:jct";

/// A variable that `tests/e2e.sh` sets.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests need a cluster, run tests/e2e.sh"))
}
