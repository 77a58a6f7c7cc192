//! A write: an operation, and the transaction that it runs in.

use async_trait::async_trait;

use super::Result;
use super::audit::Change;
use super::conn::Conn;

/// What a write does. It may run more than once, each time on a clean transaction.
#[async_trait]
pub(super) trait Operation: Send + Sync + 'static {
    /// What the caller gets once the change is committed.
    type Output: Send + 'static;

    /// Reads, decides, writes. An error undoes what it wrote.
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output>;
}

/// The transaction of an operation.
pub(super) struct Tx<'t> {
    /// Where it runs.
    pub(super) conn: Conn<'t>,
    /// The audit entries of the batch so far; they are written before its commit.
    pub(super) changes: &'t mut Vec<Change>,
}

impl Tx<'_> {
    /// Has the change written to the audit log, together with what it describes.
    pub(super) fn audit(&mut self, change: Change) {
        self.changes.push(change);
    }
}
