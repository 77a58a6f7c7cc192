//! `jct trace verify` on the command line: a good trace, and every way to tamper with one. And what others make of our
//! signatures.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use jct::domain::id::sha256_hex;
use jct::domain::provenance::{Bound, DEFAULT_BUILDER_ID, Facts, Statement};
use jct::domain::trace::{FileEntry, FileKind, Incomplete, MANIFEST_VERSION, Manifest, Outcome, Source};
use jct::domain::{Id, TraceId};
use jct::signing::{KeyRing, SigningKey};
use rstest::rstest;
use serde_json::{Value, json};

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

/// What somebody does to a sealed attempt, and what is said of it.
#[rstest]
#[case::a_file_is_changed(|f: &Path| fs::write(f.join("artifacts/report.md"), "# Report on one, 2").unwrap(), "does not match its digest")]
#[case::a_file_grows(|f: &Path| fs::write(f.join("events.jsonl"), "{}\n{}\n").unwrap(), "another size")]
#[case::a_file_is_removed(|f: &Path| fs::remove_file(f.join("events.jsonl")).unwrap(), "missing")]
#[case::a_file_is_added(|f: &Path| fs::write(f.join("artifacts/extra"), "x").unwrap(), r#"does not name "artifacts/extra""#)]
#[case::a_file_is_added_above(|f: &Path| fs::write(f.join("notes"), "x").unwrap(), r#"does not name "notes""#)]
#[case::a_link_is_added(|f: &Path| symlink("/etc/hostname", f.join("artifacts/link")).unwrap(), r#"does not name "artifacts/link""#)]
#[case::a_note_is_added(|f: &Path| fs::write(f.join("incomplete.json"), "{}").unwrap(), r#"does not name "incomplete.json""#)]
#[case::a_file_becomes_a_link_to_the_same(become_link, "no plain file")]
#[case::a_folder_becomes_a_link_to_the_same(become_linked_folder, "no plain file")]
#[case::a_file_becomes_a_pipe(become_pipe, "no plain file")]
#[case::a_file_has_another_name_elsewhere(become_hard_link, "hard link")]
#[case::a_file_becomes_a_folder(become_folder, "no plain file")]
#[case::the_task_is_changed(change_task, "task_sha256 differs")]
#[case::the_manifest_is_garbled(|f: &Path| fs::write(f.join("manifest.json"), "{}").unwrap(), "cannot be read")]
#[case::the_manifest_is_huge(|f: &Path| fs::write(f.join("manifest.json"), " ".repeat(5 << 20)).unwrap(), "too large")]
#[case::the_manifest_is_removed(|f: &Path| fs::remove_file(f.join("manifest.json")).unwrap(), "neither manifest.json nor incomplete.json")]
#[case::the_manifest_is_rewritten_to_fit(rewrite, "of other files: \"artifacts/report.md\" and 1 more")]
#[case::the_manifest_leads_out(lead_out, "outside the folder")]
#[case::the_attempt_is_called_another(|f: &Path| write_manifest(f, &Manifest { attempt: 7, ..read_manifest(f) }), "of another attempt: attempt, invocationId differ")]
#[case::the_signature_is_stripped(|f: &Path| fs::remove_file(f.join("provenance.dsse.json")).unwrap(), "provenance.dsse.json is missing")]
#[case::the_signatures_are_emptied(|f: &Path| envelope(f, |e| e["signatures"] = json!([])), "not signed")]
#[case::the_signature_is_changed(|f: &Path| envelope(f, |e| e["signatures"][0]["sig"] = json!("AAAA")), "does not hold")]
#[case::the_statement_is_changed(|f: &Path| envelope(f, |e| e["payload"] = json!("e30=")), "does not hold")]
#[case::another_type_is_claimed(|f: &Path| envelope(f, |e| e["payloadType"] = json!("text/plain")), "does not hold")]
#[case::the_provenance_is_garbled(|f: &Path| fs::write(f.join("provenance.dsse.json"), "{").unwrap(), "no DSSE envelope")]
#[case::the_provenance_becomes_a_link(link_provenance, "no plain file")]
#[case::all_is_made_anew_with_another_key(|f: &Path| sign(f, &read_manifest(f), &key(2)), "none of the given keys")]
#[case::the_manifest_is_replaced_by_a_note(pretend_incomplete, "of other files")]
fn tampering_is_told(#[case] tamper: fn(&Path), #[case] problem: &str) {
    let world = World::new();
    let folder = world.seal("one", 1);
    world.seal("two", 1);
    tamper(&folder);
    let said = world.verify(&folder, Some("keys.json"));
    assert!(said.text.contains(problem), "{}", said.text);
    assert_eq!(said.code, 1, "{}", said.text);
    assert_eq!(said.json["attempts"][0]["verdict"], "bad");
    let all = world.verify(&world.path("traces"), Some("keys.json"));
    assert_eq!(
        (all.code, &all.json["total"]["bad"], &all.json["total"]["good"]),
        (1, &json!(1), &json!(1)),
        "{}",
        all.text
    );
}

