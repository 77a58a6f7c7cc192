//! What confines a process that nobody trusts: Landlock, seccomp, resource limits (design decision 11).
//!
//! No namespaces and no privileges are needed, so that it holds in a pod of Pod Security "restricted", whatever the network
//! plugin does. It is the process itself that takes its rights away, once, before it becomes the program: see
//! [`super::launch`].
//!
//! | layer | refuses |
//! |---|---|
//! | no new privileges | setuid and file capabilities |
//! | Landlock | reading and writing outside the listed folders, TCP, signals to processes outside |
//! | seccomp | sockets but AF_UNIX, ptrace, mounts, namespaces, bpf, keyrings, io_uring, kernel modules, clocks, shared memory and queues of System V, limits and priorities of others, what is newer than we know … |
//! | limits | processes, open files, file size, memory, core dumps |
//! | priority | keeping the supervisor from its turn |

mod files;
mod limits;
mod syscalls;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use limits::ProcessLimits;

use jct_domain::executor::SandboxMode;

/// What a process may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Folders and files that may be read and run.
    pub reads: Vec<PathBuf>,
    /// Folders that may be written as well.
    pub writes: Vec<PathBuf>,
    /// Whether it may open Unix sockets; a pair of them, connected to each other, it may always have.
    pub unix_sockets: bool,
    /// Whether its sockets are for [`jct_socket_proxy`] to give, by a filter of its own that comes last.
    #[serde(default)]
    pub model: bool,
    /// The process that must not be disturbed, by the ids of all its threads.
    pub supervisor: Vec<i32>,
    /// What it may use up.
    pub limits: ProcessLimits,
    /// What to do where something is missing.
    pub mode: SandboxMode,
}

/// What holds of it on this kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// The version of Landlock; 0 if there is none.
    pub landlock_abi: i32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// What could not be enforced, in words.
    pub missing: Vec<String>,
}

/// What the executor yields to the supervisor: who counts processes must not wait until those that he counts let him.
const NICENESS: i32 = 19;

/// Confines this process, for ever and for all that it starts.
///
/// # Errors
/// In words, what the kernel does not do, if that is required. The process may be confined in part then, and must end.
pub fn confine(sandbox: &Sandbox) -> Result<Enforced, String> {
    let mut enforced = Enforced::default();
    nix::sys::prctl::set_no_new_privs().map_err(|error| format!("privileges cannot be given up: {error}"))?;
    rustix::process::setpriority_process(None, NICENESS).map_err(|error| format!("priority cannot be set: {error}"))?;
    // Before the system calls: that one is not set any more afterwards.
    limits::leave_no_core().map_err(|error| format!("limits cannot be set: {error}"))?;
    files::confine(sandbox, &mut enforced)?;
    let scoped = enforced.landlock_abi >= files::SIGNALS_SINCE;
    match syscalls::confine(sandbox, scoped) {
        Ok(()) => enforced.seccomp = true,
        Err(error) if sandbox.mode == SandboxMode::BestEffort => {
            enforced.missing.push(format!("system calls are not filtered: {error}"));
        }
        Err(error) => return Err(format!("system calls cannot be filtered: {error}")),
    }
    sandbox.limits.apply().map_err(|error| format!("limits cannot be set: {error}"))?;
    Ok(enforced)
}
