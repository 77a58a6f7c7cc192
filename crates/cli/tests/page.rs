//! docs/cli.md is what the arguments make, and shells complete them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_page_of_the_command_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = jct_cli::docs::page();
    if std::env::var_os("JCT_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/cli.md is stale: run `make generate`");
}

#[test]
fn every_command_has_its_section() {
    let page = jct_cli::docs::page();
    for command in jct_cli::command().get_subcommands() {
        assert!(page.contains(&format!("## kubectl jct {}\n", command.get_name())), "{}", command.get_name());
    }
}

/// Asked by kubectl, with the words so far, the program tells what may follow.
#[test]
fn kubectl_completes_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_kubectl-jct"));
    let asked = folder.path().join("kubectl_complete-jct");
    fs::write(&asked, jct_cli::docs::KUBECTL_COMPLETE).unwrap();
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let complete = |words: &[&str]| {
        let done = Command::new("bash").arg(&asked).args(words).env("PATH", &path).output().unwrap();
        String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["tr"]), ["trace", ":4"]);
    assert_eq!(complete(&["logs", "--stream", ""]), ["trace", "stdout", "stderr", ":4"]);
    assert!(complete(&["trace", ""]).contains(&"verify".to_owned()));
    assert!(complete(&["get", "--out"]).contains(&"--output".to_owned()));
}
