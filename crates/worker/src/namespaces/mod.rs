//! A machine of its own for an executor that runs on somebody's: namespaces of users, mounts, processes, IPC, network, cgroups
//! and host name. Below [`super::sandbox`], which stays as it is: what one layer lets through, the other does not.
//!
//! A pod has these from its runtime, and may not make any; `jct run` asks for them. The processes, each started by the one before:
//!
//! | | namespaces | does |
//! |---|---|---|
//! | supervisor | the user's | what it does in a pod; sees all processes below |
//! | [`enter`] | new, but for processes | maps its user to itself, waits, ends as the program did |
//! | [`init`] | all new: process 1 | builds the file system, drops every privilege, buries the dead |
//! | `jct worker launch` | the same | Landlock, seccomp, limits; becomes the program |
//!
//! When process 1 ends, for whatever reason, the kernel ends all the others with it: nothing outlives the executor. It ends with
//! its parent, and that one with the supervisor.
//!
//! Each is our own binary, run anew: nothing is forked that goes on in a copy of somebody's memory. Who is not root keeps the
//! one capability over the new mounts through that, as an ambient one, until the file system is built; root needs no user
//! namespace, and becomes [`NOBODY`].

mod root;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid, getpid};
use rustix::thread::{CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities};
use serde::{Deserialize, Serialize};

use super::LaunchArgs;
use super::launch::{Launch, UNCONFINED};
use super::privileges::{self, NOBODY};
use super::sandbox::Sandbox;

/// The program that the namespaces are for, and how it is confined in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// What of the file system is there, and the layer above this one.
    pub sandbox: Sandbox,
    /// What is there as /tmp.
    pub tmp: PathBuf,
    /// What belongs to the executor, whoever it runs as.
    pub own: Vec<PathBuf>,
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    Exited(u8),
    Signalled(i32),
}

/// What process 1 tells the one that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    /// It ends with its parent from now on.
    Begun,
    Ended(End),
}

/// The first stage: makes the namespaces, starts [`init`] in them, waits, and ends as the program did.
pub fn enter(enclosure: Enclosure, args: &LaunchArgs) -> ExitCode {
    match try_enter(enclosure, args) {
        Ok(End::Exited(code)) => ExitCode::from(code),
        Ok(End::Signalled(signal)) => end_by(signal),
        Err(error) => {
            eprintln!("jct worker launch: {error}");
            ExitCode::from(UNCONFINED)
        }
    }
}

fn try_enter(enclosure: Enclosure, args: &LaunchArgs) -> Result<End, String> {
    let own = own_program()?;
    let (user, group) = (geteuid(), getegid());
    let others = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    if user.is_root() {
        unshare(others).map_err(|error| refused(error, "root"))?;
        for path in enclosure.own.iter().filter(|path| path.exists()) {
            privileges::give(path, NOBODY).map_err(|error| {
                format!("{} cannot be given to user {NOBODY}, as which it would run: {error}", path.display())
            })?;
        }
    } else {
        unshare(others | CloneFlags::CLONE_NEWUSER).map_err(|error| refused(error, "users"))?;
        fs::write("/proc/self/setgroups", "deny")
            .and_then(|()| fs::write("/proc/self/uid_map", format!("{user} {user} 1")))
            .and_then(|()| fs::write("/proc/self/gid_map", format!("{group} {group} 1")))
            .map_err(|error| {
                format!("this machine gives no user namespace: the user cannot be mapped: {error}{}", hint())
            })?;
        keep_over_exec(CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP)
            .map_err(|error| format!("this machine gives no rights in a user namespace: {error}{}", hint()))?;
    }
    // The group is told to end, and this process of it waits for the others.
    SigSet::all().thread_block().map_err(|error| format!("signals cannot be blocked: {error}"))?;
    let (mut words, to_say) = UnixStream::pair().map_err(|error| format!("no pair of sockets: {error}"))?;
    let asks_models = has_channel(&enclosure.sandbox, args);
    let mut first = Launch::Inside(Box::new(enclosure))
        .start(&own, args)
        .stdin(OwnedFd::from(to_say))
        .spawn()
        .map_err(|error| format!("the first process cannot be started: {error}"))?;
    if asks_models {
        jct_socket_proxy::pass_channel(io::stdin(), &words)
            .map_err(|error| format!("the way to the models cannot be passed on: {error}"))?;
    }
    let mut said = String::new();
    let heard = words.read_to_string(&mut said);
    let status = first.wait().and_then(|status| heard.map(|_| status));
    let status = status.map_err(|error| format!("the first process cannot be waited for: {error}"))?;
    Ok(last_word(&said).unwrap_or_else(|| as_it_ended(status)))
}

/// Whether standard input is what the program's supervisor learns of its sockets by: see `launch`.
fn has_channel(sandbox: &Sandbox, args: &LaunchArgs) -> bool {
    sandbox.model && !args.command.is_empty()
}

fn last_word(said: &str) -> Option<End> {
    said.lines().find_map(|line| match serde_json::from_str(line) {
        Ok(Word::Ended(end)) => Some(end),
        Ok(Word::Begun) | Err(_) => None,
    })
}

