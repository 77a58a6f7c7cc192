//! A checkpoint of the audit log: which entry was the last one at a time. Signed and kept outside of the database, it convicts
//! whoever rewrites the log up to that entry, or cuts it off before.
//!
//! `docs/audit.md` tells users what it proves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `payloadType` of the DSSE envelope: a signature over a checkpoint is one over nothing else.
pub const PAYLOAD_TYPE: &str = "application/vnd.jct.audit-checkpoint.v1+json";

/// The file of checkpoints: in the state of `jct run`, and in [`CHECKPOINTS_DIR`].
pub const CHECKPOINTS_FILE: &str = "checkpoints.jsonl";

/// The folder of checkpoints at the root of the trace volume. No namespace is called so, and worker pods mount others.
pub const CHECKPOINTS_DIR: &str = ".checkpoints";

/// The ConfigMap with the newest checkpoints, unless the operator is told another name.
pub const DEFAULT_CONFIG_MAP: &str = "jct-audit-checkpoints";

/// The greatest envelope around a checkpoint that is read, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 4096;

/// Which entry was the last one of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its place in the chain.
    pub seq: u64,
    /// Its hash, which covers all entries before it.
    pub hash: String,
    /// When it was looked at.
    pub time: Timestamp,
}

/// What is signed: the checkpoint, and by which key the installation signs.
#[derive(Serialize, Deserialize)]
struct Payload {
    #[serde(flatten)]
    checkpoint: Checkpoint,
    key: String,
}

impl Checkpoint {
    /// The bytes that are signed; `key` is the id of the key.
    pub fn to_payload(&self, key: &str) -> Vec<u8> {
        let payload = Payload { checkpoint: self.clone(), key: key.into() };
        // Numbers and strings always serialize.
        serde_json::to_vec(&payload).unwrap_or_default()
    }

    /// What was signed; none if it is no checkpoint.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let Payload { checkpoint, .. } = serde_json::from_slice(payload).ok()?;
        let is_hash = checkpoint.hash.len() == 64 && checkpoint.hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_frozen() {
        let checkpoint = Checkpoint { seq: 7, hash: "ab".repeat(32), time: "2026-03-01T12:00:00Z".parse().unwrap() };
        let payload = checkpoint.to_payload("key");
        let expected = format!(r#"{{"seq":7,"hash":"{}","time":"2026-03-01T12:00:00Z","key":"key"}}"#, "ab".repeat(32));
        assert_eq!(String::from_utf8(payload.clone()).unwrap(), expected);
        assert_eq!(Checkpoint::from_payload(&payload), Some(checkpoint));
        assert_eq!(Checkpoint::from_payload(b"{}"), None);
        assert_eq!(Checkpoint::from_payload(expected.replace("abab", "zz").as_bytes()), None);
    }
}
