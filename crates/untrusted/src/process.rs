//! Child processes in groups of their own, and an end for all that they leave behind.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid, getppid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The highest value of `oom_score_adj`: the kernel takes this process first.
const FIRST_VICTIM: &str = "1000";

/// The first process of a container.
const FIRST: Pid = Pid::from_raw(1);
/// So many of the dead, which somebody may still reap, are as bad as one who lives.
const DEAD_FOR_ONE: u64 = 4;

/// A child that leads a process group.
#[derive(Debug)]
pub struct Group {
    /// Its pipes and its exit.
    pub child: Child,
    id: Option<Pid>,
}

impl Group {
    /// As [`Group::spawn_with`], without input.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Self::spawn_with(command, Stdio::null())
    }

    /// Starts `command` with this input, of which nothing is kept here, with piped outputs, as the leader of a new group that the kernel ends first when
    /// memory runs out.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn_with(command: &mut Command, input: Stdio) -> io::Result<Self> {
        let child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        command.stdin(Stdio::null());
        let child = child?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        if let Some(id) = id {
            // Its children inherit this. A process that has ended already needs none.
            let _ = std::fs::write(format!("/proc/{id}/oom_score_adj"), FIRST_VICTIM);
        }
        Ok(Self { child, id })
    }

    /// Asks the group to end, and gives its leader `grace` for that.
    pub async fn ask_to_end(&mut self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        let _ = tokio::time::timeout(grace, self.child.wait()).await;
    }

    /// Sends `signal` to every process of the group. Those that have ended don't mind.
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            let _ = killpg(id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Cancels `token` after a while.
pub fn cancel_after(token: CancellationToken, patience: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(patience).await;
        token.cancel();
    });
}

/// A token that is cancelled when this process gets SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers can't be installed.
pub fn on_termination() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}

/// Has this process told to end when `parent` ends, which started it; at once if that has ended already. In a session of its
/// own: what people type at the terminal is for the parent, which knows what it means, and no program that is started here has
/// that terminal to write to, to read from or to set.
///
/// Called once signals are waited for: those of the terminal, which the parent has blocked until then, are heard now.
pub fn end_with(parent: Option<i32>) {
    let Some(parent) = parent else { return };
    if let Err(error) = nix::unistd::setsid() {
        tracing::warn!(%error, "this step keeps the terminal of its parent");
    }
    // A program that is started has what it is used to, whatever nohup or a shell in the background had us ignore: a signal
    // that is waited for is no longer ignored by those that are started.
    for ignored in [SignalKind::hangup(), SignalKind::quit()] {
        if let Err(error) = signal(ignored) {
            tracing::warn!(%error, "a signal is ignored by what is started here");
        }
    }
    let _ = SigSet::all().thread_unblock();
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM) {
        tracing::warn!(%error, "this step goes on when its parent ends");
    }
    if getppid() != Pid::from_raw(parent) {
        let _ = kill(getpid(), Signal::SIGTERM);
    }
}

/// Makes this process the parent of every process that its descendants leave behind.
pub fn adopt_orphans() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "orphans of the executor will not be found");
    }
}

/// Makes this process a closed book to others of its user: its memory and environment are for the kernel alone.
pub fn close_ourselves() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "processes of the same user can look into the supervisor");
    }
}

/// Which of this process's dead children are reaped by who looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// None: for each there may be somebody in this process who waits for it.
    Nothing,
    /// All but the one that somebody waits for. Only for a process that has no other child of its own.
    AllBut(Option<Pid>),
}

impl Reap {
    fn includes(self, id: Pid) -> bool {
        match self {
            Self::Nothing => false,
            Self::AllBut(ours) => Some(id) != ours,
        }
    }
}

/// What descends from this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descendants {
    /// Children first.
    pub processes: Vec<Pid>,
    /// Of all of them together.
    pub threads: u64,
}

impl Descendants {
    /// Those that there are now, without those that are reaped.
    ///
    /// # Errors
    /// When the process table can't be read, such as for want of a descriptor: nobody knows then what there is.
    pub fn now(reap: Reap) -> io::Result<Self> {
        let own = getpid();
        let mut children: HashMap<Pid, Vec<Stat>> = HashMap::new();
        for stat in all_but(own)? {
            let stat = stat?;
            children.entry(stat.parent).or_default().push(stat);
        }
        let mut found = vec![own];
        let mut next = 0;
        let mut threads = 0;
        while let Some(parent) = found.get(next).copied() {
            for stat in children.remove(&parent).unwrap_or_default() {
                if stat.reap_if_ours(own, reap) {
                    continue;
                }
                found.push(stat.id);
                threads += stat.threads;
            }
            next += 1;
        }
        found.remove(0);
        Ok(Self { processes: found, threads })
    }

