//! Walking over the chain.

use super::append::Head;
use super::chain::{AuditColumns, GENESIS};
use crate::domain::Id;
use crate::store::Result;
use crate::store::conn::fetch;
use crate::store::connect::Readers;

/// An entry can have some 700 KB; a page must fit in memory.
const PAGE: i64 = 100;

/// What a walk over the audit log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditCheck {
    /// Every entry is as it was written, none is missing.
    Intact {
        /// How many entries there are.
        entries: u64,
        /// The last one's hash: written down elsewhere, it proves later that nothing before it was changed.
        head: String,
    },
    /// An entry was changed, removed, inserted or moved.
    Broken {
        /// The place of the first entry that does not fit.
        seq: u64,
        /// Its id; none if it is missing.
        id: Option<Id>,
        /// In what way it does not fit.
        problem: String,
    },
}

/// Holds every entry up to the present head against the chain. Entries that are written meanwhile are not looked at.
pub(in crate::store) async fn verify(readers: &Readers) -> Result<AuditCheck> {
    let sql = "SELECT seq, hash FROM audit_head WHERE id = 1";
    let head = fetch!(Head, &mut readers.acquire().await?.borrow(), sql)?.pop();
    let Some(head) = head else { return Ok(broken(0, None, "the chain has no head")) };
    let mut last = Head { seq: 0, hash: GENESIS.into() };
    loop {
        let sql = "SELECT seq, id, ts, actor_kind, actor_id, action, entity_kind, entity_id, before, after, note, \
                   trace_id, prev_hash, hash FROM audit_log WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
        let page = fetch!(AuditColumns, &mut readers.acquire().await?.borrow(), sql, last.seq, head.seq, PAGE)?;
        if page.is_empty() {
            break;
        }
        for entry in page {
            if let Some(problem) = problem(&entry, &last) {
                let missing = entry.seq != last.seq + 1;
                return Ok(broken(last.seq + 1, entry.id.parse().ok().filter(|_| !missing), problem));
            }
            last = Head { seq: entry.seq, hash: entry.hash };
        }
    }
    if last.seq != head.seq {
        return Ok(broken(last.seq + 1, None, "entries are missing at the end"));
    }
    if last.hash != head.hash {
        return Ok(broken(last.seq, None, "the last entry is not the one that was written"));
    }
    Ok(AuditCheck::Intact { entries: head.seq.unsigned_abs(), head: head.hash })
}

fn problem(entry: &AuditColumns, last: &Head) -> Option<&'static str> {
    if entry.seq != last.seq + 1 {
        Some("the entry is missing")
    } else if entry.prev_hash != last.hash {
        Some("the entry does not follow the one before it")
    } else if entry.hash != entry.expected_hash() {
        Some("the entry was changed")
    } else {
        None
    }
}

fn broken(seq: i64, id: Option<Id>, problem: &str) -> AuditCheck {
    AuditCheck::Broken { seq: seq.unsigned_abs(), id, problem: problem.into() }
}
