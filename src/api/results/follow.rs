//! What followers have in common: where a Task stands, and reading a file that grows.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use super::lookup::{self, Lookup};
use super::stream::{End, Feed};
use crate::api::Api;
use crate::api::error::Problem;
use crate::domain::shown::is_troublesome;
use crate::domain::{Id, Phase};
use crate::store::{JobRow, TaskRow};

/// How often a file is looked at for more.
pub const PAUSE: Duration = Duration::from_millis(500);
/// How long it is believed where a Task stands: all of its followers ask once.
const KEEP: Duration = Duration::from_secs(1);
/// How much of a file is read at once, in bytes: each of many followers who do not read keeps some of these waiting.
pub const PIECE: usize = 4 * 1024;

/// Where a Task stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How it ended, once it has.
    pub ended: Option<Phase>,
    /// Its attempts, without what came out of them.
    pub attempts: Arc<[JobRow]>,
}

impl Progress {
    /// Where the Task stands; none if its record is gone.
    ///
    /// # Errors
    /// If the record does not answer.
    pub async fn of(api: &Api, id: Id) -> Result<Option<Self>, Problem> {
        let now = Instant::now();
        let look = async {
            let task = api.store.task(id).await?;
            let found = match task {
                // First the Task: its end is recorded with that of its attempt.
                Some(task) => {
                    let attempts = api.store.jobs(id).await?.into_iter();
                    Some(Self {
                        ended: task.phase.is_terminal().then_some(task.phase),
                        // What is kept for many Tasks is small.
                        attempts: attempts.map(|job| JobRow { result: None, error: None, ..job }).collect(),
                    })
                }
                None => None,
            };
            Ok::<_, Problem>((found, Instant::now() + KEEP))
        };
        api.results.progress.get(id, now, look).await
    }

    /// The attempt of this number.
    pub fn attempt(&self, number: u32) -> Option<&JobRow> {
        self.attempts.iter().find(|job| job.attempt == number)
    }

    /// The newest attempt's number.
    pub fn newest(&self) -> Option<u32> {
        self.attempts.last().map(|job| job.attempt)
    }

    /// The first attempt after this number.
    fn next(&self, number: u32) -> Option<u32> {
        self.attempts.iter().map(|job| job.attempt).find(|attempt| *attempt > number)
    }
}

/// Whether what is asked for is to be followed.
pub fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|text| text.split(',').any(|kind| kind.trim().starts_with("text/event-stream")))
}

/// What takes the bytes of a file as they come.
#[async_trait::async_trait]
pub trait Taker: Send {
    /// A file begins, that of this attempt.
    fn begin(&mut self, attempt: u32);

    /// Takes the next bytes of it.
    async fn take(&mut self, feed: &mut Feed, bytes: &[u8]) -> Result<(), End>;

    /// There is nothing new, and has not been for a while.
    async fn idle(&mut self, feed: &mut Feed) -> Result<(), End>;

    /// Takes the end of the file: a last line may have none.
    async fn finish(&mut self, feed: &mut Feed) -> Result<(), End>;
}

#[derive(Clone, Debug)]
pub struct Followed {
    pub task: TaskRow,
    /// The file in each attempt's trace.
    pub path: &'static str,
    /// The attempt to begin with; the newest if none is named.
    pub attempt: Option<u32>,
    /// Whether to end with that attempt.
    pub only: bool,
    /// Where in its file to begin: in bytes.
    pub from: u64,
}

/// Hands `taker` what is in the file and what is added to it, attempt by attempt, until the Task ends: how, is the answer.
///
/// # Errors
/// Why the stream ends before.
pub async fn follow(
    api: &Api,
    feed: &mut Feed,
    followed: &Followed,
    taker: &mut dyn Taker,
) -> Result<Option<Phase>, End> {
    let (mut number, mut from) = (followed.attempt, followed.from);
    loop {
        let progress = progress(api, followed.task.id).await?;
        let attempt = number.or(progress.newest()).and_then(|number| progress.attempt(number));
        if let Some(job) = attempt {
            taker.begin(job.attempt);
            read(api, feed, followed, job, from, taker).await?;
            if followed.only {
                return Ok(progress.ended);
            }
            (number, from) = (next(api, feed, followed, job.attempt, taker).await?, 0);
            if number.is_some() {
                continue;
            }
        } else if progress.ended.is_none() {
            wait(feed, taker).await?;
            continue;
        }
        return Ok(self::progress(api, followed.task.id).await?.ended);
    }
}

