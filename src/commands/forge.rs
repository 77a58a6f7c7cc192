//! `jct forge check`: tests the configured forges and their credentials; writes nothing.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use kube::Client;

use super::manifests::forges_of;
use crate::domain::shown::plain;
use crate::domain::task::Repo;
use crate::forges::{Credentials, advice};

/// What to do with forges.
#[derive(Subcommand, Clone, Debug)]
pub enum ForgeCommand {
    /// Test each forge by what git is advertised and by what its API says that the credential may do; nothing is written
    Check(CheckArgs),
}

/// Which forges, and with which Secrets.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The configuration of forges, as the chart's value `forges`
    #[arg(long, env = "JCT_FORGES_FILE", value_name = "FILE")]
    pub forges: PathBuf,

    /// The operator's namespace, which has the Secrets
    #[arg(long, env = "JCT_NAMESPACE", default_value = "jct-system")]
    pub namespace: String,

    /// Repositories to ask for, as owner/name; without, those that the configuration names one by one
    #[arg(value_name = "REPOSITORY", value_parser = Repo::parse)]
    pub repos: Vec<Repo>,
}

/// Tests forges, and prints a line for each credential and repository.
///
/// # Errors
/// If the configuration can't be used, or a credential can't do what it is for.
pub async fn run(command: ForgeCommand) -> anyhow::Result<()> {
    let ForgeCommand::Check(args) = command;
    let forges = forges_of(&args.forges)?;
    let client = Client::try_default().await.context("cannot find the Kubernetes API server, which has the Secrets")?;
    let lines = Credentials::new(client, &args.namespace).check(&forges, &args.repos, Timestamp::now()).await;
    let mut out = io::stdout().lock();
    for forge in &forges.0 {
        for advice in advice(forge) {
            writeln!(out, "{}: warning: {}", forge.name, plain(&advice))?;
        }
    }
    for line in &lines {
        let at = line.repo.as_ref().map(|repo| format!(" {repo}")).unwrap_or_default();
        let place = format!("{}: {} (Secret {}){at}", line.forge, line.role, line.secret);
        match &line.result {
            Ok(found) => writeln!(out, "{place}: ok: {}", plain(found))?,
            Err(why) => writeln!(out, "{place}: FAILED: {}", plain(why))?,
        }
        for warning in &line.warnings {
            writeln!(out, "{place}: warning: {}", plain(warning))?;
        }
    }
    if let Some(unknown) = args.repos.iter().find(|repo| forges.for_repository(repo).is_none()) {
        bail!("no forge has {unknown}");
    }
    let failed = lines.iter().filter(|line| line.result.is_err()).count();
    if failed > 0 {
        bail!("{failed} of {} did not pass", lines.len());
    }
    Ok(())
}
