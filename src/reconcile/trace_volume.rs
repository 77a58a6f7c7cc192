//! The operator's side of the trace volume: prepares an attempt's folder, and checks and seals what the worker left.
//!
//! What lies in a folder was written by an executor and is hostile until proven: nothing is followed (`openat2` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), only regular files are read, and no more of them than the manifest says.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};

use crate::domain::Id;
use crate::domain::id::hex;
use crate::domain::trace::{
    CANCEL_FILE, Expected, INCOMPLETE_FILE, Incomplete, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, TASK_FILE, folder,
};

/// The trace volume as the operator has it mounted.
#[derive(Clone, Debug)]
pub struct TraceVolume {
    root: PathBuf,
}

/// What the worker left.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A manifest, believable and with every digest right.
    Complete {
        /// The manifest.
        manifest: Box<Manifest>,
        /// Its SHA-256.
        sha256: String,
    },
    /// No manifest: the worker ended before it could seal.
    Incomplete,
    /// A manifest that is not to be believed, and why.
    Invalid(String),
}

impl TraceVolume {
    /// The volume mounted at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes an attempt's folder with its `task.json`; does nothing if that is there already. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written.
    pub fn prepare(&self, namespace: &str, task_id: Id, attempt: u32, task_json: &[u8]) -> io::Result<()> {
        let path = self.root.join(folder(namespace, task_id, attempt));
        fs::create_dir_all(&path)?;
        let target = path.join(TASK_FILE);
        if fs::read(&target).is_ok_and(|found| found == task_json) {
            return Ok(());
        }
        let temporary = path.join(".task.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(task_json)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        File::open(&path)?.sync_all()
    }

    /// Whether a worker has begun to write into an attempt's folder. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be read.
    pub fn has_begun(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<bool> {
        let path = self.root.join(folder(namespace, task_id, attempt));
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            if ![TASK_FILE, ".task.json.new", CANCEL_FILE].contains(&&*name.to_string_lossy()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Leaves word in an attempt's folder that its worker is about to be ended because somebody wants that. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written. A folder that is not there needs no word.
    pub fn announce_cancel(&self, namespace: &str, task_id: Id, attempt: u32) -> io::Result<()> {
        let path = self.root.join(folder(namespace, task_id, attempt)).join(CANCEL_FILE);
        match File::options().write(true).create_new(true).open(path) {
            Ok(file) => file.sync_all(),
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists].contains(&error.kind()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads what the worker left and checks every digest. Blocks for as long as reading all of it takes.
    ///
    /// # Errors
    /// If the volume cannot be read; whatever is wrong with the trace itself is a [`Found`].
    pub fn inspect(&self, expected: &Expected) -> io::Result<Found> {
        let path = self.root.join(folder(expected.namespace, expected.task_id, expected.attempt));
        let directory = match File::open(&path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Incomplete),
            Err(error) => return Err(error),
        };
        let bytes = match read_beneath(&directory, MANIFEST_FILE, MAX_MANIFEST_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Incomplete),
            Err(error) => return hostile(error, MANIFEST_FILE),
        };
        let manifest: Manifest = match serde_json::from_slice(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Found::Invalid(format!("{MANIFEST_FILE} cannot be read: {error}"))),
        };
        if let Err(problem) = manifest.check(expected) {
            return Ok(Found::Invalid(problem.to_string()));
        }
        for file in &manifest.files {
            match digest_beneath(&directory, &file.path, file.size_bytes) {
                Ok(sha256) if sha256 == file.sha256 => {}
                Ok(_) => return Ok(Found::Invalid(format!("{:?} does not match its digest", file.path))),
                Err(error) => return hostile(error, &file.path),
            }
        }
        Ok(Found::Complete { manifest: Box::new(manifest), sha256: hex(&Sha256::digest(&bytes)) })
    }

    /// Writes down that an attempt left no trace that can be trusted, and why. Blocks.
    ///
    /// # Errors
    /// If the volume cannot be written.
    pub fn mark_incomplete(&self, namespace: &str, note: &Incomplete) -> io::Result<()> {
        let path = self.root.join(folder(namespace, note.task_id, note.attempt));
        fs::create_dir_all(&path)?;
        let directory = File::open(&path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).mode(Mode::from_bits_truncate(0o444)).resolve(RESOLVE);
        match openat2(&directory, INCOMPLETE_FILE, how) {
            Ok(file) => {
                let mut file = File::from(file);
                file.write_all(&serde_json::to_vec_pretty(note)?)?;
                file.sync_all()
            }
            // Written by a pass before this one, or by the worker, who gains nothing by it.
            Err(nix::Error::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes away the right to write from a folder and the files of its manifest. Blocks; does what it can.
    pub fn seal(&self, namespace: &str, task_id: Id, attempt: u32, manifest: Option<&Manifest>) {
        let path = self.root.join(folder(namespace, task_id, attempt));
        let Ok(directory) = File::open(&path) else { return };
        let files = manifest.map(|manifest| manifest.files.as_slice()).unwrap_or_default();
        for name in files.iter().map(|file| file.path.as_str()).chain([MANIFEST_FILE]) {
            if let Ok(file) = open_beneath(&directory, name) {
                let _ = file.set_permissions(Permissions::from_mode(0o444));
            }
        }
        let _ = directory.set_permissions(Permissions::from_mode(0o555));
    }

    /// Whether the root is there: a volume that is not mounted must not be filled.
    pub fn is_mounted(&self) -> bool {
        Path::new(&self.root).is_dir()
    }

    /// Where the volume is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The present time and the reason, as a note for [`TraceVolume::mark_incomplete`].
pub fn incomplete(expected: &Expected, reason: &str, marked_at: Timestamp) -> Incomplete {
    Incomplete {
        task_id: expected.task_id,
        trace_id: expected.trace_id.clone(),
        attempt: expected.attempt,
        reason: reason.into(),
        marked_at,
    }
}

const RESOLVE: ResolveFlag =
    ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS).union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// What an executor can bring about is a finding on the trace; all else is trouble with the volume, and worth another try.
fn hostile(error: io::Error, name: &str) -> io::Result<Found> {
    use nix::libc::{ELOOP, ENOENT, ENOTDIR, ENXIO, EXDEV};
    match error.raw_os_error() {
        Some(ELOOP | ENOENT | ENOTDIR | ENXIO | EXDEV) => {
            Ok(Found::Invalid(format!("{name:?} is missing or no plain file")))
        }
        None => Ok(Found::Invalid(format!("{name:?}: {error}"))),
        Some(_) => Err(error),
    }
}

fn open_beneath(directory: &File, name: &str) -> io::Result<File> {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file: OwnedFd = openat2(directory, name, OpenHow::new().flags(flags).resolve(RESOLVE))?;
    let file = File::from(file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is no plain file")) }
}

fn read_beneath(directory: &File, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_beneath(directory, name)?;
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes { Err(io::Error::other("is too large")) } else { Ok(bytes) }
}

/// The digest of a file that must have exactly `size_bytes`.
fn digest_beneath(directory: &File, name: &str, size_bytes: u64) -> io::Result<String> {
    let file = open_beneath(directory, name)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut read = 0;
    let mut file = file.take(size_bytes.saturating_add(1));
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                read += count as u64;
            }
        }
    }
    if read == size_bytes {
        Ok(hex(&hash.finalize()))
    } else {
        Err(io::Error::other("has another size than its manifest says"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::domain::trace::{FileEntry, FileKind, MANIFEST_VERSION, Outcome};
    use crate::domain::{TraceId, id::sha256_hex};

    struct Fixture {
        _root: tempfile::TempDir,
        volume: TraceVolume,
        folder: PathBuf,
        task_id: Id,
        trace_id: TraceId,
    }

    const TASK: &[u8] = b"{}";

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let task_id = Id::derive("2026-03-01T12:00:00Z".parse().unwrap(), "uid");
            let volume = TraceVolume::new(root.path());
            volume.prepare("team", task_id, 1, TASK).unwrap();
            let folder = root.path().join(folder("team", task_id, 1));
            Self { _root: root, volume, folder, task_id, trace_id: TraceId::derive("uid") }
        }

        fn file(&self, name: &str, content: &[u8]) -> FileEntry {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            FileEntry {
                path: name.into(),
                kind: FileKind::File,
                media_type: "text/plain".into(),
                size_bytes: content.len() as u64,
                sha256: sha256_hex(content),
            }
        }

        fn write_manifest(&self, files: Vec<FileEntry>) {
            let time = "2026-03-01T12:00:00Z".parse().unwrap();
            let manifest = Manifest {
                version: MANIFEST_VERSION.into(),
                task_id: self.task_id,
                trace_id: self.trace_id.clone(),
                namespace: "team".into(),
                attempt: 1,
                executor: "analysis".into(),
                image: None,
                executor_sha256: None,
                worker: "jct".into(),
                task_sha256: sha256_hex(TASK),
                source: None,
                outcome: Outcome::Succeeded,
                reason: None,
                message: None,
                exit_code: Some(0),
                result: None,
                change: None,
                usage: None,
                started_at: time,
                ended_at: time,
                files,
            };
            fs::write(self.folder.join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
        }

        fn inspect(&self) -> Found {
            let task_sha256 = sha256_hex(TASK);
            let expected = Expected {
                task_id: self.task_id,
                trace_id: &self.trace_id,
                namespace: "team",
                attempt: 1,
                task_sha256: &task_sha256,
            };
            self.volume.inspect(&expected).unwrap()
        }

        fn invalid(&self) -> String {
            match self.inspect() {
                Found::Invalid(why) => why,
                found => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn a_complete_trace_is_believed_and_a_changed_one_is_not() {
        let fixture = Fixture::new();
        assert!(!fixture.volume.has_begun("team", fixture.task_id, 1).unwrap());
        assert_eq!(fixture.inspect(), Found::Incomplete);
        let files = vec![fixture.file("task.json", TASK), fixture.file("artifacts/report.md", b"# Report")];
        fixture.write_manifest(files);
        assert!(matches!(fixture.inspect(), Found::Complete { .. }));
        assert!(fixture.volume.has_begun("team", fixture.task_id, 1).unwrap());
        fs::write(fixture.folder.join("artifacts/report.md"), b"# Rep0rt").unwrap();
        assert!(fixture.invalid().contains("does not match its digest"));
        fs::write(fixture.folder.join("artifacts/report.md"), b"# Report, longer").unwrap();
        assert!(fixture.invalid().contains("another size"));
        fs::remove_file(fixture.folder.join("artifacts/report.md")).unwrap();
        assert!(fixture.invalid().contains("missing"));
    }

    #[test]
    fn nothing_is_followed_out_of_the_folder() {
        let fixture = Fixture::new();
        let secret = fixture.file("../../../secret", b"secret");
        let entries =
            |name: &str| vec![fixture.file("task.json", TASK), FileEntry { path: name.into(), ..secret.clone() }];

        symlink("../../../secret", fixture.folder.join("link")).unwrap();
        fixture.write_manifest(entries("link"));
        assert!(fixture.invalid().contains("no plain file"));

        symlink("../../..", fixture.folder.join("artifacts")).unwrap();
        fixture.write_manifest(entries("artifacts/secret"));
        assert!(fixture.invalid().contains("no plain file"));

        nix::unistd::mkfifo(&fixture.folder.join("pipe"), Mode::S_IRWXU).unwrap();
        fixture.write_manifest(entries("pipe"));
        assert!(fixture.invalid().contains("no plain file"));

        fs::remove_file(fixture.folder.join(MANIFEST_FILE)).unwrap();
        symlink("/etc/hostname", fixture.folder.join(MANIFEST_FILE)).unwrap();
        assert!(fixture.invalid().contains("no plain file"));
    }

    #[test]
    fn garbage_is_no_manifest() {
        let fixture = Fixture::new();
        for garbage in [&b""[..], b"{}", b"\xff", b"[1,2"] {
            fs::write(fixture.folder.join(MANIFEST_FILE), garbage).unwrap();
            assert!(fixture.invalid().contains("cannot be read"));
        }
        let huge = File::create(fixture.folder.join(MANIFEST_FILE)).unwrap();
        huge.set_len(MAX_MANIFEST_BYTES + 1).unwrap();
        assert!(fixture.invalid().contains("too large"));
    }

    #[test]
    fn preparing_twice_is_preparing_once() {
        let fixture = Fixture::new();
        fixture.volume.prepare("team", fixture.task_id, 1, TASK).unwrap();
        assert_eq!(fs::read(fixture.folder.join(TASK_FILE)).unwrap(), TASK);
        assert!(!fixture.volume.has_begun("team", fixture.task_id, 1).unwrap());
    }

    #[test]
    fn an_incomplete_trace_says_why_and_keeps_its_first_word() {
        let fixture = Fixture::new();
        let note = |reason: &str| Incomplete {
            task_id: fixture.task_id,
            trace_id: fixture.trace_id.clone(),
            attempt: 1,
            reason: reason.into(),
            marked_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        };
        fixture.volume.mark_incomplete("team", &note("OOMKilled")).unwrap();
        fixture.volume.mark_incomplete("team", &note("other")).unwrap();
        let text = fs::read_to_string(fixture.folder.join(INCOMPLETE_FILE)).unwrap();
        assert!(text.contains("OOMKilled"));
        fixture.volume.seal("team", fixture.task_id, 1, None);
        assert_eq!(fs::metadata(&fixture.folder).unwrap().permissions().mode() & 0o222, 0);
    }
}
