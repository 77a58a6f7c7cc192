//! `outbox`.

use jiff::Timestamp;

use super::{Settled, Waiting};
use crate::columns::{columns, insert_into, sql};
use crate::conn::{Conn, Values, execute, fetch};
use crate::{Result, StoreError};
use jct_domain::Id;
use jct_domain::notification::{Event, Notifications};

columns! {
    pub(crate) struct OutboxColumns {
        receiver: String,
        event_id: String,
        event: String,
        written_at: i64,
    }
}

/// Writes events down for those who want them; how many rows. Once for each: a batch that is repeated changes nothing.
pub(crate) async fn insert(conn: &mut Conn<'_>, events: Vec<Event>, whom: &Notifications) -> Result<u64> {
    const INSERT: Values = insert_into!("outbox", OutboxColumns, " ON CONFLICT DO NOTHING");
    if whom.receivers.is_empty() || events.is_empty() {
        return Ok(0);
    }
    let now = Timestamp::now().as_microsecond();
    let mut rows = Vec::new();
    for event in &events {
        let json = crate::rows::to_json(event)?;
        for receiver in whom.receivers.iter().filter(|receiver| receiver.wants(event)) {
            let columns = OutboxColumns {
                receiver: receiver.name.clone(),
                event_id: event.id.to_string(),
                event: json.clone(),
                written_at: now,
            };
            rows.push(columns.into_arguments());
        }
    }
    let written = rows.len() as u64;
    INSERT.execute(conn, rows).await?;
    Ok(written)
}

/// Takes out what is told or given up.
pub(crate) async fn settle(conn: &mut Conn<'_>, settled: Vec<Settled>) -> Result<()> {
    for Settled { receiver, event } in settled {
        match event.map(|event| event.to_string()) {
            None => execute!(conn, "DELETE FROM outbox WHERE receiver = $1", &receiver)?,
            Some(event) => {
                execute!(conn, "DELETE FROM outbox WHERE receiver = $1 AND event_id = $2", &receiver, event)?
            }
        };
    }
    Ok(())
}

pub(super) async fn waiting(
    conn: &mut Conn<'_>,
    receiver: &str,
    after: Option<Id>,
    limit: u32,
) -> Result<Vec<Waiting>> {
    const PAGE: &str = sql!(
        "SELECT ",
        OutboxColumns::NAMES,
        " FROM outbox WHERE receiver = $1 AND event_id > $2 ORDER BY event_id LIMIT $3"
    );
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = fetch!(OutboxColumns, conn, PAGE, receiver, after, i64::from(limit))?;
    let waiting = |row: OutboxColumns| {
        let OutboxColumns { receiver: _, event_id, event, written_at } = row;
        let event = serde_json::from_str(&event).map_err(|error| StoreError::corrupt("outbox", &event_id, error))?;
        Ok(Waiting { event, since: crate::rows::time("outbox", &event_id, written_at)? })
    };
    rows.into_iter().map(waiting).collect()
}

pub(super) async fn receivers(conn: &mut Conn<'_>) -> Result<Vec<String>> {
    let rows = fetch!((String,), conn, "SELECT DISTINCT receiver FROM outbox ORDER BY receiver LIMIT 1000")?;
    Ok(rows.into_iter().map(|(receiver,)| receiver).collect())
}
