//! The record: the database, the checkpoints of its audit log, and how long what is in it is kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::{InvalidSetting, invalid, object_name};
use crate::checkpoint::{CheckpointSchedule, Sink};
use crate::domain::checkpoint::DEFAULT_CONFIG_MAP;

const CHECKPOINT_URL: &str = "--audit-checkpoint-url (JCT_AUDIT_CHECKPOINT_URL)";

/// Settings of the record.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// Where the record is kept: sqlite:///path/to/file or postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:///var/lib/jct/jct.db", hide_env_values = true)]
    pub database_url: String,

    /// Keep a SQLite database on a network file system all the same, where locks may not hold and a crash can damage it
    #[arg(long, env = "JCT_DATABASE_ON_NETWORK", default_value_t = false, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub database_on_network: bool,

    /// How many audit entries are followed by a signed checkpoint
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_ENTRIES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub audit_checkpoint_entries: u32,

    /// How long the last audit entries wait for a signed checkpoint, if they are fewer, in seconds
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub audit_checkpoint_seconds: u32,

    /// ConfigMap with the newest checkpoints of the audit log, in the operator's namespace
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_CONFIG_MAP", default_value = DEFAULT_CONFIG_MAP)]
    pub audit_checkpoint_config_map: String,

    /// URL that each checkpoint of the audit log is sent to by POST; none when empty
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_URL", default_value = "", hide_env_values = true)]
    pub audit_checkpoint_url: String,

    /// YAML file of what retention may remove, read again when it changes; without one everything is kept
    #[arg(long, env = "JCT_RETENTION_FILE")]
    pub retention_file: Option<PathBuf>,
}

impl RecordArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let setting = "--audit-checkpoint-config-map (JCT_AUDIT_CHECKPOINT_CONFIG_MAP)";
        object_name(setting, "ConfigMap", &self.audit_checkpoint_config_map)?;
        let url = self.audit_checkpoint_url.trim();
        if !url.is_empty() {
            Sink::check(url).map_err(|error| invalid(CHECKPOINT_URL, error.to_string()))?;
        }
        Ok(())
    }

    /// When checkpoints of the audit log are made.
    pub fn checkpoints(&self) -> CheckpointSchedule {
        CheckpointSchedule {
            entries: self.audit_checkpoint_entries.into(),
            time: Duration::from_secs(self.audit_checkpoint_seconds.into()),
            look: Duration::from_secs(2),
        }
    }

    /// Where they are sent, if anywhere.
    ///
    /// # Errors
    /// [`InvalidSetting`] tells what is wrong with the URL.
    pub fn checkpoint_sink(&self) -> Result<Option<Sink>, InvalidSetting> {
        let url = self.audit_checkpoint_url.trim();
        let sink = (!url.is_empty()).then(|| Sink::new(url)).transpose();
        sink.map_err(|error| invalid(CHECKPOINT_URL, error.to_string()))
    }
}
