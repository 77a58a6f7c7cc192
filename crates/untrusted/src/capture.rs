//! What the executor prints, into a log of bounded size, without secrets, and what it marks as its steps.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use crate::redact::{Redactor, Rules};

/// The line that ends a log which reached its limit.
const TRUNCATED: &[u8] = "… truncated\n".as_bytes();
/// A line of standard output that begins so tells of a step.
pub const STEP: &str = "::step::";
/// Of a step's text more is not taken, in bytes.
const MAX_STEP_BYTES: usize = 2000;
/// More steps of a stream are counted, not told: they can be printed without end, and the volume of the traces is everybody's.
const MAX_STEPS: usize = 1000;
/// So much of what is past the limit is kept in mind, for the last line, in bytes.
const TAIL_BYTES: usize = 16 * 1024;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// What was printed, in bytes.
    pub printed_bytes: u64,
    /// Whether some of it is not in the log.
    pub truncated: bool,
    /// The last line that is not blank, redacted, at most 1000 bytes of it.
    pub last_line: String,
    /// How many steps there were beyond those that are told.
    pub steps_left_out: u64,
}

/// A stream on its way into its log.
#[derive(Debug)]
pub struct Capture {
    log: File,
    room: u64,
    rules: Arc<Rules>,
    redactor: Redactor,
    captured: Captured,
    /// Past the limit: what is not written, as far as it may matter.
    tail: VecDeque<u8>,
    /// The beginning of a line that is not complete yet, past the limit.
    line: Vec<u8>,
    /// How many steps may still be told.
    steps_left: usize,
}

/// What a piece of a stream gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedPiece {
    /// What was written to the log: redacted, whole lines.
    pub written: Vec<u8>,
    /// The texts of steps, redacted.
    pub steps: Vec<String>,
}

impl Capture {
    /// A stream into `log`, of which at most `max_bytes` are written.
    pub fn new(log: File, max_bytes: u64, rules: Arc<Rules>) -> Self {
        Self {
            log,
            room: max_bytes,
            redactor: Redactor::new(rules.clone()),
            rules,
            captured: Captured::default(),
            tail: VecDeque::new(),
            line: Vec::new(),
            steps_left: MAX_STEPS,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<CapturedPiece> {
        self.captured.printed_bytes += bytes.len() as u64;
        if self.captured.truncated {
            return Ok(self.pass_by(bytes));
        }
        let mut redacted = Vec::with_capacity(bytes.len());
        self.redactor.push(bytes, &mut redacted);
        self.write(redacted)
    }

    /// Takes the end.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn finish(mut self) -> io::Result<(CapturedPiece, Captured)> {
        let gained = if self.captured.truncated {
            let tail: Vec<u8> = self.tail.iter().copied().collect();
            // What it begins with may be the end of a secret: the first line is not looked at.
            let whole = tail.iter().position(|byte| *byte == b'\n').and_then(|end| tail.get(end + 1..));
            let tail = self.rules.redact(&String::from_utf8_lossy(whole.unwrap_or_default()));
            self.remember_last_line(tail.as_bytes());
            CapturedPiece::default()
        } else {
            let mut redacted = Vec::new();
            self.redactor.finish(&mut redacted);
            self.write(redacted)?
        };
        self.log.sync_all()?;
        Ok((gained, self.captured))
    }

    fn write(&mut self, mut bytes: Vec<u8>) -> io::Result<CapturedPiece> {
        self.remember_last_line(&bytes);
        let steps = self.within_limit(steps(&bytes));
        if bytes.len() as u64 > self.room {
            // Whole lines only: what a secret looks like when cut is not known.
            let room = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
            let fitting = bytes.get(..room).unwrap_or_default();
            let end = fitting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.truncate(end);
            bytes.extend(TRUNCATED);
            self.captured.truncated = true;
        } else {
            self.room -= bytes.len() as u64;
        }
        self.log.write_all(&bytes)?;
        Ok(CapturedPiece { written: bytes, steps })
    }

    /// Past the limit only steps count, and the last line.
    fn pass_by(&mut self, bytes: &[u8]) -> CapturedPiece {
        let mut gained = CapturedPiece::default();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = (STEP.len() + MAX_STEP_BYTES).saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                if self.line.starts_with(STEP.as_bytes()) && self.steps_left == 0 {
                    self.captured.steps_left_out += 1;
                } else if self.line.starts_with(STEP.as_bytes()) {
                    let line = self.rules.redact(&String::from_utf8_lossy(&self.line));
                    gained.steps.extend(self.within_limit(steps(line.as_bytes())));
                }
                self.line.clear();
            }
        }
        let kept = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
        self.tail.extend(kept);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        gained
    }

    fn within_limit(&mut self, mut steps: Vec<String>) -> Vec<String> {
        let kept = steps.len().min(self.steps_left);
        self.captured.steps_left_out += (steps.len() - kept) as u64;
        self.steps_left -= kept;
        steps.truncate(kept);
        steps
    }

    fn remember_last_line(&mut self, bytes: &[u8]) {
        let mut lines = bytes.rsplit(|byte| matches!(byte, b'\n' | b'\r'));
        if let Some(line) = lines.find(|line| !line.trim_ascii().is_empty()) {
            let line = line.trim_ascii();
            self.captured.last_line = String::from_utf8_lossy(line.get(..1000).unwrap_or(line)).into_owned();
        }
    }
}

