//! The chain of hashes that makes a changed, removed or inserted entry visible.
//!
//! `hash` is the SHA-256, in lower-case hex digits, of
//!
//! 1. the bytes `jct-audit-v1`,
//! 2. the columns `prev_hash`, `seq`, `id`, `ts`, `actor_kind`, `actor_id`, `action`, `entity_kind`, `entity_id`,
//!    `before`, `after`, `note`, `trace_id`, each as: the byte 0 for null; else the byte 1, the length of the text in
//!    bytes as 8 bytes big-endian, and the text as stored, numbers in decimal digits.
//!
//! `prev_hash` is the `hash` of the entry with the `seq` before; the first entry's is [`GENESIS`]. In the database it is empty: it
//! would say twice what is there; entries of earlier versions have it. Whoever knows a `hash`
//! from elsewhere can so tell whether any entry up to it was changed, with no tool but SHA-256.

use sha2::{Digest, Sha256};

use crate::columns::columns;
use crate::json_codes::CodedJson;
use jct_domain::id::hex;

/// The `prev_hash` of the first entry.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

columns! {
    /// A row of `audit_log`.
    pub(crate) struct AuditColumns {
        seq: i64,
        id: String,
        ts: i64,
        actor_kind: String,
        actor_id: String,
        action: String,
        entity_kind: String,
        entity_id: String,
        before: Option<CodedJson>,
        after: Option<CodedJson>,
        note: Option<String>,
        trace_id: String,
        prev_hash: String,
        hash: String,
    }
}

impl AuditColumns {
    /// What `hash` must be after an entry with the hash `prev_hash`.
    pub(super) fn hash_after(&self, prev_hash: &str) -> String {
        let Self {
            seq,
            id,
            ts,
            actor_kind,
            actor_id,
            action,
            entity_kind,
            entity_id,
            before,
            after,
            note,
            trace_id,
            prev_hash: _,
            hash: _,
        } = self;
        let prev_hash = prev_hash.to_owned();
        let (seq, ts) = (seq.to_string(), ts.to_string());
        let columns = [
            Some(&prev_hash),
            Some(&seq),
            Some(id),
            Some(&ts),
            Some(actor_kind),
            Some(actor_id),
            Some(action),
            Some(entity_kind),
            Some(entity_id),
            before.as_ref().map(|json| &json.text),
            after.as_ref().map(|json| &json.text),
            note.as_ref(),
            Some(trace_id),
        ];
        let mut hash = Sha256::new_with_prefix(b"jct-audit-v1");
        for column in columns {
            match column {
                None => hash.update([0]),
                Some(text) => {
                    hash.update([1]);
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
            }
        }
        hex(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditColumns {
        AuditColumns {
            seq: 1,
            id: "01KJMMA2G027CE4HT1RZKZBW4A".into(),
            ts: 1_772_366_400_000_000,
            actor_kind: "human".into(),
            actor_id: "ada@example.org".into(),
            action: "created".into(),
            entity_kind: "Task".into(),
            entity_id: "01KJMMA2G0DG19KF7NBTWHJQEZ".into(),
            before: None,
            after: Some(CodedJson::new("{}".into())),
            note: None,
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            prev_hash: String::new(),
            hash: String::new(),
        }
    }

    #[test]
    fn the_encoding_is_frozen() {
        // Checkpoints kept elsewhere hold such hashes.
        assert_eq!(entry().hash_after(GENESIS), "c6b3e739d4e8ce35677e5812fb3a6ce3b9b6f7f971dbd4a73ce15d8d821ab1f4");
    }

    #[test]
    fn no_text_can_pass_for_another_column() {
        let moved = AuditColumns { actor_kind: "humana".into(), actor_id: "da@example.org".into(), ..entry() };
        assert_ne!(moved.hash_after(GENESIS), entry().hash_after(GENESIS));
        let empty = AuditColumns { before: Some(CodedJson::new(String::new())), ..entry() };
        assert_ne!(empty.hash_after(GENESIS), entry().hash_after(GENESIS));
    }
}
