//! Whether writing works.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::store::Result;
use crate::store::conn::execute;
use crate::store::tx::{Operation, Tx};

/// Writes the time into a row that nothing else uses.
pub(in crate::store) struct Probe;

#[async_trait]
impl Operation for Probe {
    type Output = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        let sql = "UPDATE store_probe SET probed_at = $1 WHERE id = 1";
        execute!(&mut tx.conn, sql, Timestamp::now().as_microsecond())?;
        Ok(())
    }
}
