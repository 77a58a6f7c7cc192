//! Checkpoints of the audit log: made now and then, signed with the installation's key, and left in places outside of the
//! database. `jct audit --verify` holds the log against all of them that it finds.
//!
//! Nothing is signed that does not follow from what was signed before: whoever rewrites the log gets no signature for it.

mod config_map;
mod file;
mod keeper;
mod sink;

pub use config_map::CheckpointMap;
pub use file::{CheckpointFile, Found, read_checkpoints};
pub use keeper::{CheckpointSchedule, Keeper, Places};
pub use sink::{InvalidSink, Sink};

use jiff::Timestamp;

use crate::domain::checkpoint::Checkpoint;
use crate::domain::provenance::Envelope;
use crate::signing::{KeyRing, sign_checkpoint};
use crate::store::{AuditCheck, AuditHead, Store, StoreError};

/// What became of a wish for a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// Nothing was written since the last one.
    Nothing,
    Signed(Box<Checkpoint>, Box<Envelope>),
    /// The log does not follow from the last one.
    Refused(AuditCheck),
}

/// A checkpoint of the log as it is now, if it goes on from `last`. Without one, the log as it is counts: there is nothing to
/// hold it against.
///
/// # Errors
/// If the record cannot be read.
pub async fn make(store: &Store, ring: &KeyRing, last: Option<&Checkpoint>) -> Result<Made, StoreError> {
    let time = Timestamp::now();
    let AuditHead { seq, hash } = match last {
        Some(last) => match store.audit_since(last).await? {
            Ok(head) => head,
            Err(broken) => return Ok(Made::Refused(broken)),
        },
        None => store.audit_head().await?,
    };
    if last.map_or(0, |last| last.seq) == seq {
        return Ok(Made::Nothing);
    }
    let checkpoint = Checkpoint { seq, hash, time };
    let envelope = sign_checkpoint(ring.signing(), &checkpoint);
    Ok(Made::Signed(Box::new(checkpoint), Box::new(envelope)))
}

/// The line that a checkpoint is in files and elsewhere, without its end.
pub fn line(envelope: &Envelope) -> String {
    serde_json::to_string(envelope).unwrap_or_default()
}