    /// Whether their threads are more than `limit` now, or the dead among them far more. As [`Self::now`], but does not look at
    /// all of a bomb: it forks faster than its processes can be listed, and the list would have no end.
    ///
    /// # Errors
    /// As [`Self::now`].
    pub fn are_more_than(limit: u64, reap: Reap) -> io::Result<bool> {
        let own = getpid();
        if own != FIRST {
            // Here are others besides.
            return Ok(Self::now(reap)?.threads > limit);
        }
        let (mut living, mut dead) = (0, 0);
        for stat in all_but(own)? {
            let stat = stat?;
            if stat.is_dead {
                dead += u64::from(!stat.reap_if_ours(own, reap));
            } else {
                living += stat.threads;
            }
            if living > limit || dead > limit * DEAD_FOR_ONE {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The process table without `own`.
fn all_but(own: Pid) -> io::Result<impl Iterator<Item = io::Result<Stat>>> {
    let entries = std::fs::read_dir("/proc")?;
    let stats = entries.filter_map(|entry| entry.map(number).and_then(Stat::read).transpose());
    Ok(stats.filter(move |stat| !stat.as_ref().is_ok_and(|stat| stat.id == own)))
}

/// The threads of this process.
///
/// # Errors
/// When they can't be listed.
pub fn own_threads() -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc/self/task")?;
    entries.filter_map(|entry| entry.map(number).transpose()).collect()
}

/// The id that an entry of the process table has for its name.
fn number(entry: std::fs::DirEntry) -> Option<i32> {
    entry.file_name().to_str()?.parse().ok()
}

/// Strikes all that descends from this process at once; `ours`, a child that somebody waits for, is not reaped. Only for a
/// process that has no other child of its own.
///
/// As the first process of a container it asks the kernel to do it: no bomb forks faster than that. Elsewhere all are stopped
/// before they are killed: what is killed makes room for others to fork, what is stopped does not.
pub fn strike_all_descendants(ours: Option<Pid>) {
    if getpid() == FIRST {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        return;
    }
    let mut stopped = HashSet::new();
    for _ in 0..1000 {
        let Ok(Descendants { processes: found, .. }) = Descendants::now(Reap::AllBut(ours)) else {
            // What is there will be there in a moment, too: to look again is all that can be done.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let new: Vec<Pid> = found.into_iter().filter(|id| stopped.insert(*id)).collect();
        if new.is_empty() {
            break;
        }
        for id in new {
            let _ = kill(id, Signal::SIGSTOP);
        }
    }
    for id in stopped {
        let _ = kill(id, Signal::SIGKILL);
    }
}

/// Ends and reaps all that descends from this process, for at most two seconds; whether nothing is left, for certain.
///
/// Only for a process that has no child which it still wants.
pub async fn end_all_descendants() -> bool {
    for _ in 0..100 {
        strike_all_descendants(None);
        if let Ok(Descendants { processes: left, .. }) = Descendants::now(Reap::AllBut(None)) {
            if left.is_empty() {
                return true;
            }
            for id in left {
                while matches!(waitpid(id, Some(WaitPidFlag::WNOHANG)), Err(Errno::EINTR)) {}
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::warn!("some processes of the executor would not end");
    false
}

/// A line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    id: Pid,
    parent: Pid,
    is_dead: bool,
    threads: u64,
}

impl Stat {
    /// Reaps it if it is dead, a child of `own`, and one of those to be reaped: whether nothing is to be seen of it.
    fn reap_if_ours(&self, own: Pid, reap: Reap) -> bool {
        let is_for_us = self.parent == own && self.is_dead && reap.includes(self.id);
        if is_for_us {
            let _ = waitpid(self.id, Some(WaitPidFlag::WNOHANG));
        }
        is_for_us
    }

    /// None if there is no such process any more.
    fn read(id: Option<i32>) -> io::Result<Option<Self>> {
        let Some(id) = id else { return Ok(None) };
        match std::fs::read(format!("/proc/{id}/stat")) {
            Ok(line) => {
                let stat = Self::parse(&String::from_utf8_lossy(&line));
                stat.map(Some).ok_or_else(|| io::Error::other(format!("/proc/{id}/stat has another form")))
            }
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See proc_pid_stat(5); the name in it may hold anything, also `)`.
    fn parse(line: &str) -> Option<Self> {
        let (start, rest) = line.rsplit_once(')')?;
        let id = start.split(' ').next()?.parse().ok().map(Pid::from_raw)?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok().map(Pid::from_raw)?;
        let threads = fields.nth(15)?.parse().ok()?;
        // A process lives on when its first thread has ended, and looks dead.
        Some(Self { id, parent, is_dead: matches!(state, "Z" | "X") && threads <= 1, threads })
    }
}

/// The kernel's PF_EXITING, in the flags of a thread.
const EXITING: u32 = 0x4;

/// Whether a thread, by its folder in the process table, has not ended and is not about to.
///
/// One that exits does nothing more that could count. It is no longer its user's then, so that it looks as if it hid what it
/// has open, and with gigabytes of memory to give back it takes a second or more.
///
/// # Errors
/// When that can't be seen.
pub fn is_running(thread: &Path) -> io::Result<bool> {
    match std::fs::read(thread.join("stat")) {
        Ok(line) => Ok(runs(&String::from_utf8_lossy(&line))),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// See proc_pid_stat(5): state is the first field after the name, flags is the seventh.
fn runs(stat: &str) -> bool {
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next();
    let is_exiting = fields.nth(5).and_then(|flags| flags.parse().ok()).is_some_and(|flags: u32| flags & EXITING != 0);
    !is_exiting && !matches!(state, None | Some("Z" | "X"))
}

/// Whether a process, or what it has open, is not there any more.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
