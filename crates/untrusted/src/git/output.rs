//! What a running git prints, and what it complains of.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Failure;
use crate::names::shorten;
use crate::process::Group;
use crate::redact::{REDACTED, redact};

/// How much of git's complaint is told, in characters.
const MAX_COMPLAINT_CHARS: usize = 500;

/// Hears a git out: its output goes to `sink`. Gives whether it succeeded, and the end of what it complained of.
///
/// # Errors
/// What `sink` says, and when the output can't be read.
pub async fn forward_output(
    group: &mut Group,
    sink: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(bool, Vec<u8>), Failure> {
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    // When the sink has had enough, git's complaints are not waited for.
    let ((), complaint) = tokio::try_join!(forward(stdout, sink), async { Ok(collect(stderr).await) })?;
    let status = group.child.wait().await.map_err(|error| Failure::worker("wait for git", &error))?;
    Ok((status.success(), complaint))
}

async fn forward(
    stdout: Option<impl AsyncRead + Unpin>,
    sink: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stdout.read(&mut buffer).await.map_err(|error| Failure::worker("read from git", &error))?;
        match buffer.get(..read) {
            Some(bytes) if !bytes.is_empty() => sink(bytes)?,
            _ => return Ok(()),
        }
    }
}

/// The last 64 KiB or so; the rest is read and forgotten, so that git never blocks.
async fn collect(stderr: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut text = Vec::new();
    let Some(mut stderr) = stderr else { return text };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        text.extend(buffer.iter().take(read));
        if text.len() > 128 * 1024 {
            text.drain(..text.len() - 64 * 1024);
        }
    }
    text
}

/// The last lines of git's complaint as one line.
pub fn explain(stderr: &[u8], credentials: Option<&str>) -> String {
    let mut text = String::from_utf8_lossy(stderr).into_owned();
    if let Some(credentials) = credentials.filter(|credentials| !credentials.is_empty()) {
        // Git repeats them without the scheme that would make them known for what they are.
        text = text.replace(credentials, REDACTED);
        if let Some((_, password)) = credentials.split_once(':').filter(|(_, password)| !password.is_empty()) {
            text = text.replace(password, REDACTED);
        }
    }
    let text = redact(&text);
    let lines: Vec<&str> =
        text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:")).collect();
    let first = lines.len().saturating_sub(6);
    let text = lines.get(first..).unwrap_or_default().join("; ");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_empty() { "git gave no reason".into() } else { shorten(&text, MAX_COMPLAINT_CHARS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_short_and_without_credentials() {
        let stderr = b"hint: x\nfatal: unable to access 'https://me:hunter22@host/a/b/': refused\x1b[0m\n";
        assert_eq!(explain(stderr, None), "fatal: unable to access 'https://[redacted]@host/a/b/': refused [0m");
        let stderr = b"fatal: unable to look up me:hunter22@host; hunter22";
        assert_eq!(explain(stderr, Some("me:hunter22")), "fatal: unable to look up [redacted]@host; [redacted]");
        assert_eq!(explain(b"", None), "git gave no reason");
        assert!(explain(&[b'x'; 10_000], None).chars().count() <= MAX_COMPLAINT_CHARS);
    }
}
