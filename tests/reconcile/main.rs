//! The controller against a scripted API server: every call it makes is expected, and none is left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod fixture;
mod lifecycle;
mod recovery;
mod refusal;
mod runs;
mod work_objects;
