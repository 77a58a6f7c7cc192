//! What the console keeps of who is signed in: sealed texts with an end. They are no part of the record.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::conn::{Argument, Conn, Values, execute, fetch};
use super::operation::{Changes, Needs, Operation, View};
use super::{Result, Store};

/// How many are kept: those that end last.
const MOST: u32 = 20_000;

const INSERT: Values = Values {
    before: "INSERT INTO console_sessions (id, sealed, ends_at) VALUES",
    width: 3,
    after: " ON CONFLICT DO NOTHING",
};

const REMOVE: Values = Values { before: "DELETE FROM console_sessions WHERE id IN (VALUES", width: 1, after: ")" };

/// Something sealed that is of use until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepSealed {
    /// What it is found by; it tells nothing.
    pub id: String,
    /// What it is, for who has the key.
    pub sealed: String,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl Store {
    /// Keeps something sealed. What has ended is forgotten by it.
    pub async fn keep_sealed(&self, keep: KeepSealed) -> Result<()> {
        self.inner.writer.write(keep).await
    }

    /// What was sealed under this id, if it has not ended by `now`.
    pub async fn sealed(&self, id: &str, now: Timestamp) -> Result<Option<String>> {
        let mut readers = self.inner.readers.acquire().await?;
        let sql = "SELECT sealed FROM console_sessions WHERE id = $1 AND ends_at > $2";
        let found = fetch!((String,), &mut readers.borrow(), sql, id, now.as_microsecond())?;
        Ok(found.into_iter().next().map(|(sealed,)| sealed))
    }

    /// Forgets what was sealed under this id; whether it was there: of all who ask at once one is told so.
    pub async fn end_sealed(&self, id: &str) -> Result<bool> {
        self.inner.writer.write(EndSealed(id.to_owned())).await
    }
}

struct EndSealed(String);

impl Operation for KeepSealed {
    type Output = ();

    fn needs(&self, _: &mut Needs) {}

    fn decide(&self, _: &View) -> Result<((), Changes)> {
        let console = ConsoleChanges { kept: Some(self.clone()), ended: None };
        Ok(((), Changes { console, ..Changes::default() }))
    }
}

impl Operation for EndSealed {
    type Output = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.console.insert(self.0.clone());
    }

    fn decide(&self, view: &View) -> Result<(bool, Changes)> {
        let was_there = view.console.there.contains(&self.0);
        let console = ConsoleChanges { kept: None, ended: was_there.then(|| self.0.clone()) };
        Ok((was_there, Changes { console, ..Changes::default() }))
    }
}

/// What an operation has written.
#[derive(Debug, Default)]
pub(super) struct ConsoleChanges {
    kept: Option<KeepSealed>,
    ended: Option<String>,
}

/// What is there, and what was decided since.
#[derive(Debug, Default)]
pub(super) struct ConsoleView {
    there: BTreeSet<String>,
    kept: Vec<KeepSealed>,
    ended: Vec<String>,
}

impl ConsoleView {
    pub(super) fn stage(&mut self, changes: ConsoleChanges) {
        let ConsoleChanges { kept, ended } = changes;
        self.there.extend(kept.iter().map(|kept| kept.id.clone()));
        self.kept.extend(kept);
        if let Some(id) = ended {
            self.there.remove(&id);
            self.ended.push(id);
        }
    }
}

/// Which of `ids` are there.
pub(super) async fn load(conn: &mut Conn<'_>, ids: BTreeSet<String>) -> Result<ConsoleView> {
    let mut view = ConsoleView::default();
    for id in ids {
        let found = fetch!((String,), conn, "SELECT id FROM console_sessions WHERE id = $1", &id)?;
        view.there.extend(found.into_iter().map(|(id,)| id));
    }
    Ok(view)
}

/// Writes what was decided.
pub(super) async fn save(conn: &mut Conn<'_>, view: ConsoleView) -> Result<()> {
    let ConsoleView { there: _, kept, ended } = view;
    if !kept.is_empty() {
        INSERT.execute(conn, kept.into_iter().map(row).collect()).await?;
        let sql = "SELECT ends_at FROM console_sessions ORDER BY ends_at DESC LIMIT 1 OFFSET $1";
        let too_many = fetch!((i64,), conn, sql, i64::from(MOST))?.first().map_or(i64::MIN, |(at,)| *at);
        let over = Timestamp::now().as_microsecond().max(too_many);
        execute!(conn, "DELETE FROM console_sessions WHERE ends_at <= $1", over)?;
    }
    REMOVE.execute(conn, ended.into_iter().map(|id| vec![id.into()]).collect()).await.map(drop)
}

fn row(KeepSealed { id, sealed, ends_at }: KeepSealed) -> Vec<Argument> {
    vec![id.into(), sealed.into(), ends_at.as_microsecond().into()]
}
