//! The controller: who runs it, how much at once, and how long it waits for what.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::{InvalidSetting, object_name};
use crate::runtime::lease::LeaseSettings;

/// Settings of the controller.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Run the controller
    #[arg(long, env = "JCT_CONTROLLER", default_value_t = true, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub controller: bool,

    /// Lease by which operators settle who runs the controller, in the operator's namespace
    #[arg(long, env = "JCT_LEASE_NAME", default_value = "jct")]
    pub lease_name: String,

    /// How long the Lease lasts from its last renewal, in seconds: another replica takes over so long after a crash
    #[arg(long, env = "JCT_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub lease_seconds: u32,

    /// What this replica is called in the Lease; no other one may be called so. Random when empty
    #[arg(long, env = "JCT_LEASE_IDENTITY", default_value = "")]
    pub lease_identity: String,

    /// How many objects of each kind are reconciled at once
    #[arg(long, env = "JCT_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub concurrency: u16,

    /// How long a worker may take to start, image pull included, before its attempt fails, in seconds
    #[arg(long, env = "JCT_WORKER_START_TIMEOUT_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub worker_start_timeout_seconds: u32,

    /// How long a Job stays after its outcome is recorded, in seconds
    #[arg(long, env = "JCT_JOB_TTL_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=31_536_000))]
    pub job_ttl_seconds: u32,

    /// Wait before the second attempt of a Task, in seconds; doubled for each further one
    #[arg(long, env = "JCT_RETRY_DELAY_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub retry_delay_seconds: u32,

    /// How often an attempt is repeated that the cluster failed (eviction, lost node, image pull), apart from the Task's own
    /// maxAttempts
    #[arg(long, env = "JCT_INFRASTRUCTURE_RETRIES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub infrastructure_retries: u32,

    /// How long a Task waits for an executor that is not configured, before it fails, in seconds: a configuration that is
    /// rolled out at the same time is not there at once
    #[arg(long, env = "JCT_EXECUTOR_WAIT_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub executor_wait_seconds: u32,
}

impl ControllerArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        object_name("--lease-name (JCT_LEASE_NAME)", "Lease", &self.lease_name)
    }

    /// The Lease, in `namespace`.
    ///
    /// # Errors
    /// If this replica is to be called something random, and there is no randomness.
    pub fn lease(&self, namespace: &str) -> Result<LeaseSettings, getrandom::Error> {
        let identity = match self.lease_identity.as_str() {
            "" => format!("jct-{:016x}", getrandom::u64()?),
            name => name.to_owned(),
        };
        Ok(LeaseSettings {
            namespace: namespace.to_owned(),
            name: self.lease_name.clone(),
            identity,
            duration: Duration::from_secs(self.lease_seconds.into()),
        })
    }
}
