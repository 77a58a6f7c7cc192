//! The admission webhooks (design decisions 3 and 4): the door that `kubectl`, GitOps and the REST API share.
//!
//! `/mutate` stamps who submitted an object and its trace id, adds the finalizer, and touches nothing else; `/validate`
//! decides on the final object. Both ask the gate, so that people see all findings at once, whichever is called first.

pub mod certificates;
mod denial;
mod keeper;
mod review;
mod server;
mod stamp_keys;
mod stamping;

#[cfg(test)]
mod denial_tests;
#[cfg(test)]
mod review_tests;

pub use axum::Router;
pub use keeper::{Keeper, KeeperError, KeeperSettings};
pub use review::{Caller, Door, Review, Reviewer};
pub use server::{Tls, router, serve};
