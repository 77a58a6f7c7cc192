//! What Tasks made, for who may read it: traces, their files and archives, and following what happens.
//!
//! What lies in a trace was written by an executor, and its names and contents are data. Of a sealed trace only what the record
//! has a digest of is given out, and only as long as it is that; of one that is not sealed, only what the worker's recorder
//! writes. [`crate::trace`] opens, [`stream`] sends.

pub mod archive;
mod digests;
pub mod events;
pub mod file;
mod follow;
pub mod listing;
pub mod log;
mod lookup;
mod media;
mod range;
mod stream;
mod tar;

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::auth::{Cache, Caller, Credential, Right};
use super::error::Problem;
use super::frame::Limits;
use crate::domain::Id;
use crate::serve::KeepBusy;
use crate::trace::{Stamp, TraceVolume};
use digests::Digests;
use follow::Progress;

/// How many reads of the volume are under way at once: one that hangs must not take every thread.
const READS: usize = 16;
/// How many answers of many files or events are made at once.
const AT_ONCE: usize = 4;
/// How long one may wait for its turn.
const WAIT: Duration = Duration::from_secs(5);
/// How many archives are made at once, and how many of one caller: each has a compressor, and a thread.
const ARCHIVES: (usize, usize) = (8, 2);
/// Which part of the streams one caller may have.
const SHARE: usize = 20;

/// What the handlers here share.
pub struct Results {
    volume: Option<TraceVolume>,
    digests: Digests,
    reads: Arc<Semaphore>,
    making: Semaphore,
    streams: Limits,
    archives: Limits,
    progress: Cache<Id, Option<Progress>>,
    stop: CancellationToken,
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl Results {
    /// Without a volume; at most `most` streams at once.
    pub fn new(most: usize) -> Self {
        Self {
            volume: None,
            digests: Digests::default(),
            reads: Arc::new(Semaphore::new(READS)),
            making: Semaphore::new(AT_ONCE),
            streams: Limits::with_share(most, most.div_ceil(SHARE)),
            archives: Limits::with_share(ARCHIVES.0, ARCHIVES.1),
            progress: Cache::default(),
            stop: CancellationToken::new(),
        }
    }

    /// The same, with the traces of `volume`, until `stop`.
    pub fn of(self, volume: TraceVolume, stop: CancellationToken) -> Self {
        Self { volume: Some(volume), stop, ..self }
    }

    /// A turn to make an answer of many files or events. Not one of those for answers from the record: a volume that hangs is
    /// no reason that the record is not told.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let turn = tokio::time::timeout(WAIT, self.making.acquire()).await;
        let busy = || Problem::unavailable("the trace volume is being read for others; try again");
        turn.ok().and_then(Result::ok).ok_or_else(busy)
    }

    /// How many bytes of the volume are free, and how many there are; none without one.
    pub async fn room(&self) -> Option<io::Result<(u64, u64)>> {
        let root = self.volume.as_ref()?.root().to_owned();
        let look = self.reading(move || {
            let found = nix::sys::statvfs::statvfs(&root)?;
            Ok((found.blocks_available() * found.fragment_size(), found.blocks() * found.fragment_size()))
        });
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "does not answer"));
        Some(tokio::time::timeout(WAIT, look).await.unwrap_or_else(late))
    }

    /// Does `work`, which blocks, when it is its turn.
    async fn reading<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let turn = self.reads.clone().acquire_owned().await.map_err(io::Error::other)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(io::Error::other)?
    }

    /// At most `most` bytes of `file` from `at`; none at its end.
    async fn bytes(&self, file: &Arc<File>, at: u64, most: usize) -> io::Result<Bytes> {
        let file = file.clone();
        self.reading(move || read(&file, at, most)).await
    }

    /// The same, and what the file is after that.
    async fn bytes_and_stamp(&self, file: &Arc<File>, at: u64, most: usize) -> io::Result<(Bytes, Stamp)> {
        let file = file.clone();
        self.reading(move || Ok((read(&file, at, most)?, Stamp::of(&file)?))).await
    }
}

fn read(file: &File, at: u64, most: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; most];
    let count = file.read_at(&mut buffer, at)?;
    buffer.truncate(count);
    Ok(buffer.into())
}

/// The right to read the traces of `namespace`.
fn right(namespace: &str) -> Right {
    Right::resource("get", "tasks/trace", Some(namespace))
}

/// Who asks for something that lasts.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The caller.
    pub caller: Caller,
    credential: Credential,
    keep_busy: Option<KeepBusy>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let credential = parts.extensions.get::<Credential>().cloned();
        let credential =
            credential.ok_or_else(|| Problem::internal("authenticate", &"the request has no credential"))?;
        Ok(Self { caller, credential, keep_busy: parts.extensions.get::<KeepBusy>().cloned() })
    }
}

/// The parts of a path with more than one. What is no text is nothing's name.
#[derive(Clone, Debug, Default)]
pub struct Segments(Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let found = axum::extract::Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        Ok(found.map_or_else(
            |_| Self::default(),
            |axum::extract::Path(found)| Self(found.into_iter().map(|(_, value)| value).collect()),
        ))
    }
}

impl Segments {
    fn get(&self, index: usize) -> &str {
        self.0.get(index).map_or("", String::as_str)
    }
}
