//! `jct trace verify` of a trace that somebody has changed: every way is told.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use jct::domain::trace::{FileEntry, Incomplete, Manifest};
use rstest::rstest;
use serde_json::{Value, json};

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

pub fn envelope(folder: &Path, change: fn(&mut Value)) {
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
