//! `jct run` and git, as people use both: what a checkout has, and whether what is delivered is what was asked for.

use std::fs;
use std::path::PathBuf;

use rstest::rstest;
use serde_json::{Value, json};

use crate::machine::{Machine, manifest_in, outcome};

/// `jct run` of a Task that changes the repository by `patch`.
fn patched(machine: &Machine, patch: &str) -> (i32, Value) {
    let fields = json!({"operation": "code_change", "inputs": {"patch": patch}});
    let (code, reported, _) = outcome(machine.command(&fields).output().unwrap());
    (code, reported)
}

fn artifact(reported: &Value, name: &str) -> PathBuf {
    PathBuf::from(reported["trace_folder"].as_str().unwrap()).join("artifacts").join(name)
}

/// A project that keeps a file which its own `.gitignore` names, as people do with `git add -f`.
fn with_ignored_folder() -> Machine {
    let machine = Machine::new();
    fs::write(machine.path("repo/.gitignore"), "lib/\n*.log\n").unwrap();
    machine.commit("Ignore");
    machine
}

#[rstest]
#[case::beside_another(&["README.md", "lib/util.py"])]
#[case::alone(&["lib/util.py"])]
fn a_patch_is_delivered_whole_with_files_that_gitignore_names(#[case] files: &[&str]) {
    let machine = with_ignored_folder();
    fs::create_dir(machine.path("repo/lib")).unwrap();
    for file in files {
        fs::write(machine.path("repo").join(file), "changed\n").unwrap();
    }
    machine.git("repo", &["add", "-A", "-f"]);
    let patch = machine.git("repo", &["diff", "--cached"]);
    machine.git("repo", &["reset", "-q", "--hard"]);
    let (code, reported) = patched(&machine, &patch);
    assert_eq!(code, 0, "{reported}");
    assert_eq!(manifest_in(&reported).change.unwrap().files_changed, files.len() as u64);
    assert_eq!(
        fs::read_to_string(artifact(&reported, "change.patch")).unwrap().matches("\n+changed\n").count(),
        files.len()
    );
    machine.check();
}

#[test]
fn what_a_command_makes_is_delivered_though_gitignore_names_it() {
    let machine = with_ignored_folder();
    let fields = json!({"operation": "code_change"});
    let (code, reported, log) = machine.run_script(&fields, "mkdir lib; echo x > lib/util.py; echo x > a.log");
    assert_eq!(code, 0, "{reported}");
    assert_eq!(manifest_in(&reported).change.unwrap().files_changed, 2);
    assert!(log.contains("ignored_files=2"), "{log}");
}

