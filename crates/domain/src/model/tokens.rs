//! What models are paid for.

use serde::{Deserialize, Serialize};

/// Tokens of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All that was sent: cached and written ones are a part of it.
    pub input: u64,
    /// Of these, what the provider had in its cache.
    pub cached: u64,
    /// Of these, what it wrote to its cache.
    pub cache_written: u64,
    /// All that came back: thoughts are a part of it.
    pub output: u64,
    /// Of these, thoughts.
    pub reasoning: u64,
}

impl Tokens {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
