//! Reads from git within bounds of time and size.

use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use jct_untrusted::git::{environment, options};

/// Of a longer record the rest is dropped, in bytes.
const MAX_RECORD_BYTES: usize = 16 * 1024;

/// A checkout, and how long each question to git may take.
#[derive(Clone, Copy, Debug)]
pub struct Git<'a> {
    pub dir: &'a Path,
    /// After this a question ends with what it has.
    pub time_limit: Duration,
}

/// Whether all records were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// To the last one.
    All,
    /// Until the time limit, or until the reader had enough.
    Part,
}

impl Git<'_> {
    /// Runs `git <args>`, and hands on each record of its output, which end in `separator`.
    ///
    /// # Errors
    /// When git can't be run, or ends with an error.
    pub fn records(
        self,
        args: &[&str],
        separator: u8,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> anyhow::Result<Seen> {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/nonexistent".into());
        let mut child = Command::new("git")
            .args(options(self.dir))
            .args(args)
            .env_clear()
            .envs(environment(self.dir, Path::new(&home), None))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start git")?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("git has no output"))?;
        let child = Mutex::new(child);
        let kill = || child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        let (done, watch) = mpsc::channel::<()>();
        let (read, over_time) = std::thread::scope(|scope| {
            let watcher = scope.spawn(move || {
                let over_time = watch.recv_timeout(self.time_limit) == Err(mpsc::RecvTimeoutError::Timeout);
                if over_time { kill().is_ok() } else { false }
            });
            let read = split(BufReader::with_capacity(128 * 1024, stdout), separator, &mut each);
            drop(done);
            (read, watcher.join().unwrap_or(false))
        });
        let mut child = child.into_inner().unwrap_or_else(PoisonError::into_inner);
        let in_part = over_time || !matches!(read, Ok(ControlFlow::Continue(())));
        if in_part {
            let _ = child.kill();
        }
        let status = child.wait()?;
        let _ = read.context("cannot read from git")?;
        if in_part {
            return Ok(Seen::Part);
        }
        if !status.success() {
            bail!("git {} failed: {status}", args.first().unwrap_or(&""));
        }
        Ok(Seen::All)
    }
}

/// Hands on what lies between separators, cut to [`MAX_RECORD_BYTES`].
fn split(
    mut input: impl Read,
    separator: u8,
    each: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> std::io::Result<ControlFlow<()>> {
    let mut buffer = vec![0; 64 * 1024];
    let mut record = Vec::new();
    loop {
        let read = input.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        for part in bytes.split_inclusive(|byte| *byte == separator) {
            let (text, ended) = match part.split_last() {
                Some((last, text)) if *last == separator => (text, true),
                _ => (part, false),
            };
            let room = MAX_RECORD_BYTES.saturating_sub(record.len()).min(text.len());
            record.extend(text.iter().take(room));
            if ended {
                if each(&record).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                record.clear();
            }
        }
    }
    Ok(if record.is_empty() { ControlFlow::Continue(()) } else { each(&record) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_bounded_and_complete() {
        let long = vec![b'x'; MAX_RECORD_BYTES * 5];
        let input = [b"a\0\0".as_slice(), &long, b"\0last"].concat();
        let mut seen = Vec::new();
        let mut each = |record: &[u8]| {
            seen.push(record.len());
            ControlFlow::Continue(())
        };
        assert!(split(input.as_slice(), 0, &mut each).unwrap().is_continue());
        assert_eq!(seen, [1, 0, MAX_RECORD_BYTES, 4]);
    }
}
