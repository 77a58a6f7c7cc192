//! Forges: where private repositories are, and where changes are delivered.

use std::path::PathBuf;

use clap::Args;

/// Settings of forges.
#[derive(Args, Clone, Debug)]
pub struct ForgeArgs {
    /// YAML file of forges and who may read and deliver with their credentials, read again when it changes; without one all is read
    /// without credentials, and nothing delivered
    #[arg(long, env = "JCT_FORGES_FILE")]
    pub forges_file: Option<PathBuf>,
}