fn envelope(folder: &Path, change: fn(&mut Value)) {
    let path = folder.join("provenance.dsse.json");
    let mut envelope = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut envelope);
    fs::write(path, envelope.to_string()).unwrap();
}

/// Moves the report out of the traces and returns where it then is.
fn moved(folder: &Path) -> PathBuf {
    let elsewhere = folder.ancestors().nth(4).unwrap().join("elsewhere");
    fs::rename(folder.join("artifacts/report.md"), &elsewhere).unwrap();
    elsewhere
}

fn become_link(folder: &Path) {
    let elsewhere = moved(folder);
    symlink(elsewhere, folder.join("artifacts/report.md")).unwrap();
}

fn become_linked_folder(folder: &Path) {
    let elsewhere = folder.ancestors().nth(4).unwrap().join("elsewhere");
    fs::rename(folder.join("artifacts"), &elsewhere).unwrap();
    symlink(elsewhere, folder.join("artifacts")).unwrap();
}

fn become_hard_link(folder: &Path) {
    let elsewhere = moved(folder);
    fs::hard_link(elsewhere, folder.join("artifacts/report.md")).unwrap();
}

fn become_pipe(folder: &Path) {
    moved(folder);
    nix::unistd::mkfifo(&folder.join("artifacts/report.md"), nix::sys::stat::Mode::S_IRWXU).unwrap();
}

fn become_folder(folder: &Path) {
    moved(folder);
    fs::create_dir(folder.join("artifacts/report.md")).unwrap();
}

fn change_task(folder: &Path) {
    let mut task: Value = serde_json::from_slice(&task()).unwrap();
    task["objective"] = json!("Look away");
    fs::write(folder.join("task.json"), task.to_string()).unwrap();
}

/// Everything but the signature fits together again.
fn rewrite(folder: &Path) {
    fs::write(folder.join("artifacts/report.md"), "# Nothing to see").unwrap();
    let mut manifest = read_manifest(folder);
    let file = manifest.files.iter_mut().find(|file| file.path == "artifacts/report.md").unwrap();
    *file = entry("artifacts/report.md", b"# Nothing to see");
    write_manifest(folder, &manifest);
}

fn lead_out(folder: &Path) {
    let mut manifest = read_manifest(folder);
    manifest.files.push(FileEntry { path: "../../../../keys.json".into(), ..manifest.files[0].clone() });
    write_manifest(folder, &manifest);
}

fn link_provenance(folder: &Path) {
    let elsewhere = folder.ancestors().nth(4).unwrap().join("elsewhere");
    fs::rename(folder.join("provenance.dsse.json"), &elsewhere).unwrap();
    symlink(elsewhere, folder.join("provenance.dsse.json")).unwrap();
}

fn pretend_incomplete(folder: &Path) {
    let manifest = read_manifest(folder);
    let note = Incomplete {
        task_id: manifest.task_id,
        trace_id: manifest.trace_id,
        attempt: manifest.attempt,
        reason: "OOMKilled".into(),
        marked_at: manifest.ended_at,
    };
    fs::remove_file(folder.join("manifest.json")).unwrap();
    fs::write(folder.join("incomplete.json"), serde_json::to_vec(&note).unwrap()).unwrap();
}

#[test]
fn a_task_that_was_not_signed_is_told_though_the_manifest_fits_it() {
    let world = World::new();
    let folder = world.mark("one", 1);
    change_task(&folder);
    let said = world.verify(&folder, Some("keys.json"));
    assert!(said.text.contains("not the Task that was signed"), "{}", said.text);
    assert_eq!(said.code, 1);
}

