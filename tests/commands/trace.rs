//! `jct trace verify` on the command line: a good trace, and every way to tamper with one. And what others make of our
//! signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jct::domain::id::sha256_hex;
use jct::domain::provenance::{Bound, DEFAULT_BUILDER_ID, Facts, Statement};
use jct::domain::trace::{FileEntry, FileKind, Incomplete, MANIFEST_VERSION, Manifest, Outcome, Source};
use jct::domain::{Id, TraceId};
use jct::signing::{KeyRing, SigningKey};
use serde_json::{Value, json};

#[path = "trace_tampered.rs"]
mod tampered;

/// Traces of one operator, and its public keys.
struct World {
    folder: tempfile::TempDir,
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32]).unwrap()
}

fn task_id(uid: &str) -> Id {
    Id::derive("2026-03-01T12:00:00Z".parse().unwrap(), uid)
}

fn task() -> Vec<u8> {
    let task = json!({
        "version": "1.0", "objective": "Look around", "operation": "analysis",
        "target": {"repo": "octo/hello", "ref": "main", "path": ""}, "inputs": {"weight": 0.1, "many": 1e300},
    });
    serde_json::to_vec_pretty(&task).unwrap()
}

/// What `jct trace verify` said.
struct Said {
    code: i32,
    text: String,
    json: Value,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        world.keys("keys.json", &KeyRing::new(key(1), &[], "2026-03-01T12:00:00Z".parse().unwrap()));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keys(&self, name: &str, ring: &KeyRing) {
        fs::write(self.path(name), ring.to_jwks().to_string()).unwrap();
    }

    fn attempt(&self, uid: &str, attempt: u32) -> PathBuf {
        self.path(&format!("traces/team/{}/{attempt}", task_id(uid)))
    }

    /// An attempt as worker and operator leave it.
    fn seal(&self, uid: &str, attempt: u32) -> PathBuf {
        let folder = self.attempt(uid, attempt);
        fs::create_dir_all(folder.join("artifacts/nested")).unwrap();
        let contents = [
            ("artifacts/nested/data.json", b"{}".to_vec()),
            ("artifacts/report.md", format!("# Report on {uid}, {attempt}").into_bytes()),
            ("events.jsonl", b"{}\n".to_vec()),
            ("task.json", task()),
        ];
        for (name, content) in &contents {
            fs::write(folder.join(name), content).unwrap();
        }
        let files = contents.iter().map(|(name, content)| entry(name, content)).collect();
        sign(&folder, &manifest(uid, attempt, files), &key(1));
        folder
    }

    /// An attempt of which the operator wrote down that there is nothing to trust.
    fn mark(&self, uid: &str, attempt: u32) -> PathBuf {
        let folder = self.attempt(uid, attempt);
        fs::create_dir_all(&folder).unwrap();
        let note = Incomplete {
            task_id: task_id(uid),
            trace_id: TraceId::derive(uid),
            attempt,
            reason: "OOMKilled".into(),
            marked_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        };
        let note = serde_json::to_vec(&note).unwrap();
        fs::write(folder.join("task.json"), task()).unwrap();
        fs::write(folder.join("trace.log"), "half a").unwrap();
        fs::write(folder.join("incomplete.json"), &note).unwrap();
        let sha256 = sha256_hex(&note);
        let trace_id = TraceId::derive(uid);
        let facts = Facts {
            outcome: Outcome::Failed,
            failure: Some(("OOMKilled", "the worker ran out of memory")),
            ..facts(uid, attempt, &trace_id, Bound::Incomplete { sha256: &sha256 })
        };
        put(&folder, &facts, &key(1));
        folder
    }

    fn verify(&self, path: &Path, keys: Option<&str>) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
        command.args(["trace", "verify"]).arg(path);
        if let Some(keys) = keys {
            command.arg("--keys").arg(self.path(keys));
        }
        let human = command.output().unwrap();
        let json = command.args(["--output", "json"]).output().unwrap();
        assert_eq!(human.status.code(), json.status.code());
        let text = String::from_utf8(human.stdout).unwrap() + &String::from_utf8(human.stderr).unwrap();
        Said {
            code: human.status.code().unwrap(),
            text,
            json: serde_json::from_slice(&json.stdout).unwrap_or_default(),
        }
    }
}