fn as_it_ended(status: ExitStatus) -> End {
    match status.signal() {
        Some(signal) => End::Signalled(signal),
        None => End::Exited(status.code().and_then(|code| code.try_into().ok()).unwrap_or(UNCONFINED)),
    }
}

/// Ends this process by the signal that ended the program, so that whoever waits sees the same.
fn end_by(signal: i32) -> ExitCode {
    // It is no crash: neither a core dump nor the machine's crash handler is to come of it.
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = SigSet::all().thread_unblock();
    if let Ok(signal) = Signal::try_from(signal) {
        let _ = kill(getpid(), signal);
    }
    // It is one that we mind not, as SIGPIPE: then as shells have it.
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

/// Capabilities in the new user namespace that our own binary has when it is run anew, which who is not root there would lose.
fn keep_over_exec(kept: CapabilitySet) -> rustix::io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.inheritable = kept;
    set_capabilities(None, sets)?;
    kept.iter().try_for_each(|capability| configure_capability_in_ambient_set(capability, true))
}

/// The second stage, process 1 of the namespaces.
pub fn init(enclosure: Enclosure, args: &LaunchArgs) -> ExitCode {
    match try_init(enclosure, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jct worker launch: {error}");
            ExitCode::from(UNCONFINED)
        }
    }
}

fn try_init(enclosure: Enclosure, args: &LaunchArgs) -> Result<(), String> {
    let parent = io::stdin().as_fd().try_clone_to_owned().map_err(|error| format!("no standard input: {error}"))?;
    let channel = match has_channel(&enclosure.sandbox, args) {
        true => jct_socket_proxy::take_channel(&parent).map_err(|error| format!("no way to the models: {error}"))?,
        false => None,
    };
    let mut parent = File::from(parent);
    let mut say = |word: Word| {
        let line = serde_json::to_string(&word).unwrap_or_default();
        writeln!(parent, "{line}").map_err(|error| format!("whoever started this is gone: {error}"))
    };
    SigSet::empty().thread_set_mask().map_err(|error| format!("signals cannot be taken: {error}"))?;
    // As in a pod. What it makes lies in a folder that is its user's alone.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let own = own_program()?;
    root::enter(&enclosure)?;
    let was_root = geteuid().is_root();
    nix::sys::prctl::set_no_new_privs().map_err(|error| format!("privileges cannot be given up: {error}"))?;
    if was_root {
        privileges::drop_bounding_set()?;
        privileges::become_nobody()?;
    }
    privileges::drop_capabilities()?;
    // Only now: the kernel forgets it when the user changes. And whoever ended before it is not noticed but by this word.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("cannot end with the parent: {error}"))?;
    say(Word::Begun)?;
    // In here it has the number of the one process that must not be disturbed.
    let sandbox = Sandbox { supervisor: vec![getpid().as_raw()], ..enclosure.sandbox };
    let input = channel.map_or_else(Stdio::null, Stdio::from);
    let program = Launch::Confined(sandbox).start(&own, args).stdin(input).spawn();
    let program = program.map_err(|error| format!("the program cannot be started: {error}"))?;
    let end = reap_until(i32::try_from(program.id()).map_or(getpid(), Pid::from_raw))?;
    say(Word::Ended(end))
}

/// Buries whoever dies, until it is `program`.
fn reap_until(program: Pid) -> Result<End, String> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(id, code)) if id == program => {
                return Ok(End::Exited(u8::try_from(code & 0xff).unwrap_or(UNCONFINED)));
            }
            Ok(WaitStatus::Signaled(id, signal, _)) if id == program => return Ok(End::Signalled(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("the program cannot be waited for: {error}")),
        }
    }
}

fn own_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("its own program cannot be found: {error}"))
}

fn refused(error: Errno, whom: &str) -> String {
    format!("this machine gives {whom} no namespaces: {error}{}", hint())
}

/// What most likely stands in the way, and what helps.
fn hint() -> &'static str {
    let is = |path: &str, value: &str| {
        fs::read_to_string(Path::new("/proc/sys").join(path)).is_ok_and(|text| text.trim() == value)
    };
    if is("user/max_user_namespaces", "0") {
        " (sysctl user.max_user_namespaces is 0)"
    } else if is("kernel/unprivileged_userns_clone", "0") {
        " (sysctl kernel.unprivileged_userns_clone is 0)"
    } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        " (sysctl kernel.apparmor_restrict_unprivileged_userns is 1: an AppArmor profile for jct with `userns,` gives them to it alone)"
    } else {
        " (within a container it is the container's runtime that refuses)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_by_the_last_word_or_by_how_the_first_process_ended() {
        assert_eq!(last_word("\"Begun\"\n{\"Ended\":{\"Exited\":3}}\n"), Some(End::Exited(3)));
        assert_eq!(last_word("\"Begun\"\n{\"Ended\":{\"Signalled\":9}}\n"), Some(End::Signalled(9)));
        assert_eq!((last_word("\"Begun\"\n"), last_word("")), (None, None));
        assert_eq!(as_it_ended(ExitStatus::from_raw(125 << 8)), End::Exited(125));
        assert_eq!(as_it_ended(ExitStatus::from_raw(9)), End::Signalled(9));
    }
}
