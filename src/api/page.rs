//! Pages of rows as JSON, and the room that answers take.
//!
//! A row may be as large as what was recorded, so a page has a bound in bytes beside the one in rows: it ends early, and its
//! `Link` leads on. Rows are fetched a few at a time and become text at once; few pages are made at the same time, and what
//! is made keeps its room until the last byte of it is sent, however slowly its reader reads.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::auth::Caller;
use super::error::Problem;
use crate::domain::Id;
use crate::serve::{Budget, Charge};
use crate::store::{Page, StoreError};

/// The bytes after which a page ends.
const PAGE_BYTES: usize = 4 << 20;
/// How many rows are fetched at once; one may have a MiB.
const ROWS: u32 = 16;
/// How many pages are made at once.
const AT_ONCE: usize = 4;
/// The bytes of answers that are being sent, in all and of one caller.
const ANSWERS: (usize, usize) = (48 << 20, 24 << 20);
/// How long a page may wait to be made, and for room.
const WAIT: Duration = Duration::from_secs(5);

/// The room for answers.
#[derive(Debug)]
pub struct Answers {
    making: Semaphore,
    bytes: Budget,
}

impl Default for Answers {
    fn default() -> Self {
        Self { making: Semaphore::new(AT_ONCE), bytes: Budget::new(ANSWERS.0, ANSWERS.1) }
    }
}

fn busy() -> Problem {
    let message = "too many answers are being sent; try again when you have read some";
    Problem::named(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(1)
}

impl Answers {
    /// A turn to make something large.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(WAIT, self.making.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }

    /// The answer to `caller`: this JSON, with these headers.
    pub async fn json(&self, caller: &Caller, headers: HeaderMap, text: Vec<u8>) -> Result<Response, Problem> {
        let charge = self.bytes.charge(caller.username(), text.len().min(ANSWERS.1), WAIT).await.ok_or_else(busy)?;
        let body = Body::from(Bytes::from_owner(Charged { text, _charge: charge }));
        Ok(([(header::CONTENT_TYPE, "application/json")], headers, body).into_response())
    }
}

/// A text with its room.
struct Charged {
    text: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// The rows of `page` as a JSON array, and the last row if there may be more: `fetch` has rows, `show` makes an id and JSON
/// of each.
pub async fn array<Row, Json: Serialize, Fetched: Future<Output = Result<Vec<Row>, StoreError>>>(
    page: Page,
    fetch: impl Fn(Page) -> Fetched,
    show: impl Fn(&Row) -> (Id, Json),
) -> Result<(Vec<u8>, Option<Id>), Problem> {
    let mut text = vec![b'['];
    let mut left = page.limit;
    let mut next = page;
    let mut last = None;
    while left > 0 && text.len() < PAGE_BYTES {
        next.limit = left.min(ROWS);
        let rows = fetch(next).await?;
        for row in &rows {
            let (id, json) = show(row);
            if last.is_some() {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &json).map_err(|error| Problem::internal("write a row", &error))?;
            last = Some(id);
            left -= 1;
            if text.len() >= PAGE_BYTES {
                break;
            }
        }
        if text.len() < PAGE_BYTES && rows.len() < next.limit as usize {
            last = None;
            break;
        }
        next = Page { offset: 0, after: last, ..next };
    }
    text.push(b']');
    Ok((text, last))
}
