//! The operator's Ed25519 keys: what provenance is signed with and checked by. The only user of `ring` beside TLS.
//!
//! Key and signature know no IO; [`SecretKeys`] keeps them in a Secret, [`keys_in`] in files.

mod checkpoint;
mod file;
mod key;
mod keyring;
mod secret;

pub use checkpoint::{CheckpointProblem, checkpoint_in, sign_checkpoint};
pub use file::{FileKeyError, keys_in, keys_there, public_keys_file};
pub use key::{InvalidKey, PublicKey, SignatureProblem, SigningKey, verify, verify_as};
pub use keyring::{KeyRing, public_keys};
pub use secret::{KeyError, Keys, SecretKeys, SecretSettings, keep};
