//! What may run: the policy, limits of namespaces, executors.

use std::path::PathBuf;

use clap::Args;

use super::{InvalidSetting, invalid};
use crate::domain::task::{MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS};
use crate::policy::Policy;

/// Settings of the gate.
#[derive(Args, Clone, Debug)]
pub struct GateArgs {
    /// Comma-separated prefixes of owner/name; a Task's repository must start with one. None allow nothing
    #[arg(long, env = "JCT_ALLOWED_REPO_PREFIXES", default_value = "")]
    pub allowed_repo_prefixes: String,

    /// The least time budget of a Task, in seconds
    #[arg(long, env = "JCT_MIN_TIME_BUDGET_SECONDS", default_value_t = MIN_TIME_BUDGET_SECONDS,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_TIME_BUDGET_SECONDS)..=i64::from(MAX_TIME_BUDGET_SECONDS)))]
    pub min_time_budget_seconds: u32,

    /// The greatest time budget of a Task, in seconds
    #[arg(long, env = "JCT_MAX_TIME_BUDGET_SECONDS", default_value_t = MAX_TIME_BUDGET_SECONDS,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_TIME_BUDGET_SECONDS)..=i64::from(MAX_TIME_BUDGET_SECONDS)))]
    pub max_time_budget_seconds: u32,

    /// The most Tasks of one namespace that have not ended: one more is refused with TOO_MANY_TASKS; 0 for no limit
    #[arg(long, env = "JCT_MAX_OPEN_TASKS", default_value_t = 1_000)]
    pub max_open_tasks: u32,

    /// The most Tasks and work objects of one namespace that are recorded within an hour: one more is refused with
    /// TOO_MANY_TASKS; 0 for no limit
    #[arg(long, env = "JCT_MAX_RECORDED_PER_HOUR", default_value_t = 10_000)]
    pub max_recorded_per_hour: u32,

    /// YAML file of executors, read again when it changes; without one there are those that are built in
    #[arg(long, env = "JCT_EXECUTORS_FILE")]
    pub executors_file: Option<PathBuf>,
}

impl GateArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        if self.min_time_budget_seconds > self.max_time_budget_seconds {
            return Err(invalid(
                "--min-time-budget-seconds (JCT_MIN_TIME_BUDGET_SECONDS)",
                format!("must not exceed JCT_MAX_TIME_BUDGET_SECONDS, {}", self.max_time_budget_seconds),
            ));
        }
        Ok(())
    }

    /// What the gate holds Tasks against.
    pub fn policy(&self) -> Policy {
        Policy {
            min_time_budget_seconds: self.min_time_budget_seconds,
            max_time_budget_seconds: self.max_time_budget_seconds,
            ..Policy::default()
        }
        .allowing(&self.allowed_repo_prefixes)
    }
}
