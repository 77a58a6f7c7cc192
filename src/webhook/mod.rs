//! The admission webhooks (design decisions 3 and 4): the endpoint that `kubectl`, GitOps and the REST API share.
//!
//! `/mutate` stamps who submitted an object and its trace id, adds the finalizer, and touches nothing else; `/validate`
//! decides on the final object. Both ask the gate, so that people see all findings at once, whichever is called first.

pub mod certificates;
mod denial;
mod keeper;
mod metrics;
mod read;
mod review;
mod server;
mod stamp_keys;
mod stamping;

#[cfg(test)]
mod denial_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod review_tests;
#[cfg(test)]
mod server_tests;

pub use axum::Router;
pub use keeper::{Keeper, KeeperError, KeeperSettings};
pub use metrics::{ReviewLabels, WebhookMetrics};
pub use review::{Endpoint, Review, Reviewer};
pub use server::{Outlets, router, serve};

use crate::serve::Peer;

/// Who hands in a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The API server, by its client certificate: what it says of users is true.
    Authenticated,
    /// Somebody who reaches the port. Most likely the API server; what is said of users is a claim.
    Anonymous,
}

impl Caller {
    /// The caller at the other end of a connection.
    pub fn of(peer: Option<Peer>) -> Self {
        match peer {
            Some(Peer { certified: true, .. }) => Self::Authenticated,
            _ => Self::Anonymous,
        }
    }
}
