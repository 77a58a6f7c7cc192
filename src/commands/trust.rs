//! Which keys commands believe, and where they find what was signed by them.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kube::Client;

use crate::checkpoint::{CheckpointFile, CheckpointMap, Found, read_checkpoints};
use crate::domain::checkpoint::{CHECKPOINTS_DIR, CHECKPOINTS_FILE, Checkpoint, DEFAULT_CONFIG_MAP};
use crate::domain::provenance::{Envelope, MAX_PROVENANCE_BYTES, Statement};
use crate::domain::trace::PROVENANCE_FILE;
use crate::signing::{
    KeyRing, PublicKey, SecretKeys, SecretSettings, keys_there, public_keys, public_keys_file, verify,
};
use crate::store::DatabaseUrl;

/// The greatest key set that is read, in bytes.
const MAX_KEYS_BYTES: u64 = 16 * 1024 * 1024;
/// How long a cluster may take to answer.
const CLUSTER: Duration = Duration::from_secs(5);

/// Where the keys of the installation are.
#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    /// The public keys to trust, as a JSON Web Key Set (`jct keys show`, GET /keys); - reads standard input. Without it: those in
    /// the installation's Secret, else keys.json beside a SQLite database
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,

    /// Ask no cluster for keys and checkpoints
    #[arg(long)]
    pub offline: bool,

    /// The operator's namespace
    #[arg(long, env = "JCT_NAMESPACE", default_value = "jct-system", hide = true)]
    pub namespace: String,

    /// Secret that holds the keys
    #[arg(long, env = "JCT_SIGNING_SECRET", default_value = "jct-signing", hide = true)]
    pub signing_secret: String,

    /// ConfigMap that holds checkpoints
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_CONFIG_MAP", default_value = DEFAULT_CONFIG_MAP, hide = true)]
    pub config_map: String,

    /// Where the trace volume is mounted, for the checkpoints on it
    #[arg(long, env = "JCT_TRACE_ROOT", value_name = "DIR")]
    pub trace_root: Option<PathBuf>,
}

/// What was found to hold the log against.
#[derive(Debug, Default)]
pub struct Anchors {
    /// The keys that were believed.
    pub keys: Vec<PublicKey>,
    /// Where they come from; none if there are none.
    pub from: Option<String>,
    /// The checkpoints that one of them signed.
    pub checkpoints: Vec<Checkpoint>,
    /// Where something was, and how much.
    pub places: Vec<String>,
    /// What could not be read or is not believed.
    pub doubts: Vec<String>,
}

impl Anchors {
    fn take(&mut self, place: &str, found: Found) {
        let Found { checkpoints, others, problem } = found;
        if !checkpoints.is_empty() {
            self.places.push(format!("{place}: {} checkpoints", checkpoints.len()));
        }
        if others > 0 {
            let problem = problem.unwrap_or_default();
            self.doubts.push(format!("{place}: {others} lines are no checkpoints of this installation: {problem}"));
        }
        self.checkpoints.extend(checkpoints);
    }
}

impl KeyArgs {
    /// The keys to believe, and every checkpoint that is found without being named.
    ///
    /// # Errors
    /// If `--keys` cannot be read.
    pub async fn anchors(&self, database: &DatabaseUrl) -> anyhow::Result<Anchors> {
        let mut anchors = Anchors::default();
        let client = self.client().await;
        (anchors.keys, anchors.from) = self.trusted(client.as_ref(), database).await?;
        let beside = database.folder().map(|folder| folder.join(CHECKPOINTS_FILE));
        let on_volume = self.trace_root.as_ref().map(|root| root.join(CHECKPOINTS_DIR).join(CHECKPOINTS_FILE));
        for path in beside.into_iter().chain(on_volume) {
            let place = path.display().to_string();
            match CheckpointFile::new(path).read(&anchors.keys) {
                Ok(found) => anchors.take(&place, found),
                Err(error) => anchors.doubts.push(format!("{place}: {error}")),
            }
        }
        if let Some(client) = client {
            let map = CheckpointMap::new(client, &self.namespace, &self.config_map);
            match tokio::time::timeout(CLUSTER, map.read(&anchors.keys)).await {
                Ok(Ok(found)) => anchors.take(&map.place(), found),
                Ok(Err(error)) => anchors.doubts.push(format!("{}: {error}", map.place())),
                Err(_) => anchors.doubts.push(format!("{}: the cluster does not answer", map.place())),
            }
        }
        Ok(anchors)
    }

