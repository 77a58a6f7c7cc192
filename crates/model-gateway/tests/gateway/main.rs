//! Relay, broker and a scripted model server, as they stand together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod budgets;
mod faults;
mod latency;
mod limits;
mod passing;
mod support;
