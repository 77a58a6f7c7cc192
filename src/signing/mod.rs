//! The operator's keys (`jct_signing`), kept in a Secret.

mod secret;

pub use jct_signing::*;
pub use secret::{KeyError, Keys, SecretKeys, SecretSettings, keep};
