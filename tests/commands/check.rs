//! `jct check` as hooks and CI call it: exit codes, many documents, standard input, JSON.

use std::fs;
use std::path::Path;

use crate::odd_manifests::{Verdict, corpus};
use assert_cmd::Command;
use serde_json::Value;

/// The repositories that the odd manifests may name.
const PREFIXES: &str = "demo/,half/na";

const GOOD: &str = "apiVersion: jct.dev/v1\nkind: Task\nmetadata: {name: good}\nspec:\n  requestedBy: {kind: human, id: ada}\n  \
    objective: Look around\n  operation: analysis\n  target: {repo: octo/hello}\n";

/// Exit code and output for a manifest on standard input.
fn check(manifest: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("jct").unwrap();
    command
        .env_remove("JCT_ALLOWED_REPO_PREFIXES")
        .env_remove("JCT_EXECUTORS_FILE")
        .env_remove("JCT_FORGES_FILE")
        .args(["check", "-f", "-"])
        .args(arguments);
    let output = command.write_stdin(manifest.to_owned()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_good_task_passes() {
    let (code, out, _) = check(GOOD, &["--allowed-repo-prefixes", "octo/"]);
    assert_eq!((code, out.as_str()), (0, "-#1: Task good: allowed\n1 checked, 0 refused\n"));
}

#[test]
fn every_document_and_every_finding_is_shown() {
    let bad = GOOD.replace("good", "bad").replace("analysis", "deploy") + "  constraints: {allowNetwork: true}\n";
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";
    let all = format!("{GOOD}---\n{config}---\n{bad}---\n");
    let (code, out, _) = check(&all, &["--allowed-repo-prefixes", "octo/"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!("many_documents", out);
}

#[test]
fn work_objects_are_read_too() {
    let issue = "apiVersion: jct.dev/v1\nkind: Issue\nmetadata: {name: i}\nspec:\n  repo: {kind: Run, name: hello}\n  \
        title: Greet\n  type: epic\n";
    let unknown = "apiVersion: jct.dev/v1\nkind: Isue\nmetadata: {name: i}\n";
    let (code, out, _) = check(&format!("{issue}---\n{unknown}"), &[]);
    assert_eq!(code, 1);
    insta::assert_snapshot!("work_objects", out);
}

#[test]
fn json_is_for_programs() {
    let (code, out, _) = check(GOOD, &["--output", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!(report["allowed"], false);
    assert_eq!(report["documents"][0]["violations"][0]["code"], "REPO_NOT_ALLOWED");
    assert_eq!(report["documents"][0]["violations"][0]["field"], "spec.target.repo");
}

#[test]
fn what_an_admitted_task_will_fail_of_is_told_and_is_no_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("executors.yaml");
    let agent = "{name: agent, operations: [code_change], namespaces: [team], image: a, command: [a]}";
    fs::write(&file, format!("executors: [{agent}]\n")).unwrap();
    let configured = ["--executors", file.to_str().unwrap()];
    let warned = |manifest: &str, more: &[&str]| {
        let arguments = [&["--allowed-repo-prefixes", "octo/"], more].concat();
        let (code, out, error) = check(manifest, &arguments);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        let warnings: Vec<String> =
            out.lines().filter_map(|line| line.strip_prefix("  warning: ")).map(str::to_owned).collect();
        let (code, out, _) = check(manifest, &[&arguments[..], &["--output", "json"]].concat());
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &report["allowed"]), (0, &Value::Bool(true)));
        assert_eq!(report["documents"][0]["warnings"], Value::from(warnings.clone()));
        warnings
    };
    let change = GOOD.replace("analysis", "code_change");
    let without = warned(&change, &[]);
    assert!(without.len() == 1 && without[0].starts_with("spec.inputs.patch is missing"), "{without:?}");
    assert!(without[0].ends_with("unless another executor is configured (--executors FILE)"), "{without:?}");
    assert!(!warned(&change, &configured)[0].contains("--executors"), "what is configured is known");
    assert_eq!(warned(&format!("{change}  inputs: {{patch: '--- a/x'}}\n"), &[]), [""; 0]);

    // Of names nothing is known without a configuration.
    let named = format!("{change}  executor: agent\n");
    assert_eq!(warned(&named, &[]), [""; 0]);
    assert_eq!(warned(&named, &[&configured[..], &["--namespace", "team"]].concat()), [""; 0]);
    let elsewhere = warned(&named, &configured);
    assert!(elsewhere[0].contains("\"agent\" is not for namespace default"), "{elsewhere:?}");
    let of_another = named.replace("{name: good}", "{name: good, namespace: team}");
    assert_eq!(warned(&of_another, &configured), [""; 0], "the manifest's own namespace counts");
    let unknown = warned(&named.replace("agent", "nobody"), &configured);
    assert!(unknown[0].contains("\"nobody\" is not configured"), "{unknown:?}");

    let large = format!("{GOOD}  inputs: {{text: {}}}\n", "x".repeat(201 * 1024));
    assert!(warned(&large, &[])[0].contains("kubectl apply --server-side"));
    let refused = change.replace("octo/", "evil/");
    let (code, out, _) = check(&refused, &["--allowed-repo-prefixes", "octo/"]);
    assert!(code == 1 && !out.contains("warning"), "{out}");
    let (code, _, error) = check(GOOD, &["--executors", "/does/not/exist"]);
    assert!(code == 2 && error.starts_with("jct check: --executors /does/not/exist: "), "{error}");
}

#[test]
fn a_list_is_its_items() {
    let item = GOOD.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  -\n{item}");
    let (code, out, _) = check(&list, &["--allowed-repo-prefixes", "octo/"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 checked"));
}

#[test]
fn what_cannot_be_read_is_not_a_violation() {
    for garbage in ["a: [1", "\t", "a: &a [*a]\n", "? {a: b}\n: c\n", &"[".repeat(10_000), "{\"a\": 1e400}"] {
        let (code, out, error) = check(garbage, &[]);
        assert_eq!(code, 2, "{garbage:.20}: {out}{error}");
        assert!(error.starts_with("jct check: -: "), "{error}");
    }
    let output = Command::cargo_bin("jct").unwrap().args(["check", "-f", "/does/not/exist.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = Command::cargo_bin("jct").unwrap().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "no file is a mistake in usage");
}

/// Exit code and output of `jct check` in `folder`.
fn check_in(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::cargo_bin("jct").unwrap();
    command.env_remove("JCT_ALLOWED_REPO_PREFIXES").current_dir(folder);
    let output = command.args(["check", "--allowed-repo-prefixes", "octo/"]).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

#[test]
fn files_folders_patterns_and_names_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("manifests/below");
    fs::create_dir_all(&below).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join("manifests").join(name), text).unwrap();
    write("one.yaml", GOOD);
    write("two.yml", &GOOD.replace("analysis", "deploy"));
    write("three.json", "{}");
    write("README.md", "{");
    write("below/four.yaml", GOOD);
    for (arguments, expected) in [
        (&["-f", "manifests"][..], "2 checked, 1 refused"),
        (&["manifests"], "2 checked, 1 refused"),
        (&["-f", "manifests", "-R"], "3 checked, 1 refused"),
        (&["-f", "manifests/*.y*ml"], "2 checked, 1 refused"),
        (&["-f", "manifests/one.yaml", "manifests/two.yml"], "2 checked, 1 refused"),
        (&["manifests/one.yaml", "manifests/two.yml"], "2 checked, 1 refused"),
        (&["-f", "manifests/one.yaml", "-f", "manifests/two.yml"], "2 checked, 1 refused"),
        (&["-f", "manifests/one.yaml,x", "manifests/two.yml"], "1 checked, 1 refused"),
    ] {
        let (code, out) = check_in(folder.path(), arguments);
        assert!(out.contains(expected), "{arguments:?}: {out}");
        assert_eq!(code, if out.contains("jct check: ") { 2 } else { 1 }, "{arguments:?}: {out}");
        assert!(!out.contains("README"), "{out}");
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (nothing, why) in
        [("empty", "there is no manifest in it"), ("no*", "No such file"), ("nowhere.yaml", "No such file")]
    {
        let (code, out) = check_in(folder.path(), &["-f", nothing]);
        assert!(code == 2 && out.contains(nothing) && out.contains(why), "{out}");
    }
}

#[test]
fn what_can_be_read_is_told_beside_what_can_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), format!("{GOOD}---\na: [1\n")).unwrap();
    fs::write(folder.path().join("b.yaml"), GOOD.replace("analysis", "deploy")).unwrap();
    let (code, out) = check_in(folder.path(), &["a.yaml", "b.yaml"]);
    assert_eq!(code, 2);
    for expected in
        ["a.yaml#1: Task good: allowed", "b.yaml#1: Task good: refused", "jct check: a.yaml: document 2: line "]
    {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[test]
fn a_second_object_without_a_separator_is_no_silence() {
    let (code, out, _) = check(&GOOD.repeat(2), &["--allowed-repo-prefixes", "octo/"]);
    assert_eq!(code, 1);
    assert!(out.contains("INVALID_SPEC: kind: is given more than once"), "{out}");
}

/// The verdicts are those of a real API server: `tests/e2e/offline_gate.rs`.
#[test]
fn odd_manifests_are_judged_as_the_cluster_judges_them() {
    let corpus = corpus();
    let (file, mut wrong) = (tempfile::NamedTempFile::new().unwrap(), Vec::new());
    for odd in &corpus {
        fs::write(file.path(), &odd.bytes).unwrap();
        let mut command = Command::cargo_bin("jct").unwrap();
        command.args(["check", "--allowed-repo-prefixes", PREFIXES, "-f"]).arg(file.path());
        let output = command.output().unwrap();
        let verdict = if output.status.success() { Verdict::Accepted } else { Verdict::Refused };
        if verdict != odd.check || !matches!(output.status.code(), Some(0..=2)) {
            let reported =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            wrong.push(format!("{}: {verdict:?} {:.300}", odd.name, reported));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    let differ: Vec<_> = corpus.iter().filter(|odd| odd.check != odd.cluster).collect();
    assert!(corpus.len() > 380 && differ.len() < 16, "{} of {}", differ.len(), corpus.len());
    assert!(corpus.iter().all(|odd| (odd.check != odd.cluster) == odd.differs.is_some()));
}

#[test]
fn the_examples_are_what_their_names_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (code, out, _) =
            check(&std::fs::read_to_string(&path).unwrap(), &["--allowed-repo-prefixes", "jct/,burntsushi/"]);
        assert_eq!(code, i32::from(name.starts_with("denied")), "{name}: {out}");
    }
}

#[test]
fn the_examples_of_executors_are_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/executors");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path().join("executors.yaml");
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let executors =
            jct::domain::executor::Executors::read(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let found = executors.resolve("team-a", jct::domain::task::Operation::Docs, Some(&name));
        assert_eq!(found.unwrap().name, name);
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["aider", "claude-code", "codex", "gemini-cli", "opencode", "scripted-agent"]);
}

#[test]
fn who_delivers_where_they_may_not_is_told_offline() {
    let folder = tempfile::tempdir().unwrap();
    let forges = folder.path().join("forges.yaml");
    let granted = "[{name: own, kind: gitea, repos: [octo/], git: 'https://g/{repo}', api: 'https://g/api/v1', write: {secret: w}, \
                   grants: [{namespaces: [team], repos: [octo/], deliver: [branch]}]}]";
    fs::write(&forges, granted).unwrap();
    let task = GOOD.replace("analysis", "docs") + "  delivery: {mode: branch}\n";
    let by = |namespace: &str| {
        let file = forges.display().to_string();
        check(&task, &["--allowed-repo-prefixes", "octo/", "--namespace", namespace, "--forges", &file])
    };
    assert_eq!(by("team").0, 0);
    let (code, out, _) = by("team-evil");
    assert!(code == 1 && out.contains("DELIVERY_NOT_ALLOWED: spec.delivery.mode: no grant of the forge own"), "{out}");
    // Without the configuration nothing is said of it.
    assert_eq!(check(&task, &["--allowed-repo-prefixes", "octo/"]).0, 0);
    fs::write(&forges, "[{name: own}]").unwrap();
    let (code, _, error) = by("team");
    assert!(code == 2 && error.contains("forges.yaml"), "{error}");
}
