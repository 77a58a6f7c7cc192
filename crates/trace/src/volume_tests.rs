use std::os::unix::fs::symlink;

use super::*;
use serde_json::json;

use jct_domain::trace::{FileEntry, FileKind, MANIFEST_VERSION};
use jct_domain::{TraceId, id::sha256_hex};

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
        let manifest = json!({
            "version": MANIFEST_VERSION, "task_id": self.task_id, "trace_id": self.trace_id, "namespace": "team", "attempt": 1,
            "executor": "analysis", "worker": "jct 0.1.0", "task_sha256": sha256_hex(TASK), "outcome": "succeeded",
            "exit_code": 0, "started_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:00:00Z", "files": files,
        });
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
    let entries = |name: &str| vec![fixture.file("task.json", TASK), FileEntry { path: name.into(), ..secret.clone() }];

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
