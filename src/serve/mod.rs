//! HTTP connections and bodies, bounded: what the webhook and the API are served by.
//!
//! Whoever reaches a port can open connections, begin requests and send bytes. Each of these is counted and timed before
//! anything is made of it: connections in all and of one source, handshakes, heads, the time between two requests, and the
//! bytes of bodies that are in memory at once. What does not fit is turned away; what has arrived is not given up for it.

mod arrival;
mod body;
mod budget;
mod connections;
pub mod json;
mod server;
mod tls;

pub use arrival::{Arrival, host};
pub use body::{Body, BodyError, BodyLimits, read};
pub use budget::{Budget, Charge};
pub use connections::{InFlight, KeepBusy};
pub use server::{Limits, Peer, serve, serve_on};
pub use tls::{ClientCa, Tls, TlsError};
