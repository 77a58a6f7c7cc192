//! `kubectl jct`: asks for Tasks, follows them, and reads what they made, as the person of the kubeconfig.
//!
//! Tasks are made through the API server, as with kubectl. What a Task left is read from the operator's REST API, by a Session
//! (`connect::session`), over a port-forward that is made here (`connect::transport`): nothing has to be exposed.
//!
//! What comes from elsewhere is shown harmless: nothing in it acts on the terminal. How it is shown is pure, in [`show`].

mod cli;
mod commands;
mod connect;
pub mod docs;
mod rest;
pub mod show;
mod tasks;

use std::error::Error;
use std::io;

use jct_domain::shown::plain_lines;

pub use cli::{Cli, command};

/// Everything as asked; the Task completed.
pub const DONE: u8 = 0;
/// The Task failed, or what was looked at is not as it should be.
pub const FAILED: u8 = 1;
/// Nothing could be done: wrong arguments, no right, no answer.
pub const IMPOSSIBLE: u8 = 2;
/// The gate denies the Task.
pub const DENIED: u8 = 3;
/// The Task has not ended; it goes on.
pub const GOES_ON: u8 = 4;
/// The Task was cancelled.
pub const CANCELLED: u8 = 130;

/// Runs a command; its exit code.
pub fn run(cli: Cli) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kubectl jct: cannot start: {error}");
            return IMPOSSIBLE;
        }
    };
    let done = runtime.block_on(commands::run(cli));
    // A connection that does not end is nobody's any more.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        // Who reads it, such as `| head`, has enough.
        Err(error) if is_broken_pipe(&error) => DONE,
        Err(error) => {
            eprintln!("kubectl jct: {}", plain_lines(&with_causes(&error)));
            IMPOSSIBLE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_io = |cause: &(dyn Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| of_io(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// Every cause once, also where one quotes the next.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
