//! Who asked for which deletion, on the way from one replica to another. Of no use once the deletion is recorded, and bounded in
//! number and age: those that nobody vouches for by themselves, so that they displace no others.

use jiff::{SignedDuration, Timestamp};

use super::Result;
use super::conn::{Argument, Conn, Values, execute, fetch};
use jct_domain::DeletionNote;

/// How long one is kept. Within that time a Task that is deleted has ended, and its deletion is recorded.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many of each kind are kept: the last ones.
const MOST: u32 = 20_000;
/// How many are read of one object.
const MOST_OF_ONE: u32 = 16;

const INSERT: Values = Values {
    before: "INSERT INTO deletion_notes (uid, vouched_for, user_name, namespace, noted_at, seal) VALUES",
    width: 6,
    after: " ON CONFLICT DO NOTHING",
};

const FORGET: Values = Values { before: "DELETE FROM deletion_notes WHERE uid IN (VALUES", width: 1, after: ")" };

/// Writes notes that are not there yet, and removes those whose time is over.
pub(super) async fn insert(conn: &mut Conn<'_>, notes: Vec<DeletionNote>) -> Result<()> {
    let now = Timestamp::now();
    for vouched_for in [true, false] {
        let rows: Vec<_> = notes.iter().filter(|note| note.vouched_for == vouched_for).map(row).collect();
        if !rows.is_empty() {
            INSERT.execute(conn, rows).await?;
            trim(conn, vouched_for, now, MOST).await?;
        }
    }
    Ok(())
}

async fn trim(conn: &mut Conn<'_>, vouched_for: bool, now: Timestamp, most: u32) -> Result<()> {
    let class = i64::from(vouched_for);
    let sql = "SELECT noted_at FROM deletion_notes WHERE vouched_for = $1 ORDER BY noted_at DESC LIMIT 1 OFFSET $2";
    let oldest = fetch!((i64,), conn, sql, class, i64::from(most))?;
    let too_many = oldest.first().map_or(i64::MIN, |(at,)| *at);
    let too_old = now.checked_sub(LIFE).unwrap_or(Timestamp::MIN).as_microsecond();
    let sql = "DELETE FROM deletion_notes WHERE vouched_for = $1 AND noted_at <= $2";
    execute!(conn, sql, class, too_many.max(too_old))?;
    Ok(())
}

/// Removes the notes on objects whose deletion is recorded.
pub(super) async fn forget(conn: &mut Conn<'_>, uids: Vec<String>) -> Result<()> {
    FORGET.execute(conn, uids.into_iter().map(|uid| vec![uid.into()]).collect()).await.map(drop)
}

/// The notes on one object.
pub(super) async fn of(conn: &mut Conn<'_>, uid: &str) -> Result<Vec<DeletionNote>> {
    let sql = "SELECT uid, namespace, user_name, vouched_for, noted_at, seal FROM deletion_notes WHERE uid = $1 \
               ORDER BY vouched_for DESC, noted_at, user_name LIMIT $2";
    let rows = fetch!((String, String, String, i64, i64, String), conn, sql, uid, i64::from(MOST_OF_ONE))?;
    let note = |(uid, namespace, user, vouched_for, at, seal)| {
        let at = Timestamp::from_microsecond(at).ok()?;
        Some(DeletionNote { uid, namespace, user, vouched_for: vouched_for == 1, at, seal })
    };
    Ok(rows.into_iter().filter_map(note).collect())
}

fn row(note: &DeletionNote) -> Vec<Argument> {
    let DeletionNote { uid, namespace, user, vouched_for, at, seal } = note;
    let (class, at) = (i64::from(*vouched_for), at.as_microsecond());
    vec![uid.into(), class.into(), user.into(), namespace.into(), at.into(), seal.into()]
}
