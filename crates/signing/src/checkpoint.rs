//! Signatures on checkpoints of the audit log.

use super::{PublicKey, SignatureProblem, SigningKey, verify_as};
use jct_domain::checkpoint::{Checkpoint, MAX_ENVELOPE_BYTES, PAYLOAD_TYPE};
use jct_domain::provenance::Envelope;

/// Why something is no checkpoint to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointProblem {
    /// No envelope.
    #[error("it is no signed checkpoint: {0}")]
    Form(String),
    /// None of the keys signed it.
    #[error(transparent)]
    Signature(#[from] SignatureProblem),
}

/// An envelope around a checkpoint.
pub fn sign_checkpoint(key: &SigningKey, checkpoint: &Checkpoint) -> Envelope {
    key.sign_as(PAYLOAD_TYPE, &checkpoint.to_payload(&key.public().id()))
}

/// The checkpoint in the JSON of an envelope, if one of `keys` signed it.
///
/// # Errors
/// [`CheckpointProblem`] tells what it is instead.
pub fn checkpoint_in(envelope: &[u8], keys: &[PublicKey]) -> Result<Checkpoint, CheckpointProblem> {
    let form = |problem: String| CheckpointProblem::Form(problem);
    if envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(form(format!("it has more than {MAX_ENVELOPE_BYTES} bytes")));
    }
    let envelope: Envelope = serde_json::from_slice(envelope).map_err(|error| form(error.to_string()))?;
    let (payload, _) = verify_as(PAYLOAD_TYPE, &envelope, keys)?;
    Checkpoint::from_payload(&payload).ok_or_else(|| form("what was signed is no checkpoint".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify;

    #[test]
    fn a_checkpoint_is_no_statement_and_a_statement_no_checkpoint() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let keys = [key.public()];
        let checkpoint = Checkpoint { seq: 7, hash: "ab".repeat(32), time: "2026-03-01T12:00:00Z".parse().unwrap() };
        let envelope = sign_checkpoint(&key, &checkpoint);
        let json = serde_json::to_vec(&envelope).unwrap();
        assert_eq!(checkpoint_in(&json, &keys), Ok(checkpoint.clone()));
        assert!(matches!(verify(&envelope, &keys), Err(SignatureProblem::PayloadType { .. })));
        let statement = serde_json::to_vec(&key.sign(&checkpoint.to_payload("key"))).unwrap();
        assert!(matches!(checkpoint_in(&statement, &keys), Err(CheckpointProblem::Signature(_))));
        let other = SigningKey::from_seed(&[2; 32]).unwrap();
        assert!(matches!(checkpoint_in(&json, &[other.public()]), Err(CheckpointProblem::Signature(_))));
        assert!(matches!(checkpoint_in(b"{", &keys), Err(CheckpointProblem::Form(_))));
        assert!(matches!(checkpoint_in(&vec![b' '; 5000], &keys), Err(CheckpointProblem::Form(_))));
    }
}
