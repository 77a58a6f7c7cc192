//! Child processes in groups of their own, so that all of a group can be ended at once.

use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The highest value of `oom_score_adj`: the kernel takes this process first.
const FIRST_VICTIM: &str = "1000";

/// A child that leads a process group.
#[derive(Debug)]
pub struct Group {
    /// Its pipes and its exit.
    pub child: Child,
    id: Option<Pid>,
}

impl Group {
    /// Starts `command` without input, with piped outputs, as the leader of a new group that the kernel ends first when
    /// memory runs out.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        if let Some(id) = id {
            // Its children inherit this. A process that has ended already needs none.
            let _ = std::fs::write(format!("/proc/{id}/oom_score_adj"), FIRST_VICTIM);
        }
        Ok(Self { child, id })
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

/// A token that is cancelled when this process gets SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers can't be installed.
pub fn on_termination() -> std::io::Result<CancellationToken> {
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

/// Makes this process the parent of every process that its descendants leave behind.
pub fn adopt_orphans() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "orphans of the executor will not be found");
    }
}

/// Ends and reaps every child of this process, also those adopted, for at most two seconds.
///
/// Only for a process that has no child which it still wants.
pub async fn end_all_children() {
    for _ in 0..100 {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tracing::warn!("some processes of the executor would not end");
}

fn children() -> Vec<Pid> {
    let own = nix::unistd::getpid();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| parent(&stat) == Some(own)))
        .map(Pid::from_raw)
        .filter(|id| waitpid(*id, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)) != Err(Errno::ECHILD))
        .collect()
}

/// The parent's id in `/proc/<id>/stat`; the name before it may hold anything, also `)`.
fn parent(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) b (c)) S 7 12 12 0"), Some(Pid::from_raw(7)));
        assert_eq!(parent("nonsense"), None);
    }
}