fn entry(path: &str, content: &[u8]) -> FileEntry {
    FileEntry {
        path: path.into(),
        kind: FileKind::Report,
        media_type: "text/plain".into(),
        size_bytes: content.len() as u64,
        sha256: sha256_hex(content),
    }
}

fn manifest(uid: &str, attempt: u32, files: Vec<FileEntry>) -> Manifest {
    let time = "2026-03-01T12:00:00Z".parse().unwrap();
    Manifest {
        version: MANIFEST_VERSION.into(),
        task_id: task_id(uid),
        trace_id: TraceId::derive(uid),
        namespace: "team".into(),
        attempt,
        executor: "analysis".into(),
        image: None,
        executor_sha256: None,
        worker: "jct test".into(),
        task_sha256: sha256_hex(&task()),
        source: Some(Source {
            url: "https://git.example/octo/hello.git".into(),
            git_ref: "main".into(),
            commit: "a".repeat(40),
        }),
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
    }
}

fn facts<'a>(uid: &str, attempt: u32, trace_id: &'a TraceId, bound: Bound<'a>) -> Facts<'a> {
    Facts {
        task_id: task_id(uid),
        trace_id,
        namespace: "team",
        submitted_by: Some("ada"),
        attempt,
        executor: "analysis",
        task: serde_json::from_slice(&task()).unwrap(),
        source_url: "https://git.example/octo/hello.git",
        git_ref: "main",
        commit: None,
        images: &[],
        bound,
        announced: None,
        outcome: Outcome::Succeeded,
        failure: None,
        exit_code: Some(0),
        started_at: None,
        ended_at: None,
        builder_id: DEFAULT_BUILDER_ID,
        version: "0.1.0",
        checkpoint: None,
    }
}

/// Writes the manifest and signs what it says.
fn sign(folder: &Path, manifest: &Manifest, key: &SigningKey) {
    let bytes = serde_json::to_vec(manifest).unwrap();
    fs::write(folder.join("manifest.json"), &bytes).unwrap();
    let sha256 = sha256_hex(&bytes);
    let bound = Bound::Manifest { manifest, sha256: &sha256 };
    let facts = Facts { task_id: manifest.task_id, ..facts("", manifest.attempt, &manifest.trace_id, bound) };
    put(folder, &facts, key);
}

fn put(folder: &Path, facts: &Facts, key: &SigningKey) {
    let envelope = key.sign(&Statement::of(facts).to_payload());
    fs::write(folder.join("provenance.dsse.json"), serde_json::to_vec(&envelope).unwrap()).unwrap();
}

