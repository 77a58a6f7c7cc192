//! Walking over the chain.

use super::append::Head;
use super::chain::{AuditColumns, GENESIS};
use crate::domain::Id;
use crate::store::Result;
use crate::store::conn::{Conn, fetch};
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
    let Some(head) = head(&mut readers.acquire().await?.borrow()).await? else { return Ok(headless()) };
    let mut walk = Walk::up_to(head);
    // A connection for each page: a walk of minutes must not hold on to a state of the database.
    while walk.step(&mut readers.acquire().await?.borrow()).await? {}
    Ok(walk.end())
}

/// Holds every entry up to `head` against the chain.
pub(in crate::store) async fn verify_up_to(conn: &mut Conn<'_>, head: Option<Head>) -> Result<AuditCheck> {
    let Some(head) = head else { return Ok(headless()) };
    let mut walk = Walk::up_to(head);
    while walk.step(conn).await? {}
    Ok(walk.end())
}

/// The present head of the chain.
pub(in crate::store) async fn head(conn: &mut Conn<'_>) -> Result<Option<Head>> {
    Ok(fetch!(Head, conn, "SELECT seq, hash FROM audit_head WHERE id = 1")?.pop())
}

fn headless() -> AuditCheck {
    broken(0, None, "the chain has no head")
}

/// A walk from the first entry to the head.
struct Walk {
    head: Head,
    last: Head,
    found: Option<AuditCheck>,
}

impl Walk {
    fn up_to(head: Head) -> Self {
        Self { head, last: Head { seq: 0, hash: GENESIS.into() }, found: None }
    }

    /// Looks at the next page; whether there is more to look at.
    async fn step(&mut self, conn: &mut Conn<'_>) -> Result<bool> {
        let sql = "SELECT seq, id, ts, actor_kind, actor_id, action, entity_kind, entity_id, before, after, note, \
                   trace_id, prev_hash, hash FROM audit_log WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
        let page = fetch!(AuditColumns, conn, sql, self.last.seq, self.head.seq, PAGE)?;
        let is_last = page.is_empty();
        for entry in page {
            if let Some(problem) = problem(&entry, &self.last) {
                let missing = entry.seq != self.last.seq + 1;
                let id = entry.id.parse().ok().filter(|_| !missing);
                self.found = Some(broken(self.last.seq + 1, id, problem));
                return Ok(false);
            }
            self.last = Head { seq: entry.seq, hash: entry.hash };
        }
        Ok(!is_last)
    }

    fn end(self) -> AuditCheck {
        let Self { head, last, found } = self;
        match found {
            Some(found) => found,
            None if last.seq != head.seq => broken(last.seq + 1, None, "entries are missing at the end"),
            None if last.hash != head.hash => broken(last.seq, None, "the last entry is not the one that was written"),
            None => AuditCheck::Intact { entries: head.seq.unsigned_abs(), head: head.hash },
        }
    }
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