    /// The public keys to believe, and where they come from.
    ///
    /// # Errors
    /// If `--keys` cannot be read.
    pub async fn public(&self, database: &DatabaseUrl) -> anyhow::Result<(Vec<PublicKey>, Option<String>)> {
        let client = self.client().await;
        self.trusted(client.as_ref(), database).await
    }

    /// The key to sign with, where this may have it: that of the installation, or that of `jct run`.
    pub async fn signing(&self, database: &DatabaseUrl) -> Option<KeyRing> {
        if let Some(client) = self.client().await {
            return self.in_secret(client).await;
        }
        database.folder().and_then(|folder| keys_there(&folder).ok().flatten())
    }

    async fn trusted(
        &self,
        client: Option<&Client>,
        database: &DatabaseUrl,
    ) -> anyhow::Result<(Vec<PublicKey>, Option<String>)> {
        if let Some(file) = &self.keys {
            let keys = keys_in_file(file).map_err(anyhow::Error::msg)?;
            return Ok((keys, Some(file.display().to_string())));
        }
        if let Some(client) = client
            && let Some(ring) = self.in_secret(client.clone()).await
        {
            let from = format!("Secret {}/{}", self.namespace, self.signing_secret);
            return Ok((ring.public().to_vec(), Some(from)));
        }
        if let Some(file) = database.folder().map(|folder| public_keys_file(&folder)).filter(|file| file.exists()) {
            let keys = keys_in_file(&file).map_err(anyhow::Error::msg)?;
            return Ok((keys, Some(format!("{}, beside the database", file.display()))));
        }
        Ok((Vec::new(), None))
    }

    async fn in_secret(&self, client: Client) -> Option<KeyRing> {
        let settings =
            SecretSettings { namespace: self.namespace.clone(), secret: self.signing_secret.clone(), max_age: None };
        tokio::time::timeout(CLUSTER, SecretKeys::new(client, settings).read()).await.ok()?.ok()
    }

    async fn client(&self) -> Option<Client> {
        if self.offline {
            return None;
        }
        tokio::time::timeout(CLUSTER, Client::try_default()).await.ok()?.ok()
    }
}

/// The Ed25519 keys of a JSON Web Key Set; - is standard input.
///
/// # Errors
/// Names the file, and what is wrong with it.
pub fn keys_in_file(file: &Path) -> Result<Vec<PublicKey>, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(MAX_KEYS_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(MAX_KEYS_BYTES).read_to_end(&mut bytes))
    };
    let failed = |error: &dyn std::fmt::Display| format!("--keys {}: {error}", file.display());
    read.map_err(|error| failed(&error))?;
    let keys = public_keys(&bytes).map_err(|error| failed(&error))?;
    if keys.is_empty() { Err(failed(&"there is no Ed25519 key in it")) } else { Ok(keys) }
}

/// The checkpoints in a file that somebody names: one, or one a line. All of them must be signed.
///
/// # Errors
/// If one is not, or there is none.
pub fn checkpoints_in_file(file: &Path, keys: &[PublicKey]) -> anyhow::Result<Vec<Checkpoint>> {
    let place = format!("--checkpoint {}", file.display());
    if keys.is_empty() {
        bail!("{place}: no signature can be checked: give the installation's public keys with --keys");
    }
    let file = File::open(file).with_context(|| place.clone())?;
    let Found { checkpoints, others, problem } =
        read_checkpoints(&mut BufReader::new(file), keys).with_context(|| place.clone())?;
    match problem {
        Some(problem) => bail!("{place}: {others} lines are not believed: {problem}"),
        None if checkpoints.is_empty() => bail!("{place}: there is no checkpoint in it"),
        None => Ok(checkpoints),
    }
}

/// The checkpoints that the signed statements below a folder name.
///
/// # Errors
/// If the folder cannot be read.
pub fn checkpoints_in_statements(folder: &Path, keys: &[PublicKey]) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == PROVENANCE_FILE {
                match checkpoint_in_statement(&entry.path(), keys) {
                    Ok(checkpoint) => found.checkpoints.extend(checkpoint),
                    Err(problem) => {
                        found.others += 1;
                        found.problem = Some(format!("{}: {problem}", entry.path().display()));
                    }
                }
            }
        }
    }
    Ok(found)
}

fn checkpoint_in_statement(file: &Path, keys: &[PublicKey]) -> Result<Option<Checkpoint>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|error| error.to_string())?;
    opened.take(MAX_PROVENANCE_BYTES).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let (payload, _) = verify(&envelope, keys).map_err(|problem| problem.to_string())?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
    Ok(statement.predicate.build_definition.internal_parameters.audit_checkpoint)
}
