//! Keys and addresses in files, as Kubernetes mounts Secrets: one folder for each, in it a file for each key.

use std::path::PathBuf;

use jct_domain::model::KeyRef;

/// The greatest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The folder of all of them.
#[derive(Clone, Debug)]
pub struct Secrets(PathBuf);

impl Secrets {
    /// Those below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// What the Secret has, without white space around it. Read each time: a Secret that changes is mounted anew.
    pub(crate) async fn read(&self, KeyRef { secret, key }: &KeyRef) -> Result<String, String> {
        let path = self.0.join(secret).join(key);
        let with_key = |error: std::io::Error| format!("Secret {secret}, key {key}: {error}");
        let bytes = tokio::fs::metadata(&path).await.map_err(with_key)?.len();
        if bytes > MAX_BYTES {
            return Err(format!("Secret {secret}, key {key}: must not be larger than {MAX_BYTES} bytes"));
        }
        let text = tokio::fs::read_to_string(&path).await.map_err(with_key)?;
        Ok(text.trim().to_owned())
    }
}