/// The attempt after `current`, as soon as there is one; none when none will come.
async fn next(
    api: &Api,
    feed: &mut Feed,
    followed: &Followed,
    current: u32,
    taker: &mut dyn Taker,
) -> Result<Option<u32>, End> {
    loop {
        let progress = progress(api, followed.task.id).await?;
        let next = progress.next(current);
        if next.is_some() || progress.ended.is_some() {
            return Ok(next);
        }
        wait(feed, taker).await?;
    }
}

/// Hands on the file of one attempt until the attempt has ended and all of it is read.
async fn read(
    api: &Api,
    feed: &mut Feed,
    followed: &Followed,
    job: &JobRow,
    from: u64,
    taker: &mut dyn Taker,
) -> Result<(), End> {
    let (mut job, mut at, mut file) = (job.clone(), from, None);
    loop {
        if job.trace_removed_at.is_some() {
            return Err(End::Removed);
        }
        if file.is_none() {
            file = open(api, followed, &job).await?;
        }
        if let Some(file) = &file {
            loop {
                let bytes = Box::pin(api.results.bytes(file, at, PIECE)).await.map_err(|_| End::Broken)?;
                if bytes.is_empty() {
                    break;
                }
                at += bytes.len() as u64;
                taker.take(feed, &bytes).await?;
            }
        }
        // Known before all that is there was read: nothing is added any more.
        if job.status.is_terminal() {
            return taker.finish(feed).await;
        }
        wait(feed, taker).await?;
        job = progress(api, followed.task.id).await?.attempt(job.attempt).cloned().ok_or(End::Removed)?;
    }
}

/// The file of an attempt, once it is there.
async fn open(api: &Api, followed: &Followed, job: &JobRow) -> Result<Option<Arc<File>>, End> {
    match Box::pin(lookup::find(api, &followed.task, job, followed.path)).await {
        Ok(Lookup::There(found)) => Ok(Some(found.file)),
        Ok(Lookup::Missing) => Ok(None),
        Ok(Lookup::Changed(why)) => {
            lookup::changed(api, &followed.task, job, followed.path, &why);
            Err(End::Changed)
        }
        Err(_) => Err(End::Broken),
    }
}

/// What a follower waits in has no room for these: boxed, they are in memory while they are asked and no longer.
async fn progress(api: &Api, id: Id) -> Result<Progress, End> {
    match Box::pin(Progress::of(api, id)).await {
        Ok(Some(progress)) => Ok(progress),
        Ok(None) => Err(End::Removed),
        Err(_) => Err(End::Broken),
    }
}

async fn wait(feed: &mut Feed, taker: &mut dyn Taker) -> Result<(), End> {
    feed.wait(PAUSE).await?;
    taker.idle(feed).await
}

/// Lines in the pieces of a file; those that are too long to be any are left out.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    skips: bool,
}

impl Lines {
    /// The longest line, in bytes.
    const MAX: usize = 256 * 1024;

    /// Adds a piece, and hands each line that is whole now to `each`, without its end.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            if self.begun.len() + text.len() > Self::MAX {
                self.skips = true;
                self.begun.clear();
            }
            if !self.skips {
                self.begun.extend(text);
            }
            if is_whole {
                if !self.skips {
                    each(&self.begun);
                }
                *self = Self::default();
            }
        }
    }
}

/// Makes text of the bytes of a log that nothing in it rules a terminal by: what would is escaped, as in `trace.log`.
#[derive(Debug, Default)]
pub struct Inert {
    /// A character of which not all bytes are there.
    begun: Vec<u8>,
    /// A carriage return of which it is not known whether it is a part of a line's end.
    returned: bool,
}