#[test]
fn what_gitignore_names_is_left_out_and_told_where_that_is_configured() {
    let machine = with_ignored_folder();
    let script = "mkdir lib; echo x > lib/util.py; echo x > new.txt";
    let configuration = json!({"executors": [{"name": "builder", "operations": ["code_change"], "image": "x",
        "command": ["sh", "-c", script], "outputs": {"ignoredFiles": "leave-out"}}]});
    fs::write(machine.path("executors.yaml"), configuration.to_string()).unwrap();
    let mut command = machine.command(&json!({"operation": "code_change", "executor": "builder"}));
    command.arg("--executors").arg(machine.path("executors.yaml"));
    let (code, reported, log) = outcome(command.output().unwrap());
    assert_eq!(code, 0, "{reported} {log}");
    assert_eq!(manifest_in(&reported).change.unwrap().files_changed, 1);
    assert!(log.contains(r#"change_left_out files=1 named_by_gitignore="\"lib/util.py\"""#), "{log}");
}

#[test]
fn a_reviewer_fetches_the_change_from_its_bundle() {
    let machine = Machine::new();
    let (code, reported) = patched(&machine, "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-# Hello\n+# Bye\n");
    assert_eq!(code, 0, "{reported}");
    machine.git(".", &["clone", "-q", "repo", "review"]);
    fs::copy(artifact(&reported, "change.bundle"), machine.path("review/change.bundle")).unwrap();
    machine.git("review", &["fetch", "-q", "change.bundle"]);
    assert_eq!(machine.git("review", &["show", "FETCH_HEAD:README.md"]), "# Bye\n");
}

#[test]
fn crlf_survives_json_and_its_loss_in_a_yaml_block_is_named() {
    let machine = Machine::new();
    fs::write(machine.path("repo/notes.txt"), "first\r\nsecond\r\n").unwrap();
    machine.commit("Notes");
    let patch = "--- a/notes.txt\n+++ b/notes.txt\n@@ -1,2 +1,2 @@\n first\r\n-second\r\n+2nd\r\n";
    let (code, reported) = patched(&machine, patch);
    assert_eq!(code, 0, "{reported}");
    assert!(fs::read_to_string(artifact(&reported, "change.patch")).unwrap().contains("\n+2nd\r\n"));
    let mut command = machine.command(&json!({"operation": "code_change"}));
    let block: String = patch.split_inclusive('\n').map(|line| format!("      {line}")).collect();
    let yaml = format!(
        "apiVersion: jct.dev/v1\nkind: Task\nmetadata: {{name: crlf}}\nspec:\n  requestedBy: {{kind: human, id: ada}}\n  \
         objective: Change a line\n  operation: code_change\n  target: {{repo: octo/hello}}\n  inputs:\n    patch: |\n{block}"
    );
    fs::write(machine.path("task.yaml"), yaml).unwrap();
    let (code, reported, _) = outcome(command.output().unwrap());
    let message = reported["error"]["message"].as_str().unwrap();
    assert_eq!(code, 1, "{reported}");
    assert!(message.contains("end with CRLF in the file and with LF in the patch; a YAML block"), "{message}");
}

#[rstest]
#[case::a_branch("main")]
#[case::a_tag("v1.2.0")]
fn git_says_of_the_checkout_what_it_says_of_a_clone(#[case] git_ref: &str) {
    let machine = Machine::new();
    machine.git("repo", &["tag", "-a", "-m", "Release", "v1.2.0"]);
    machine.git("repo", &["checkout", "-q", "-b", "elsewhere"]);
    fs::write(machine.path("repo/x"), "1\n").unwrap();
    machine.commit("Elsewhere");
    machine.git("repo", &["tag", "other"]);
    machine.git("repo", &["checkout", "-q", "main"]);
    fs::write(machine.path("repo/y"), "1\n").unwrap();
    machine.commit("Two");
    let fields = json!({"target": {"repo": "octo/hello", "ref": git_ref}});
    // Neither is anything changed, though the files may be another user's now.
    let script = "git describe --tags --long --dirty >\"$JCT_OUT/version\"; git tag --list >\"$JCT_OUT/tags\"\n\
                  git diff-index --quiet HEAD -- && git diff-files --quiet && touch \"$JCT_OUT/unchanged\"";
    let (code, reported, log) = machine.run_script(&fields, script);
    assert_eq!(code, 0, "{log}");
    let expected = machine.git("repo", &["describe", "--tags", "--long", git_ref]);
    assert_eq!(fs::read_to_string(artifact(&reported, "version")).unwrap(), expected);
    assert_eq!(fs::read_to_string(artifact(&reported, "tags")).unwrap(), "v1.2.0\n");
    assert!(artifact(&reported, "unchanged").exists(), "a file counts as changed");
    assert!(log.contains("tags=1"), "{log}");
}

#[rstest]
#[case::shallow(&["--depth=1"], "git fetch --unshallow")]
#[case::partial(&["--filter=blob:none", "--no-checkout"], "git fetch --refetch --no-filter")]
fn a_source_that_has_not_all_is_named(#[case] how: &[&str], #[case] expected: &str) {
    let machine = Machine::new();
    fs::write(machine.path("repo/README.md"), "# Bye\n").unwrap();
    machine.commit("Two");
    machine.git("repo", &["config", "uploadpack.allowFilter", "true"]);
    let url = |folder: &str| format!("file://{}", machine.path(folder).display());
    machine.git(".", &[&["clone", "-q"], how, &[&url("repo"), "part"]].concat());
    let (code, reported, log) = outcome(machine.command_on(&url("part"), &json!({})).output().unwrap());
    assert_eq!((code, &reported["error"]["reason"]), (1, &json!("SourceUnavailable")), "{log}");
    assert!(reported["error"]["message"].as_str().unwrap().contains(expected), "{reported}");
}
