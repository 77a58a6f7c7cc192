//! How much was recorded when, for the limit on it.

use jiff::Timestamp;

use super::Result;
use super::conn::{Conn, fetch_raw};
use super::cwom::table_name;
use jct_domain::cwom::Kind;

/// How many Tasks, and work objects that no Task made, were recorded since then: by namespace and minute since 1970. Read off
/// indexes alone.
pub(super) async fn by_minute(conn: &mut Conn<'_>, since: Timestamp) -> Result<Vec<(String, i64, u64)>> {
    let of = |table: &str, condition: &str| {
        format!(
            "SELECT namespace, recorded_at / 60000000 AS minute, COUNT(*) AS count FROM {table} \
             WHERE recorded_at >= $1{condition} GROUP BY namespace, recorded_at / 60000000"
        )
    };
    let mut all = vec![of("tasks", "")];
    all.extend(Kind::ALL.iter().map(|kind| of(table_name(*kind), " AND task_id IS NULL")));
    let sql = format!(
        "SELECT namespace, minute, CAST(SUM(count) AS BIGINT) FROM ({}) AS recorded GROUP BY namespace, minute",
        all.join(" UNION ALL ")
    );
    let rows = fetch_raw(conn, sql, [since.as_microsecond().into()]).await?;
    rows.iter()
        .map(|row| {
            let number = |index| row.number(index).map(Option::unwrap_or_default);
            Ok((row.text(0)?.unwrap_or_default(), number(1)?, number(2)?.unsigned_abs()))
        })
        .collect()
}
