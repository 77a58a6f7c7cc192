//! Walking over the chain.

use std::collections::BTreeMap;

use super::append::Head;
use super::chain::{AuditColumns, GENESIS};
use crate::Result;
use crate::columns::sql;
use crate::conn::{Conn, fetch};
use crate::connect::Readers;
use jct_domain::Id;
use jct_domain::checkpoint::Checkpoint;

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

/// What a walk over the audit log found that was held against signed checkpoints too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchoredCheck {
    pub check: AuditCheck,
    /// The newest of the checkpoints that the log goes through; none if there is none.
    pub anchor: Option<Checkpoint>,
}

/// The end of the chain: the last entry's place and hash; place 0 before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Counts from 1.
    pub seq: u64,
    pub hash: String,
}

/// Holds every entry up to the present head against the chain, and against `checkpoints`, whose signatures the caller has
/// checked. Entries that are written meanwhile are not looked at.
pub(crate) async fn verify(readers: &Readers, checkpoints: &[Checkpoint]) -> Result<AnchoredCheck> {
    let mut walk = match Walk::begin(&mut readers.acquire().await?.borrow(), checkpoints).await? {
        Ok(walk) => walk,
        Err(broken) => return Ok(AnchoredCheck { check: broken, anchor: None }),
    };
    // A connection for each page: a walk of minutes must not hold on to a state of the database.
    while walk.step(&mut readers.acquire().await?.borrow()).await? {}
    Ok(walk.end())
}

/// The same within one state of the database.
pub(crate) async fn verify_all(conn: &mut Conn<'_>, checkpoints: &[Checkpoint]) -> Result<AnchoredCheck> {
    let mut walk = match Walk::begin(conn, checkpoints).await? {
        Ok(walk) => walk,
        Err(broken) => return Ok(AnchoredCheck { check: broken, anchor: None }),
    };
    while walk.step(conn).await? {}
    Ok(walk.end())
}

/// Holds every entry up to `head` against the chain.
pub(crate) async fn verify_up_to(conn: &mut Conn<'_>, head: Head) -> Result<AuditCheck> {
    let mut walk = Walk::new(Head { seq: 0, hash: GENESIS.into() }, head, &[]);
    while walk.step(conn).await? {}
    Ok(walk.end().check)
}

/// Holds the entries after `last` up to the present head against the chain; that head, if they follow.
pub(crate) async fn verify_since(
    readers: &Readers,
    last: &Checkpoint,
) -> Result<std::result::Result<AuditHead, AuditCheck>> {
    let reader = &mut readers.acquire().await?;
    let conn = &mut reader.borrow();
    let Some(LogBounds { seq, hash, .. }) = bounds(conn).await? else { return Ok(Err(headless())) };
    let signed = i64::try_from(last.seq).unwrap_or(i64::MAX);
    if seq < signed {
        return Ok(Err(cut_off(seq, last)));
    }
    let there = fetch!((String,), conn, "SELECT hash FROM audit_log WHERE seq = $1", signed)?.pop();
    if signed > 0 && there.is_none_or(|(there,)| there != last.hash) {
        return Ok(Err(broken(signed, None, &not_as_signed(0, last))));
    }
    let from = Head { seq: signed, hash: last.hash.clone() };
    let mut walk = Walk::new(from, Head { seq, hash: hash.clone() }, &[]);
    while walk.step(conn).await? {}
    Ok(match walk.end().check {
        AuditCheck::Intact { .. } => Ok(AuditHead { seq: seq.unsigned_abs(), hash }),
        broken @ AuditCheck::Broken { .. } => Err(broken),
    })
}

/// The present head of the chain.
pub(crate) async fn head(conn: &mut Conn<'_>) -> Result<Option<Head>> {
    Ok(fetch!(Head, conn, "SELECT seq, hash FROM audit_head WHERE id = 1")?.pop())
}

/// The head, and between which places there are entries, at one moment.
#[derive(sqlx::FromRow)]
struct LogBounds {
    seq: i64,
    hash: String,
    first: Option<i64>,
    last: Option<i64>,
}

async fn bounds(conn: &mut Conn<'_>) -> Result<Option<LogBounds>> {
    let sql = "SELECT seq, hash, (SELECT MIN(seq) FROM audit_log) AS first, (SELECT MAX(seq) FROM audit_log) AS last \
               FROM audit_head WHERE id = 1";
    Ok(fetch!(LogBounds, conn, sql)?.pop())
}

fn headless() -> AuditCheck {
    broken(0, None, "the chain has no head")
}

fn cut_off(head: i64, signed: &Checkpoint) -> AuditCheck {
    let missing = signed.seq.saturating_sub(head.unsigned_abs());
    let problem = format!(
        "the log ends at entry {head}, but entry {} was signed at {}: {missing} entries are missing at the end",
        signed.seq, signed.time
    );
    broken(head + 1, None, &problem)
}

