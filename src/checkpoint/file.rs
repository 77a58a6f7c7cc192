//! Checkpoints in a file: one signed envelope a line, only ever added to.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::domain::checkpoint::{Checkpoint, MAX_ENVELOPE_BYTES};
use crate::signing::{PublicKey, checkpoint_in};

/// How much of the end of a file is looked at for the newest checkpoint.
const RECENT_BYTES: u64 = 64 * 1024;

#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

/// Checkpoints that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that one of the keys signed, in their order.
    pub checkpoints: Vec<Checkpoint>,
    /// How many lines were none, or signed by somebody else.
    pub others: u64,
    /// Why the last of those was not believed.
    pub problem: Option<String>,
}

impl Found {
    /// Takes a line; empty ones don't count.
    pub fn take(&mut self, line: &[u8], keys: &[PublicKey]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        match checkpoint_in(line, keys) {
            Ok(checkpoint) => self.checkpoints.push(checkpoint),
            Err(problem) => {
                self.others += 1;
                self.problem = Some(problem.to_string());
            }
        }
    }

    /// The newest of them, by the place in the log.
    pub fn newest(&self) -> Option<&Checkpoint> {
        self.checkpoints.iter().max_by_key(|checkpoint| (checkpoint.seq, checkpoint.time))
    }
}

/// The checkpoints in `input`, which one of `keys` signed; in memory is one line at a time.
///
/// # Errors
/// If it cannot be read.
pub fn read_checkpoints(input: &mut dyn BufRead, keys: &[PublicKey]) -> io::Result<Found> {
    let mut found = Found::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut *input).take(MAX_ENVELOPE_BYTES as u64 + 2).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(found);
        }
        if line.ends_with(b"\n") || read < MAX_ENVELOPE_BYTES {
            found.take(&line, keys);
            continue;
        }
        found.take(&line, keys);
        skip_line(input)?;
    }
}

fn skip_line(input: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

impl CheckpointFile {
    /// The file at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoints in it; none if it is not there. Blocks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, keys: &[PublicKey]) -> io::Result<Found> {
        match File::open(&self.path) {
            Ok(file) => read_checkpoints(&mut BufReader::new(file), keys),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::default()),
            Err(error) => Err(error),
        }
    }

    /// The last checkpoints in it: as far back as it takes to find one, at most all. Blocks.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn recent(&self, keys: &[PublicKey]) -> io::Result<Found> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(RECENT_BYTES)))?;
        let found = read_checkpoints(&mut BufReader::new(file), keys)?;
        if found.checkpoints.is_empty() && length > RECENT_BYTES { self.read(keys) } else { Ok(found) }
    }

    /// Adds a line, for good. Whoever else adds one at the same time waits. Blocks.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&self, line: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.is_dir()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        file.lock()?;
        // A line that a crash cut off must not swallow this one.
        let begin = if ends_within_a_line(&mut file)? { "\n" } else { "" };
        file.write_all(format!("{begin}{line}\n").as_bytes())?;
        file.sync_all()
    }
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::line;
    use crate::signing::{SigningKey, sign_checkpoint};

    fn signed(seq: u64, seed: u8) -> (Checkpoint, String) {
        let time = "2026-03-01T12:00:00Z".parse().unwrap();
        let checkpoint = Checkpoint { seq, hash: "ab".repeat(32), time };
        let envelope = sign_checkpoint(&SigningKey::from_seed(&[seed; 32]).unwrap(), &checkpoint);
        (checkpoint, line(&envelope))
    }

    #[test]
    fn what_others_wrote_is_counted_and_hides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(folder.path().join("deep/checkpoints.jsonl"));
        let keys = [SigningKey::from_seed(&[1; 32]).unwrap().public()];
        assert_eq!(file.read(&keys).unwrap(), Found::default());
        let (first, second) = (signed(3, 1), signed(7, 1));
        file.append(&first.1).unwrap();
        // Cut off by a crash; then something without end; then somebody else's.
        let mut raw = File::options().append(true).open(file.path()).unwrap();
        raw.write_all(&first.1.as_bytes()[..40]).unwrap();
        file.append(&"x".repeat(3 * MAX_ENVELOPE_BYTES)).unwrap();
        file.append(&signed(9, 2).1).unwrap();
        file.append(&second.1).unwrap();
        let found = file.read(&keys).unwrap();
        assert_eq!(found.checkpoints, [first.0, second.0.clone()]);
        assert_eq!((found.others, found.newest()), (3, Some(&second.0)));
        assert_eq!(file.recent(&keys).unwrap().newest(), found.newest());
        for _ in 0..40 {
            file.append(&"x".repeat(2000)).unwrap();
        }
        assert_eq!(file.recent(&keys).unwrap().newest(), found.newest(), "whatever others have added");
        let not_ours = file.read(&[]).unwrap();
        assert_eq!((not_ours.checkpoints.len(), not_ours.others), (0, 45));
    }
}
