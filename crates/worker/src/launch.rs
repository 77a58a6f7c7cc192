//! `jct worker launch`: takes this process's rights away, then becomes the program.
//!
//! First of all, what whoever started it left open is closed: nothing but input, output and error goes on to the program.
//!
//! A process of its own, with one thread, so that nothing of it escapes the restrictions, and no code runs between fork and
//! exec in a process that others depend on.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::namespaces::{self, Enclosure};
use super::sandbox::{Enforced, ProcessLimits, Sandbox, confine};
use super::{LaunchArgs, descriptors, privileges};

/// Exit code where the sandbox cannot be had.
pub const UNCONFINED: u8 = 125;
/// Exit code where the program cannot be run, as shells have it.
const NOT_EXECUTABLE: u8 = 126;
/// Exit code where there is no such program, as shells have it.
const NOT_FOUND: u8 = 127;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launch {
    /// With less memory, otherwise free: for our own tools.
    Limited(ProcessLimits),
    /// Confined: for everybody else's.
    Confined(Sandbox),
    /// Confined, in namespaces of its own: where there is no pod around it.
    Enclosed(Box<Enclosure>),
    /// The first process of these, which starts the confined one: for [`namespaces`] alone.
    Inside(Box<Enclosure>),
}

impl Launch {
    /// A command for `program` that is launched so by `own`, our own binary.
    pub fn command(&self, own: &Path, program: impl AsRef<std::ffi::OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(own);
        command.args(["worker", "launch", "--how", &self.to_json(), "--"]).arg(program);
        command
    }

    /// A command that says what can be enforced, as JSON, and does nothing.
    pub fn probe(&self, own: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(own);
        command.args(["worker", "launch", "--how", &self.to_json()]);
        command
    }

    /// What carries out `args`, launched so, by `own`: the next of several stages.
    pub fn start(&self, own: &Path, args: &LaunchArgs) -> Command {
        let mut command = Command::new(own);
        command.args(["worker", "launch", "--how", &self.to_json()]);
        if !args.command.is_empty() {
            command.arg("--").args(&args.command);
        }
        command
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Becomes the program; without one, prints what is enforced. Returns only if that fails.
pub fn launch(args: &LaunchArgs) -> ExitCode {
    // Whoever started us is who ends us; were it gone, nobody would.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    if let Err(error) = descriptors::close_inherited() {
        return fail(UNCONFINED, &format!("what was left open cannot be closed: {error}"));
    }
    let how: Launch = match serde_json::from_str(&args.how) {
        Ok(how) => how,
        Err(error) => return fail(UNCONFINED, &format!("--how: {error}")),
    };
    let enforced = match how {
        Launch::Limited(limits) => limits.apply().map(|()| Enforced::default()).map_err(|error| error.to_string()),
        Launch::Confined(sandbox) => {
            let confined = privileges::drop_capabilities().and_then(|()| confine(&sandbox));
            confined.and_then(|enforced| watch_sockets(&sandbox, !args.command.is_empty()).map(|()| enforced))
        }
        Launch::Enclosed(enclosure) => return namespaces::enter(*enclosure, args),
        Launch::Inside(enclosure) => return namespaces::init(*enclosure, args),
    };
    let enforced = match enforced {
        Ok(enforced) => enforced,
        Err(error) => return fail(UNCONFINED, &error),
    };
    let Some((program, arguments)) = args.command.split_first() else {
        println!("{}", serde_json::to_string(&enforced).unwrap_or_default());
        return ExitCode::SUCCESS;
    };
    let error = Command::new(program).args(arguments).exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    fail(code, &format!("cannot run {program:?}: {error}"))
}

/// Has the supervisor asked about sockets, where they are the way to a model: last of all, for what is done afterwards may be
/// asked about too. Of who only tries what can be enforced nobody is asked.
fn watch_sockets(sandbox: &Sandbox, becomes_program: bool) -> Result<(), String> {
    if !sandbox.model {
        return Ok(());
    }
    if !becomes_program {
        return jct_socket_proxy::install(sandbox.unix_sockets).map(drop).map_err(|error| error.to_string());
    }
    jct_socket_proxy::hand_over(std::io::stdin(), sandbox.unix_sockets).map_err(|error| error.to_string())?;
    // What it was handed over by is the supervisor's, and not for the program.
    let nothing = std::fs::File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    rustix::stdio::dup2_stdin(nothing).map_err(|error| format!("standard input cannot be closed: {error}"))
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("jct worker launch: {message}");
    ExitCode::from(code)
}