/// The entries after `good` up to the checkpoint follow each other, and are not those that were signed.
fn not_as_signed(good: u64, signed: &Checkpoint) -> String {
    let Checkpoint { seq, time, .. } = signed;
    let since = match good {
        0 => String::new(),
        good => format!("; up to entry {good} it is as signed"),
    };
    format!("the log was rewritten: entry {seq} is not the one that was signed at {time}{since}")
}

/// A walk from one entry to the head.
struct Walk {
    head: Head,
    last: Head,
    /// What was signed of entries to come, by their place.
    signed: BTreeMap<i64, Checkpoint>,
    anchor: Option<Checkpoint>,
    found: Option<AuditCheck>,
}

impl Walk {
    /// A walk over the whole log.
    async fn begin(conn: &mut Conn<'_>, checkpoints: &[Checkpoint]) -> Result<std::result::Result<Self, AuditCheck>> {
        let Some(LogBounds { seq, hash, first, last }) = bounds(conn).await? else { return Ok(Err(headless())) };
        if let Some(first) = first.filter(|first| *first < 1) {
            return Ok(Err(broken(0, None, &format!("there is an entry {first}, before the first"))));
        }
        if last.is_some_and(|last| last > seq) {
            let problem = "there are entries beyond the head: the head went back, or they were added past the chain";
            return Ok(Err(broken(seq + 1, None, problem)));
        }
        Ok(Ok(Self::new(Head { seq: 0, hash: GENESIS.into() }, Head { seq, hash }, checkpoints)))
    }

    fn new(last: Head, head: Head, checkpoints: &[Checkpoint]) -> Self {
        let mut walk = Self { head, last, signed: BTreeMap::new(), anchor: None, found: None };
        for checkpoint in checkpoints {
            let seq = i64::try_from(checkpoint.seq).unwrap_or(i64::MAX);
            match walk.signed.get(&seq) {
                Some(other) if other.hash != checkpoint.hash => {
                    let problem = format!(
                        "two different entries were signed, at {} and at {}: one of two histories was made up",
                        other.time, checkpoint.time
                    );
                    walk.found.get_or_insert(broken(seq, None, &problem));
                }
                Some(other) if other.time >= checkpoint.time => {}
                _ => drop(walk.signed.insert(seq, checkpoint.clone())),
            }
        }
        walk
    }

    /// Looks at the next page; whether there is more to look at.
    async fn step(&mut self, conn: &mut Conn<'_>) -> Result<bool> {
        if self.found.is_some() {
            return Ok(false);
        }
        const PAGE_OF_ENTRIES: &str =
            sql!("SELECT ", AuditColumns::NAMES, " FROM audit_log WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3");
        let page = fetch!(AuditColumns, conn, PAGE_OF_ENTRIES, self.last.seq, self.head.seq, PAGE)?;
        let is_last = page.is_empty();
        for entry in page {
            if let Some(problem) = problem(&entry, &self.last) {
                let missing = entry.seq != self.last.seq + 1;
                let id = entry.id.parse().ok().filter(|_| !missing);
                self.found = Some(broken(self.last.seq + 1, id, problem));
                return Ok(false);
            }
            if let Some(signed) = self.signed.remove(&entry.seq) {
                if signed.hash != entry.hash {
                    let good = self.anchor.as_ref().map_or(0, |anchor| anchor.seq);
                    self.found = Some(broken(entry.seq, entry.id.parse().ok(), &not_as_signed(good, &signed)));
                    return Ok(false);
                }
                self.anchor = Some(signed);
            }
            self.last = Head { seq: entry.seq, hash: entry.hash };
        }
        Ok(!is_last)
    }

    fn end(self) -> AnchoredCheck {
        let Self { head, last, signed, anchor, found } = self;
        let beyond = signed.into_iter().find(|(seq, _)| *seq > head.seq);
        let check = match (found, beyond) {
            (Some(found), _) => found,
            (None, _) if last.seq != head.seq => broken(last.seq + 1, None, "entries are missing at the end"),
            (None, _) if last.hash != head.hash => {
                broken(last.seq, None, "the last entry is not the one that was written")
            }
            (None, Some((_, signed))) => cut_off(head.seq, &signed),
            (None, None) => AuditCheck::Intact { entries: head.seq.unsigned_abs(), head: head.hash },
        };
        AnchoredCheck { check, anchor }
    }
}

fn problem(entry: &AuditColumns, last: &Head) -> Option<&'static str> {
    if entry.seq != last.seq + 1 {
        Some("the entry is missing")
    } else if !entry.prev_hash.is_empty() && entry.prev_hash != last.hash {
        Some("the entry does not follow the one before it")
    } else if entry.hash != entry.hash_after(&last.hash) {
        Some("the entry was changed, or does not follow the one before it")
    } else {
        None
    }
}

fn broken(seq: i64, id: Option<Id>, problem: &str) -> AuditCheck {
    AuditCheck::Broken { seq: seq.unsigned_abs(), id, problem: problem.into() }
}
