//! Ed25519 keys and signatures: what provenance and checkpoints are signed with and checked by. The only user of `ring`
//! beside TLS.
//!
//! Key and signature know no IO; [`keys_in`] reads keys from files. The operator keeps its own in a Secret.

#![warn(missing_docs)] // other crates use it

mod checkpoint;
mod file;
mod key;
mod keyring;
mod sealed;
mod ssh;

pub use checkpoint::{CheckpointProblem, checkpoint_in, sign_checkpoint};
pub use file::{FileKeyError, keys_in, keys_there, public_keys_file};
pub use key::{InvalidKey, PublicKey, SignatureProblem, SigningKey, verify, verify_as};
pub use keyring::{KeyRing, public_keys};
pub use sealed::{open_text, seal_text};
pub use ssh::{CommitKey, CommitKeyProblem, commit_id};
