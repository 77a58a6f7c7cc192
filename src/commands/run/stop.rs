//! What tells a run to end.

use std::fs;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::CANCELLED;
use super::report::say;

/// Cancelled at SIGINT, SIGTERM and SIGHUP, unless whoever started us has them ignored, as nohup does. The second one ends us
/// at once; what is then left open, the next run closes. A terminal that goes says so twice: that does not count.
///
/// # Errors
/// Where signals cannot be waited for.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for by in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        if is_ignored(by) {
            continue;
        }
        let mut signals = signal(SignalKind::from_raw(by as i32)).with_context(|| format!("cannot wait for {by}"))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if !stop.is_cancelled() {
                    say("cancelling; the trace is being sealed (once more to leave it as it is)");
                    stop.cancel();
                } else if by != Signal::SIGHUP {
                    std::process::exit(CANCELLED.into());
                }
            }
        });
    }
    Ok(stop)
}

/// See proc_pid_status(5).
fn is_ignored(by: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored & (1 << (by as i32 - 1)) != 0
}
