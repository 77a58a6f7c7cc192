//! Notifications: who is told what.

use std::path::PathBuf;

use clap::Args;

/// Settings of notifications.
#[derive(Args, Clone, Debug)]
pub struct NotificationArgs {
    /// YAML file of receivers that are told of ends of Tasks, read again when it changes; without one nobody is
    #[arg(long, env = "JCT_NOTIFICATIONS_FILE")]
    pub notifications_file: Option<PathBuf>,

    /// Folder of the Secrets that the receivers' keys and addresses are in: a folder for each, in it a file for each key
    #[arg(long, env = "JCT_NOTIFICATIONS_SECRETS", default_value = "/etc/jct/notifications/secrets")]
    pub notifications_secrets: PathBuf,
}
