//! Reviews, by the replica that leads: objects are answered, and what nobody decides about in time is rejected.

mod objects;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, Error};
use crate::domain::review::{Decision, EXPIRY};
use crate::domain::{Actor, ActorKind, Id};
use crate::store::{DecideReview, Reviewed};

/// How often is looked for what has waited long enough.
const LOOK: Duration = Duration::from_secs(30);

pub use objects::answer;

/// Answers Reviews, and ends reviews whose time is over, until `stop`.
pub async fn watch(context: Arc<Context>, stop: CancellationToken) {
    tokio::join!(objects::watch(&context, &stop), end(&context, &stop));
}

async fn end(context: &Context, stop: &CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        match expire(context).await {
            Ok(0) => {}
            Ok(count) => info!(count, "reviews that nobody decided about in time have ended"),
            Err(error) => warn!(%error, "reviews whose time is over cannot be ended; trying again"),
        }
    }
}

/// Rejects what nobody has decided about in time; how many there were. Database.
///
/// # Errors
/// If the database does not answer. Once more does once: the decision's id follows from the pack.
pub async fn expire(context: &Context) -> Result<usize, Error> {
    let store = &context.store;
    let mut ended = 0;
    loop {
        let now = context.clock.now();
        let expired = store.expired_reviews(now).await.map_err(Error::store("look for reviews whose time is over"))?;
        if expired.is_empty() {
            return Ok(ended);
        }
        for pack in expired {
            let decide = DecideReview {
                id: Id::derive_for(pack.evaluated_at, &pack.id.to_string(), "expired"),
                subject_sha256: pack.subject_sha256.clone(),
                reviewer: Actor { kind: ActorKind::System, id: EXPIRY.into() },
                decision: Decision::Rejected,
                reason: Some("nobody reviewed it in time".into()),
                criteria_overrides: Vec::new(),
                self_approved: false,
                at: now,
                pack,
            };
            let pack = decide.pack.id;
            match store.decide_review(decide).await.map_err(Error::store("end a review whose time is over"))? {
                Reviewed::Recorded(..) => ended += 1,
                // Somebody was quicker: it is not open any more.
                other => info!(%pack, ?other, "a review whose time is over has ended otherwise"),
            }
        }
    }
}
