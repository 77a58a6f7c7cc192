//! The controller and its Lease against a scripted API server: every call it makes is expected, and none is left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod clocks;
mod credential;
mod fixture;
mod forgetting;
mod gate;
mod lease;
mod lifecycle;
mod lost;
mod one_record;
mod outage;
mod provenance;
mod queue;
mod recovery;
mod refusal;
mod retention;
mod reviews;
mod runs;
mod signing_keys;
mod spec_changes;
mod work_objects;
