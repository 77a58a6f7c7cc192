//! TCP to one port of loopback, for a process that has no INET sockets and no network.
//!
//! Its calls of `socket` for a stream of INET are asked about ([`jct_seccomp_notify`]), and answered with one end of a pair of
//! Unix sockets, connected from the start. What it then does with that, other calls make look like TCP:
//!
//! | call | what it gets |
//! |---|---|
//! | `socket(AF_INET or AF_INET6, SOCK_STREAM, 0 or TCP)` | an end of the pair; EMFILE beyond [`Limits::open`], ENOBUFS beyond [`Limits::per_second`] |
//! | any other `socket` | what it got before: EPERM |
//! | `connect` to 127.0.0.1 or ::1 and the port | success, once; the other end goes to who takes connections. EISCONN then |
//! | `connect` to another port of loopback, elsewhere | ECONNREFUSED, ENETUNREACH |
//! | options of TCP and IP | success, and nothing happens |
//! | `getsockname`, `getpeername` | names of the socket that it would be |
//! | `bind`, `listen` | EACCES |
//!
//! Why at `socket`, not at `connect`: no INET socket ever exists, so that nothing that is decided by looking at memory which
//! another thread may change meanwhile decides about the network. The worst that a lie does is a connection to the one place
//! that may be connected to.
//!
//! The process that asks hands its listener over while it starts ([`hand_over`]), to a thread that was there before it
//! ([`start`]). Everything is bounded, for whoever asks is hostile; the thread has the lowest priority, so that asking takes
//! turns from nobody.

#![warn(missing_docs)] // other crates use it

mod asked;
mod error;
mod filter;
mod handover;
mod lease;
mod proxy;
mod rate;

pub use error::Error;
pub use handover::{hand_over, pass_channel, take_channel};
pub use lease::{Connection, receive, send};
pub use proxy::{Config, Counts, Limits, Proxy, start};

use jct_seccomp_notify::Listener;

/// Confines this thread, for ever and with all that it starts: its calls about sockets are asked of the listener. Whoever only
/// wants to know whether that can be had does so in a process that ends thereupon.
///
/// # Errors
/// What this kernel, or a filter that is there already, does not let it have.
pub fn install(unix_sockets: bool) -> Result<Listener, Error> {
    rustix::thread::set_no_new_privs(true).map_err(|error| Error::Install(error.into()))?;
    jct_seccomp_notify::install(&filter::program(unix_sockets)).map_err(Error::of_install)
}
