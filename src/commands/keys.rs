//! `jct keys`: the keys that provenance is signed with and that stamps are sealed with, in their Secrets.

use std::io::{self, Write as _};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::domain::stamp::{KEY_BYTES, MAX_PREVIOUS_KEYS};
use crate::signing::{KeyRing, SecretKeys, SecretSettings};

/// What to do with the keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeysCommand {
    /// Print the public keys, retired ones too, as a JSON Web Key Set
    Show(KeysArgs),
    /// Put a new key into use; the one before stays among the public keys
    Rotate(RotateArgs),
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

/// Which key is replaced.
#[derive(Args, Clone, Debug)]
pub struct RotateArgs {
    /// Where the keys are kept
    #[command(flatten)]
    pub keys: KeysArgs,

    /// Replace the key that the webhook seals stamps with; two before it go on verifying
    #[arg(long)]
    pub stamp: bool,

    /// Secret that holds the webhook's stamp key
    #[arg(long, env = "JCT_WEBHOOK_SECRET", default_value = "jct-webhook")]
    pub webhook_secret: String,
}

/// Shows or rotates the keys.
///
/// # Errors
/// If the Secret cannot be read or written.
pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    let args = match &command {
        KeysCommand::Show(args) => args,
        KeysCommand::Rotate(rotate) => &rotate.keys,
    };
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    let settings =
        SecretSettings { namespace: args.namespace.clone(), secret: args.signing_secret.clone(), max_age: None };
    let keys = SecretKeys::new(client.clone(), settings);
    match command {
        KeysCommand::Show(_) => show(&keys.read().await?),
        KeysCommand::Rotate(rotate) if rotate.stamp => {
            rotate_stamp(&Api::namespaced(client, &rotate.keys.namespace), &rotate.webhook_secret).await?;
            writeln!(
                io::stdout(),
                "a new stamp key is in the Secret; running operators seal with it after 20 seconds"
            )?;
            Ok(())
        }
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

/// Puts a new key into the webhook's Secret, and the one that was there before those before it.
async fn rotate_stamp(secrets: &Api<Secret>, name: &str) -> anyhow::Result<()> {
    let mut secret = secrets.get(name).await.with_context(|| format!("cannot read the Secret {name}"))?;
    let mut new = [0; KEY_BYTES];
    getrandom::fill(&mut new).map_err(|error| anyhow!("no random bytes: {error}"))?;
    let data = secret.data.get_or_insert_default();
    let entry = |name: &str| data.get(name).map(|bytes| bytes.0.clone()).unwrap_or_default();
    let Some(previous) = retired(&entry("stamp.key"), &entry("stamp.previous")) else {
        bail!("Secret {name} has no stamp key yet; a running operator makes one");
    };
    data.insert("stamp.key".into(), ByteString(new.into()));
    data.insert("stamp.previous".into(), ByteString(previous));
    // As it was read, or not at all.
    let written = secrets.replace(name, &PostParams::default(), &secret).await;
    written.map(drop).with_context(|| format!("cannot write the Secret {name}; try again if it was changed meanwhile"))
}

/// The replaced keys, once `key` is one of them.
fn retired(key: &[u8], before: &[u8]) -> Option<Vec<u8>> {
    let most = KEY_BYTES * MAX_PREVIOUS_KEYS;
    (key.len() == KEY_BYTES).then(|| key.iter().chain(before).copied().take(most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_stamp_key_is_the_first_of_those_that_go_on_verifying() {
        let keys = |bytes: &[u8]| bytes.iter().flat_map(|byte| [*byte; 32]).collect::<Vec<u8>>();
        assert_eq!(retired(&keys(&[3]), &keys(&[])), Some(keys(&[3])));
        assert_eq!(retired(&keys(&[3]), &keys(&[2, 1])), Some(keys(&[3, 2])));
        assert_eq!(retired(b"", &keys(&[1])), None);
    }
}
