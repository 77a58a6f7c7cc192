//! Real programs behind the proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod support;
mod traps;
