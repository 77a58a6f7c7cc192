//! What the executor prints, into a log of bounded size, without secrets.

use std::fs::File;
use std::io::{self, Write};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use crate::worker::redact::Redactor;

/// The line that ends a log which reached its limit.
const TRUNCATED: &[u8] = "… truncated\n".as_bytes();

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// What was printed, in bytes.
    pub printed_bytes: u64,
    /// Whether some of it is not in the log.
    pub truncated: bool,
    /// The last line that is not blank, redacted, at most 1000 bytes of it.
    pub last_line: String,
}

/// Copies `stream` into `log` until its end or until `stop`. Past `max_bytes` it goes on reading, so that the writer
/// never blocks.
///
/// # Errors
/// When the log can't be written.
pub async fn capture(
    stream: Option<impl AsyncRead + Unpin>,
    log: File,
    max_bytes: u64,
    stop: CancellationToken,
) -> io::Result<Captured> {
    let mut log = Log { file: log, room: max_bytes, captured: Captured::default() };
    let Some(mut stream) = stream else { return Ok(log.captured) };
    let mut redactor = Redactor::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut redacted = Vec::new();
    loop {
        let read = tokio::select! {
            biased;
            read = stream.read(&mut buffer) => read.unwrap_or(0),
            () = stop.cancelled() => 0,
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        log.captured.printed_bytes += bytes.len() as u64;
        redactor.push(bytes, &mut redacted);
        log.write(&redacted)?;
        redacted.clear();
    }
    redactor.finish(&mut redacted);
    log.write(&redacted)?;
    log.file.sync_all()?;
    Ok(log.captured)
}

struct Log {
    file: File,
    room: u64,
    captured: Captured,
}

impl Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.remember_last_line(bytes);
        if self.captured.truncated {
            return Ok(());
        }
        if bytes.len() as u64 <= self.room {
            self.room -= bytes.len() as u64;
            return self.file.write_all(bytes);
        }
        // Whole lines only: what a secret looks like when cut is not known.
        let room = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let fitting = bytes.get(..room).unwrap_or_default();
        let end = fitting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.file.write_all(fitting.get(..end).unwrap_or_default())?;
        self.captured.truncated = true;
        self.file.write_all(TRUNCATED)
    }

    fn remember_last_line(&mut self, bytes: &[u8]) {
        let mut lines = bytes.rsplit(|byte| matches!(byte, b'\n' | b'\r'));
        if let Some(line) = lines.find(|line| !line.trim_ascii().is_empty()) {
            let line = line.trim_ascii();
            self.captured.last_line = String::from_utf8_lossy(line.get(..1000).unwrap_or(line)).into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn captured(text: &[u8], max_bytes: u64) -> (Captured, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = File::create(&path).unwrap();
        let captured = capture(Some(text), log, max_bytes, CancellationToken::new()).await.unwrap();
        (captured, std::fs::read_to_string(path).unwrap())
    }

    #[tokio::test]
    async fn all_of_it_within_the_limit() {
        let (captured, log) = captured(b"one\ntoken=abcdefgh\nlast", 100).await;
        assert_eq!(log, "one\ntoken=[redacted]\nlast");
        assert_eq!(captured, Captured { printed_bytes: 23, truncated: false, last_line: "last".into() });
    }

    #[tokio::test]
    async fn the_limit_is_kept_and_the_rest_drained() {
        let text = "0123456789\n".repeat(100_000);
        let (captured, log) = captured(text.as_bytes(), 25).await;
        assert_eq!(log, "0123456789\n0123456789\n… truncated\n");
        assert_eq!(captured.printed_bytes, 1_100_000);
        assert!(captured.truncated);
    }
}