/// Copies `stream` into `log` until its end or until `stop`: see [`Capture`].
///
/// # Errors
/// When the log can't be written.
pub async fn capture(
    stream: Option<impl AsyncRead + Unpin>,
    log: File,
    max_bytes: u64,
    stop: CancellationToken,
) -> io::Result<Captured> {
    let mut capture = Capture::new(log, max_bytes, Rules::well_known());
    let mut buffer = vec![0; 64 * 1024];
    if let Some(mut stream) = stream {
        loop {
            let read = tokio::select! {
                biased;
                read = stream.read(&mut buffer) => read.unwrap_or(0),
                () = stop.cancelled() => 0,
            };
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            capture.push(bytes)?;
        }
    }
    capture.finish().map(|(_, captured)| captured)
}

/// The texts of the steps in whole lines.
fn steps(lines: &[u8]) -> Vec<String> {
    let lines = lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(STEP.as_bytes()));
    let text = |line: &[u8]| String::from_utf8_lossy(line.get(..MAX_STEP_BYTES).unwrap_or(line)).trim().to_owned();
    lines.map(text).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pieces: &[&[u8]], max_bytes: u64) -> (Captured, String, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut capture = Capture::new(File::create(&path).unwrap(), max_bytes, Arc::default());
        let mut steps = Vec::new();
        let mut shown = Vec::new();
        for piece in pieces {
            let gained = capture.push(piece).unwrap();
            steps.extend(gained.steps);
            shown.extend(gained.written);
        }
        let (gained, captured) = capture.finish().unwrap();
        steps.extend(gained.steps);
        shown.extend(gained.written);
        let log = std::fs::read(path).unwrap();
        assert_eq!(shown, log);
        (captured, String::from_utf8(log).unwrap(), steps)
    }

    #[test]
    fn all_of_it_within_the_limit() {
        let (captured, log, _) = captured(&[b"one\ntoken=abc", b"defgh\nlast"], 100);
        assert_eq!(log, "one\ntoken=[redacted]\nlast");
        assert_eq!(captured, Captured { printed_bytes: 23, last_line: "last".into(), ..Captured::default() });
    }

    #[test]
    fn the_limit_is_kept_and_the_rest_passed_by() {
        let text = "0123456789\n".repeat(100_000);
        let end = b"::step::last\npassword=CanaryCanary\n".as_slice();
        let (captured, log, steps) = captured(&[text.as_bytes(), b"more\n", end], 25);
        assert_eq!(log, "0123456789\n0123456789\n… truncated\n");
        assert_eq!(captured.printed_bytes, 1_100_000 + 5 + 35);
        assert!(captured.truncated);
        assert_eq!(captured.last_line, "password=[redacted]");
        assert_eq!(steps, ["last"]);
    }

    #[test]
    fn steps_without_end_are_counted() {
        let many = "::step::x\n".repeat(MAX_STEPS - 1);
        let more = "::step::y\n".repeat(3);
        let (captured, log, steps) = captured(&[many.as_bytes(), more.as_bytes()], 1 << 20);
        assert_eq!((steps.len(), captured.steps_left_out), (MAX_STEPS, 2));
        assert_eq!(log.len(), many.len() + more.len(), "the log has them all");
        let (captured, _, steps) = self::captured(&[many.as_bytes(), more.as_bytes()], 10);
        assert_eq!((steps.len(), captured.steps_left_out), (MAX_STEPS, 2));
    }

    #[test]
    fn steps_are_found_across_pieces_and_redacted() {
        let pieces: [&[u8]; 3] =
            [b"::st", b"ep:: reading token=abcdefgh \nnot ::step::this\n::step::\n", b"::step::done"];
        let (_, log, steps) = captured(&pieces, 1000);
        assert_eq!(steps, ["reading token=[redacted]", "done"]);
        assert!(log.starts_with("::step:: reading"));
    }
}
