//! A whole trace as one file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::Handle;

use super::lookup::{self, Lookup, RECORDED, is_sealed};
use super::stream::{self, End, Feed, Shape};
use super::{Asker, Segments, media, tar};
use crate::api::Api;
use crate::api::error::Problem;
use crate::api::query::{Params, PathId};
use crate::domain::trace::{MANIFEST_FILE, PROVENANCE_FILE, folder};
use crate::store::{JobRow, TaskRow};
use crate::trace::Stamp;

/// How much is read at once, and sent at once, in bytes.
const PIECE: usize = 64 * 1024;
/// What an archive has at its end if not all of it is there.
const MISMATCH_FILE: &str = "MISMATCH.txt";

const SHAPE: Shape = Shape { kind: "archive", stops: false, last: stream::trailer_of_file };

/// A whole trace, as a tar archive
///
/// The folder of an attempt, gzipped, to be unpacked and checked with `jct trace verify`. Each sealed file is checked against the
/// digest that it was sealed with; one that is another is left out and named in `MISMATCH.txt`.
/// Needs the right to `get` `tasks/trace`.
#[utoipa::path(get, path = "/tasks/{id}/trace/{archive}", tag = "results", operation_id = "get_trace_archive",
    params(
        ("id" = String, Path, description = "The Task's ULID"),
        ("archive" = String, Path, description = "The attempt's number and `.tar.gz`", pattern = "^[1-9][0-9]*\\.tar\\.gz$")),
    responses(
        (status = 200, description = "The archive", content_type = "application/gzip", body = ref("#/components/schemas/Bytes")),
        (status = 404, description = "There is no such Task or attempt, or none that the caller may get", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`trace_removed`: retention removed the trace", body = ref("#/components/schemas/Problem"))))]
pub async fn get(State(api): State<Api>, asker: Asker, segments: Segments, query: Params) -> Result<Response, Problem> {
    query.finish()?;
    let task = lookup::task(&api, &asker.caller, &PathId::new(segments.get(0))).await?;
    let not_found = || Problem::not_found("there is nothing here but archives, such as 1.tar.gz");
    let number = segments.get(1).strip_suffix(".tar.gz").ok_or_else(not_found)?;
    let job = lookup::attempt(&api, &task, number).await?;
    lookup::volume(&api)?;
    let paths = paths(&api, &job).await?;
    let headers = media::download(&format!("{}-{}.tar.gz", task.id, job.attempt), "application/gzip");
    let held = api.results.archives.hold(asker.caller.username()).map_err(stream::too_many)?;
    let namespace = task.namespace.clone();
    let shared = api.clone();
    let body = stream::open(&api, asker, &namespace, SHAPE, move |feed| async move {
        let _held = held;
        let handle = Handle::current();
        // It compresses: a thread of its own for each of the few that there may be.
        let made = tokio::task::spawn_blocking(move || {
            let sink = Sink { feed, end: None, handle: handle.clone(), buffer: Vec::with_capacity(PIECE) };
            Maker { api: shared, handle, task, job, out: GzEncoder::new(sink, Compression::fast()) }.make(&paths)
        });
        made.await.unwrap_or(Err(End::Broken))
    })?;
    Ok((headers, body).into_response())
}

/// The files that belong into the archive.
async fn paths(api: &Api, job: &JobRow) -> Result<BTreeSet<String>, Problem> {
    if !is_sealed(job) {
        return Ok(RECORDED.iter().map(|(name, ..)| (*name).to_owned()).collect());
    }
    let folder = job.trace_path.as_deref().unwrap_or_default();
    let rows = api.store.artifacts_of_job(job.id).await?;
    let files = rows.iter().filter_map(|row| row.uri.strip_prefix(folder)?.strip_prefix('/'));
    Ok(files.chain([MANIFEST_FILE, PROVENANCE_FILE]).map(str::to_owned).collect())
}

/// Where the archive goes: pieces of a stream.
struct Sink {
    feed: Feed,
    end: Option<End>,
    handle: Handle,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        let sent = self.handle.block_on(self.feed.send(piece));
        sent.map_err(|end| {
            self.end = Some(end);
            io::Error::other(end.reason())
        })
    }
}

/// Makes an archive.
struct Maker {
    api: Api,
    handle: Handle,
    task: TaskRow,
    job: JobRow,
    out: GzEncoder<Sink>,
}

impl Maker {
    fn make(mut self, paths: &BTreeSet<String>) -> Result<(), End> {
        let made = self.files(paths).and_then(|()| self.out.try_finish()).and_then(|()| self.out.get_mut().flush());
        let end = self.out.get_ref().end;
        made.map_err(|error| end.unwrap_or_else(|| end_of(&error)))
    }

    fn files(&mut self, paths: &BTreeSet<String>) -> io::Result<()> {
        let mut missing = String::new();
        for path in paths {
            let looked = lookup::find(&self.api, &self.task, &self.job, path);
            match self.handle.block_on(looked).map_err(|problem| io::Error::other(problem.to_string()))? {
                Lookup::There(found) => self.file(path, &found.file, found.stamp, found.sha256.is_some())?,
                Lookup::Missing => {}
                Lookup::Changed(why) => {
                    lookup::changed(&self.api, &self.task, &self.job, path, &why);
                    missing.push_str(&format!("{path}: {why}\n"));
                }
            }
        }
        if !missing.is_empty() {
            let text = format!("These files are not what was sealed, and left out here:\n\n{missing}");
            self.begin(MISMATCH_FILE, text.len() as u64)?;
            self.out.write_all(text.as_bytes())?;
            self.pad(text.len() as u64)?;
        }
        self.out.write_all(&tar::END)
    }

    fn begin(&mut self, path: &str, size: u64) -> io::Result<()> {
        let name = format!("{}/{path}", folder(&self.task.namespace, self.task.id, self.job.attempt));
        let at = self.job.ended_at.unwrap_or(self.job.created_at).as_second();
        self.out.write_all(&tar::header(&name, size, u64::try_from(at).unwrap_or(0)))
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.out.write_all(&[0; tar::BLOCK][..tar::padding(size)])
    }

    /// As large as it was when it was opened: one that is not sealed may grow.
    fn file(&mut self, path: &str, file: &Arc<File>, stamp: Stamp, is_sealed: bool) -> io::Result<()> {
        let size = stamp.size_bytes;
        self.begin(path, size)?;
        let (mut at, mut buffer) = (0, vec![0; PIECE]);
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let read = file.read_at(&mut buffer[..most], at)?;
            if read == 0 || (is_sealed && Stamp::of(file)? != stamp) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the file changed while it was sent"));
            }
            self.out.write_all(&buffer[..read])?;
            at += read as u64;
        }
        self.pad(size)
    }
}

fn end_of(error: &io::Error) -> End {
    if error.kind() == io::ErrorKind::InvalidData { End::Changed } else { End::Broken }
}