fn read_manifest(folder: &Path) -> Manifest {
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

fn write_manifest(folder: &Path, manifest: &Manifest) {
    fs::write(folder.join("manifest.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
}

#[test]
fn good_traces_are_good_one_by_one_and_all_together() {
    let world = World::new();
    let one = world.seal("one", 1);
    let said = world.verify(&one, Some("keys.json"));
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains(&format!("signed by {}", key(1).public().id())), "{}", said.text);
    world.mark("one", 2);
    world.seal("two", 1);
    let said = world.verify(&world.path("traces"), Some("keys.json"));
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.ends_with("3 attempts: 3 good, 0 bad, 1 marked incomplete by the operator\n"), "{}", said.text);
    let attempts = said.json["attempts"].as_array().unwrap();
    let states: Vec<_> = attempts.iter().map(|attempt| (&attempt["state"], &attempt["outcome"])).collect();
    let (complete, incomplete) = (json!("complete"), json!("incomplete"));
    let (succeeded, failed) = (json!("succeeded"), json!("failed"));
    let mut expected = vec![(&complete, &succeeded), (&incomplete, &failed), (&complete, &succeeded)];
    if task_id("two") < task_id("one") {
        expected.rotate_right(1);
    }
    assert_eq!(states, expected);
    assert_eq!(said.json["total"]["good"], 3);
}

#[test]
fn a_copy_elsewhere_is_as_good() {
    let world = World::new();
    let copied = world.path("evidence");
    fs::rename(world.seal("one", 1), &copied).unwrap();
    assert_eq!(world.verify(&copied, Some("keys.json")).code, 0);
}

#[test]
fn a_retired_key_is_still_good() {
    let world = World::new();
    let folder = world.seal("one", 1);
    let first = KeyRing::new(key(1), &[], "2026-03-01T12:00:00Z".parse().unwrap());
    world.keys("rotated.json", &KeyRing::new(key(2), first.public(), "2026-04-01T12:00:00Z".parse().unwrap()));
    assert_eq!(world.verify(&folder, Some("rotated.json")).code, 0);
}

#[test]
fn without_keys_nobody_is_told_that_all_is_good() {
    let world = World::new();
    let folder = world.seal("one", 1);
    let said = world.verify(&folder, None);
    assert_eq!(said.code, 3);
    assert!(said.text.contains("no signature was checked"), "{}", said.text);
    assert_eq!(said.json["attempts"][0]["verdict"], "unchecked");
    fs::write(folder.join("artifacts/report.md"), "other").unwrap();
    assert_eq!(world.verify(&folder, None).code, 1);
}

#[test]
fn what_cannot_be_read_is_no_judgement() {
    let world = World::new();
    let folder = world.seal("one", 1);
    fs::write(world.path("garbage.json"), "{}").unwrap();
    fs::write(world.path("none.json"), r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#).unwrap();
    fs::create_dir(world.path("empty")).unwrap();
    let cases = [
        (world.path("nowhere"), "keys.json", "No such file"),
        (world.path("empty"), "keys.json", "no attempt is here"),
        (folder.clone(), "nowhere.json", "No such file"),
        (folder.clone(), "garbage.json", "no JSON Web Key Set"),
        (folder.clone(), "none.json", "no Ed25519 key"),
        (folder.join("task.json"), "keys.json", "Not a directory"),
    ];
    for (path, keys, why) in cases {
        let said = world.verify(&path, Some(keys));
        assert!(said.code == 2 && said.text.contains(why), "{} {}", said.code, said.text);
    }
}

#[test]
fn keys_are_read_from_standard_input() {
    let world = World::new();
    let folder = world.seal("one", 1);
    let mut command = assert_cmd::Command::cargo_bin("jct").unwrap();
    let keys = fs::read(world.path("keys.json")).unwrap();
    command.args(["trace", "verify", "--keys", "-"]).arg(folder).write_stdin(keys).assert().success();
}

/// The interpreter that `tests/cluster/prerequisites.sh python` has prepared, with a DSSE implementation that is not ours.
fn python() -> PathBuf {
    // Below the target folder there may be one for the platform.
    let folders = Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors().skip(1).take(2);
    let mut found = folders.map(|folder| folder.join("python/bin/python"));
    found.find(|python| python.exists()).expect("there is no target/python: run tests/cluster/prerequisites.sh python")
}

#[test]
fn an_independent_implementation_believes_what_we_sign_and_nothing_else() {
    let world = World::new();
    let folder = world.seal("one", 1);
    world.keys("others.json", &KeyRing::new(key(2), &[], "2026-03-01T12:00:00Z".parse().unwrap()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_dsse.py");
    let run = |keys: &str| {
        Command::new(python())
            .arg(&script)
            .arg(world.path(keys))
            .arg(folder.join("provenance.dsse.json"))
            .output()
            .unwrap()
    };
    let good = run("keys.json");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let statement: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    let manifest = sha256_hex(&fs::read(folder.join("manifest.json")).unwrap());
    assert_eq!(
        statement["subject"][0],
        json!({"name": "manifest.json", "digest": {"sha256": manifest}, "mediaType": "application/json"})
    );
    assert_eq!(run("others.json").status.code(), Some(1));
    tampered::envelope(&folder, |envelope| envelope["payload"] = json!("e30="));
    assert_eq!(run("keys.json").status.code(), Some(1));
}
