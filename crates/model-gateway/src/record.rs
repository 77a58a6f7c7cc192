//! `model.jsonl`: one line for each exchange.

pub use jct_domain::model::record::{Exchange, SEMANTIC_CONVENTIONS, Sums, UsageSource};

use jct_domain::id::hex;

/// Bytes that go by, and their digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) bytes: u64,
    sha256: sha2::Sha256,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    pub(crate) fn sha256(&self) -> String {
        use sha2::Digest as _;
        hex(&self.sha256.clone().finalize())
    }
}
