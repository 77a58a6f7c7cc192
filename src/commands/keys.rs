//! `jct keys`: the keys that provenance is signed with, in their Secret.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use kube::Client;

use crate::signing::{KeyRing, SecretKeys, SecretSettings};

/// What to do with the keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeysCommand {
    /// Print the public keys, retired ones too, as a JSON Web Key Set
    Show(KeysArgs),
    /// Put a new key into use; the one before stays among the public keys
    Rotate(KeysArgs),
}

/// Where the keys are kept.
#[derive(Args, Clone, Debug)]
pub struct KeysArgs {
    /// The operator's namespace
    #[arg(long, env = "JCT_NAMESPACE", default_value = "jct-system")]
    pub namespace: String,

    /// Secret that holds the keys
    #[arg(long, env = "JCT_SIGNING_SECRET", default_value = "jct-signing")]
    pub signing_secret: String,
}

/// Shows or rotates the keys.
///
/// # Errors
/// If the Secret cannot be read or written.
pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    let (KeysCommand::Show(args) | KeysCommand::Rotate(args)) = &command;
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    let settings =
        SecretSettings { namespace: args.namespace.clone(), secret: args.signing_secret.clone(), max_age: None };
    let keys = SecretKeys::new(client, settings);
    match command {
        KeysCommand::Show(_) => show(&keys.read().await?),
        KeysCommand::Rotate(_) => {
            let ring = keys.rotate().await?;
            let id = ring.signing().public().id();
            writeln!(io::stdout(), "signing key {id} is in use; running operators take it up within a minute")?;
            Ok(())
        }
    }
}

fn show(ring: &KeyRing) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&ring.to_jwks())?)?;
    Ok(())
}