impl Inert {
    /// The text of the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| self.add(&mut text, c));
            let is_last = chunks.peek().is_none();
            if is_last && is_begun(chunk.invalid()) {
                self.begun = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                self.add(&mut text, char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// The text of what is left at the end.
    pub fn finish(&mut self) -> String {
        let mut text = String::new();
        if !std::mem::take(&mut self.begun).is_empty() {
            self.add(&mut text, char::REPLACEMENT_CHARACTER);
        }
        if std::mem::take(&mut self.returned) {
            text.extend('\r'.escape_unicode());
        }
        text
    }

    fn add(&mut self, text: &mut String, c: char) {
        if std::mem::take(&mut self.returned) && c != '\n' {
            text.extend('\r'.escape_unicode());
        }
        match c {
            '\r' => self.returned = true,
            '\n' | '\t' | '\\' => text.push(c),
            c if is_troublesome(c) => text.extend(c.escape_unicode()),
            c => text.push(c),
        }
    }
}

/// Whether these bytes may be the beginning of a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Where in `file` its last `lines` lines begin. Blocks.
///
/// # Errors
/// If the volume cannot be read.
pub fn tail(file: &File, size: u64, lines: u32) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let (mut end, mut left, mut buffer) = (size, lines, vec![0; PIECE]);
    // The end of the last line begins none.
    let mut is_first = true;
    while end > 0 {
        let begin = end.saturating_sub(PIECE as u64);
        let count = usize::try_from(end - begin).unwrap_or(PIECE);
        file.read_exact_at(&mut buffer[..count], begin)?;
        for (at, byte) in buffer[..count].iter().enumerate().rev() {
            if *byte == b'\n' && !is_first {
                if left <= 1 {
                    return Ok(if lines == 0 { size } else { begin + at as u64 + 1 });
                }
                left -= 1;
            }
            is_first = false;
        }
        end = begin;
    }
    Ok(if lines == 0 { size } else { 0 })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn lines_are_whole_and_have_an_end() {
        let mut lines = Lines::default();
        let mut found: Vec<String> = Vec::new();
        let mut take = |bytes: &[u8]| lines.push(bytes, |line| found.push(String::from_utf8_lossy(line).into()));
        for piece in [b"on".as_slice(), b"e\ntwo\n\nthr", &[b'x'; 200_000], &[b'x'; 200_000], b"ee\nfour\nfi"] {
            take(piece);
        }
        assert_eq!(found, ["one", "two", "", "four"]);
    }

    #[test]
    fn a_log_rules_no_terminal() {
        let bytes = "plain\tC:\\x\r\n\u{1b}[2Jgr\u{f6}\u{df}e\rover\u{202e}\n".as_bytes();
        let bytes = [bytes, b"\xff\xc3"].concat();
        let expected = "plain\tC:\\x\n\\u{1b}[2Jgr\u{f6}\u{df}e\\u{d}over\\u{202e}\n\u{fffd}\u{fffd}";
        for size in [1, 2, 3, 7, 100] {
            let mut inert = Inert::default();
            let mut text: String = bytes.chunks(size).map(|piece| inert.push(piece)).collect();
            text.push_str(&inert.finish());
            assert_eq!(text, expected, "in pieces of {size}");
        }
    }

    #[rstest]
    #[case("", 3, "")]
    #[case("one\ntwo\nthree\n", 0, "")]
    #[case("one\ntwo\nthree\n", 1, "three\n")]
    #[case("one\ntwo\nthree", 1, "three")]
    #[case("one\ntwo\nthree\n", 2, "two\nthree\n")]
    #[case("one\ntwo\nthree\n", 3, "one\ntwo\nthree\n")]
    #[case("one\ntwo\nthree\n", 99, "one\ntwo\nthree\n")]
    #[case("\n\n\n", 2, "\n\n")]
    fn the_last_lines_are_found(#[case] text: &str, #[case] lines: u32, #[case] expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        // In the middle of a piece, and over the edges of some.
        for before in ["", &format!("{}\n", "y".repeat(3 * PIECE))] {
            std::fs::write(&path, format!("{before}{text}")).unwrap();
            let all = format!("{before}{text}");
            let at = tail(&File::open(&path).unwrap(), all.len() as u64, lines).unwrap();
            let found = &all[usize::try_from(at).unwrap()..];
            if before.is_empty() || (lines <= 3 && !text.is_empty()) {
                assert_eq!(found, expected);
            }
        }
    }
}