#[test]
fn the_provenance_of_another_attempt_does_not_fit() {
    let world = World::new();
    let (first, second) = (world.seal("one", 1), world.seal("one", 2));
    fs::copy(second.join("provenance.dsse.json"), first.join("provenance.dsse.json")).unwrap();
    let said = world.verify(&first, Some("keys.json"));
    assert_eq!((said.code, &said.json["attempts"][0]["signature"]), (1, &json!("valid")));
    assert!(said.text.contains("of another attempt: attempt, invocationId differ"), "{}", said.text);
    assert!(said.text.contains("of other files"), "{}", said.text);
}

#[test]
fn an_attempt_in_the_place_of_another_is_told() {
    let world = World::new();
    let (first, second) = (world.seal("one", 1), world.seal("one", 2));
    fs::remove_dir_all(&first).unwrap();
    fs::rename(second, &first).unwrap();
    let said = world.verify(&world.path("traces"), Some("keys.json"));
    assert_eq!(said.code, 1);
    assert!(said.text.contains("is another one"), "{}", said.text);
}

#[test]
fn a_trace_in_the_folder_of_another_namespace_is_told() {
    let world = World::new();
    let folder = world.seal("one", 1);
    let whole = world.verify(&folder, Some("keys.json"));
    assert_eq!((whole.code, &whole.json["attempts"][0]["namespace"]), (0, &json!("team")), "{}", whole.text);
    let task = folder.parent().unwrap();
    let other = world.path("traces/other");
    fs::create_dir_all(&other).unwrap();
    fs::rename(task, other.join(task.file_name().unwrap())).unwrap();
    let said = world.verify(&world.path("traces"), Some("keys.json"));
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(said.text.contains("in the folder \"other\", and is a trace of the namespace \"team\""), "{}", said.text);
    let note = world.mark("two", 1);
    let moved = other.join(note.parent().unwrap().file_name().unwrap());
    fs::rename(note.parent().unwrap(), &moved).unwrap();
    let said = world.verify(&moved, Some("keys.json"));
    assert!(said.code == 1 && said.text.contains("of the namespace"), "{}", said.text);
}

#[test]
fn what_binds_nothing_is_told_and_not_judged() {
    let world = World::new();
    let folder = world.seal("one", 1);
    assert_eq!(world.verify(&folder, Some("keys.json")).json["attempts"][0]["notes"], json!([]));
    fs::create_dir_all(folder.join("artifacts/evil/deep")).unwrap();
    let aside = folder.parent().unwrap().join(".removed-7");
    fs::create_dir(&aside).unwrap();
    let said = world.verify(&world.path("traces"), Some("keys.json"));
    assert_eq!((said.code, &said.json["total"]["removed"]), (0, &json!(1)), "{}", said.text);
    assert!(said.text.contains("\"artifacts/evil\" is a folder without a file"), "{}", said.text);
    assert!(said.text.contains("REMOVED") && said.text.contains("set aside"), "{}", said.text);
    assert_eq!(said.json["total"]["checked"], 1);
}

#[test]
fn a_link_in_the_place_of_an_attempt_is_told() {
    let world = World::new();
    let (first, second) = (world.seal("one", 1), world.attempt("one", 2));
    symlink(first, second).unwrap();
    let said = world.verify(&world.path("traces"), Some("keys.json"));
    assert_eq!((said.code, &said.json["total"]["good"]), (1, &json!(1)));
    assert!(said.text.contains("it is a link"), "{}", said.text);
}

#[test]
fn a_changed_note_is_told() {
    let world = World::new();
    let folder = world.mark("one", 1);
    let note = fs::read_to_string(folder.join("incomplete.json")).unwrap();
    fs::write(folder.join("incomplete.json"), note.replace("OOMKilled", "Evicted")).unwrap();
    let said = world.verify(&folder, Some("keys.json"));
    assert!(said.text.contains("of other files"), "{}", said.text);
    assert_eq!(said.code, 1);
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
    envelope(&folder, |envelope| envelope["payload"] = json!("e30="));
    assert_eq!(run("keys.json").status.code(), Some(1));
}
