//! The operator's Ed25519 keys: what provenance is signed with and checked by. The only user of `ring` beside TLS.
//!
//! Key and signature know no IO; [`SecretKeys`] keeps them in a Secret.

mod key;
mod keyring;
mod secret;

pub use key::{InvalidKey, PublicKey, SignatureProblem, SigningKey, verify};
pub use keyring::{KeyRing, public_keys};
pub use secret::{KeyError, Keys, SecretKeys, SecretSettings, keep};
