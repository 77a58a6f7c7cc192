//! The worker's steps as a pod runs them: the real binary, real repositories, a real git server on the loopback.

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

mod worker_support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use jct::domain::FailureReason;
use jct::domain::trace::Outcome;
use rstest::rstest;
use worker_support::{Pod, Repository, Server, scripted};

#[test]
fn source_and_run_leave_a_trace_that_verifies() {
    let repository = Repository::new();
    repository.write("src/main.rs", "// TODO: say more\nfn main() {}\n");
    repository.write("README.md", "# Hello\n");
    let commit = repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    let termination = pod.source();
    assert_eq!((termination.outcome, termination.manifest_sha256), (Outcome::Succeeded, None));
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    pod.verify(&termination, &manifest);
    assert_eq!(manifest.exit_code, Some(0));
    let source = manifest.source.clone().unwrap();
    assert_eq!((source.commit.as_str(), source.git_ref.as_str()), (commit.as_str(), "main"));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "artifacts/report.json",
            "artifacts/report.md",
            "claim.json",
            "events.jsonl",
            "stderr.log",
            "stdout.log",
            "task.json",
            "trace.log"
        ]
    );
    assert_eq!(
        pod.events().iter().map(|event| (event.seq, event.event.as_str())).collect::<Vec<_>>(),
        [
            (1, "source_started"),
            (2, "source_fetched"),
            (3, "executor_started"),
            (4, "executor_confined"),
            (5, "executor_ended"),
            (6, "attempt_ended")
        ]
    );
    assert!(pod.report().contains("say more"), "{}", pod.report());
}

#[test]
fn a_tag_a_commit_a_full_name_and_head() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let first = repository.commit("first");
    repository.git(&["tag", "-a", "-m", "note", "v1"]);
    repository.write("a", "2\n");
    let second = repository.commit("second");
    let server = Server::start(&repository);
    for (git_ref, expected) in [("v1", &first), (&first, &first), ("refs/heads/main", &second), ("HEAD", &second)] {
        let pod = Pod::new(&server, git_ref);
        assert_eq!(pod.source().outcome, Outcome::Succeeded, "{git_ref}");
        assert_eq!(&pod.checked_out(), expected, "{git_ref}");
    }
}

#[test]
fn a_server_that_gives_no_commit_by_its_id() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let first = repository.commit("first");
    repository.commit("second");
    let server = Server::start(&repository);
    // Git servers that speak version 2 of the protocol give any; this stands for the others.
    let refusing = format!("case \"$*\" in *+{first}:*) exit 128;; esac\nPATH=\"${{PATH#*:}}\" exec git \"$@\"");
    let pod = Pod::new(&server, &first).with_git(&refusing);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    assert_eq!(pod.checked_out(), first);
}

#[test]
fn history_is_complete() {
    let repository = Repository::new();
    for n in 0..3 {
        repository.write("a", &n.to_string());
        repository.commit("change");
    }
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    assert_eq!(pod.git_in_checkout(&["rev-list", "--count", "HEAD"]).trim(), "3");
}

#[rstest]
#[case("no-such-branch", "no such branch")]
#[case("--upload-pack=touch /tmp/x", "must not begin with '-'")]
#[case("-q", "must not begin with '-'")]
#[case("deadbeef", "full one")]
#[case("0123456789012345678901234567890123456789", "no branch or tag leads")]
fn a_ref_that_is_not_there(#[case] git_ref: &str, #[case] message: &str) {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, git_ref);
    pod.source_fails(FailureReason::RefNotFound, message);
}

#[test]
fn an_empty_repository_has_no_ref() {
    let repository = Repository::new();
    let server = Server::start(&repository);
    Pod::new(&server, "main").source_fails(FailureReason::RefNotFound, "no such branch");
}

#[test]
fn a_repository_that_cannot_be_reached() {
    let repository = Repository::new();
    let server = Server::start(&repository);
    let url = server.url.replace("git://", "git://me:hunter22@").replace("/repo", "/nothing-here");
    let pod = Pod::at(&url, "main");
    let termination = pod.source();
    assert_eq!(termination.reason, Some(FailureReason::SourceUnavailable));
    let all = format!("{termination:?}{}", pod.trace_text());
    assert!(!all.contains("hunter22"), "{all}");
}

#[rstest]
#[case("../../etc", "out of the repository")]
#[case("/etc", "out of the repository")]
#[case("nothing", "no such file or folder")]
#[case("out", "symlink")]
#[case("out/passwd", "symlink")]
fn a_path_that_leads_nowhere_good(#[case] path: &str, #[case] message: &str) {
    let repository = Repository::new();
    repository.write("src/a", "1\n");
    symlink("/etc", repository.path().join("out")).unwrap();
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_path(path);
    pod.source_fails(FailureReason::PathNotFound, message);
    assert!(pod.work().join("source/src").symlink_metadata().is_err(), "nothing is checked out");
}

#[test]
fn a_bomb_of_trees_is_not_unpacked() {
    let repository = Repository::new();
    let blob = repository.git_with_input(&["hash-object", "-w", "--stdin"], b"boom");
    let mut object = format!("100644 blob {}", blob.trim());
    for _ in 0..10 {
        let listing: String = (0..10).map(|n| format!("{object}\tf{n}\n")).collect();
        let tree = repository.git_with_input(&["mktree"], listing.as_bytes());
        object = format!("040000 tree {}", tree.trim());
    }
    let tree = object.rsplit(' ').next().unwrap();
    let commit = repository.git(&["commit-tree", "-m", "bomb", tree]);
    repository.git(&["update-ref", "refs/heads/main", commit.trim()]);
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    pod.source_fails(FailureReason::SourceTooLarge, "more than 200000 files");
}

#[test]
fn too_many_bytes_are_not_checked_out() {
    let repository = Repository::new();
    repository.write("zeros", &"0".repeat(3_000_000));
    repository.commit("large but it packs well");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_env("JCT_SOURCE_MAX_BYTES", "2000000");
    pod.source_fails(FailureReason::SourceTooLarge, "larger than 2000000 bytes");
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://127.0.0.1:{}/repo", silent.local_addr().unwrap().port());
    let pod = Pod::at(&url, "main").with_env("JCT_SOURCE_TIMEOUT_SECONDS", "1");
    pod.source_fails(FailureReason::SourceUnavailable, "took too long");
}

#[test]
fn submodules_are_listed_and_not_followed() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let commit = repository.commit("first");
    let server = Server::start(&repository);
    repository.write(".gitmodules", &format!("[submodule \"loop\"]\n\tpath = loop\n\turl = {}\n", server.url));
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},loop")]);
    repository.git(&["commit", "-q", "-m", "a submodule that is the repository itself"]);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    assert_eq!(fs::read_dir(pod.work().join("source/loop")).unwrap().count(), 0);
    let (termination, _) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded);
    assert!(pod.report().contains("loop"));
}

#[test]
fn nothing_that_a_repository_says_is_run() {
    let repository = Repository::new();
    let marker = tempfile::tempdir().unwrap();
    let touch = format!("touch {}", marker.path().join("run").display());
    repository.write("a.txt", "one\ntwo\n");
    repository.commit("harmless");
    repository.write("hooks/post-checkout", &format!("#!/bin/sh\n{touch}\n"));
    repository.write(".gitconfig", &format!("[filter \"evil\"]\n\tsmudge = {touch}\n[core]\n\tfsmonitor = {touch}\n"));
    repository.commit("evil");
    repository.write(".gitattributes", "*.txt filter=evil diff=evil text eol=crlf working-tree-encoding=UTF-16\n");
    repository.git(&["add", ".gitattributes"]);
    repository.git(&["commit", "-q", "-m", "more evil"]);
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, _) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    assert_eq!(fs::read_dir(marker.path()).unwrap().count(), 0);
    let stored = repository.git(&["show", "main:a.txt"]);
    assert_eq!(fs::read_to_string(pod.work().join("source/a.txt")).unwrap(), stored);
}

#[test]
fn a_task_that_is_not_the_operators_is_not_run() {
    let pod = Pod::at("git://127.0.0.1:1/repo", "main");
    let task = pod.trace().join("task.json");
    let forged = fs::read_to_string(&task).unwrap().replace("Find out", "Leave out");
    fs::write(&task, forged).unwrap();
    let termination = pod.source();
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("digest"));
    assert_eq!(termination.manifest_sha256, None);
    assert_eq!(fs::read_dir(pod.trace()).unwrap().count(), 1, "nothing is written");
}

#[test]
fn a_sealed_trace_is_not_written_again() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "nowhere");
    pod.source_fails(FailureReason::RefNotFound, "no such branch");
    let before = pod.trace_text();
    let termination = pod.source();
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("sealed already"));
    assert_eq!(pod.trace_text(), before);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let mut wizard = scripted("");
    wizard.command = vec!["wizard".into()];
    let pod = Pod::new(&server, "main").with_executor(&wizard);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed));
    assert!(termination.message.unwrap().contains("cannot run \"wizard\""));
    assert_eq!(manifest.exit_code, Some(127));
}

#[test]
fn run_without_a_source_seals_the_trace() {
    let pod = Pod::at("git://127.0.0.1:1/repo", "main").with_env("JCT_RECORDER_PATIENCE_SECONDS", "1");
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("source.json"));
}

#[test]
fn sigterm_during_the_fetch_seals_the_trace() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://127.0.0.1:{}/repo", silent.local_addr().unwrap().port());
    let pod = Pod::at(&url, "main");
    let worker = pod.start("source");
    // Git has connected: the worker is in the midst of it.
    let connection = silent.accept().unwrap();
    let (termination, manifest) = pod.terminate(worker);
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::Evicted));
    drop(connection);
}

/// A pod whose source is fetched, and whose executor then hangs: the git that it calls is `script`.
fn hanging(server: &Server, budget_seconds: u32, script: &str) -> Pod {
    let pod = Pod::new(server, "main").with_time_budget_seconds(budget_seconds);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    pod.with_script(&format!("{script}\ntouch \"$HOME/started\"\nexec sleep 1000"))
}

fn wait_for(path: &Path) {
    for _ in 0..6000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} does not appear", path.display());
}

fn is_running(id: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", id.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn sigterm_during_the_run_ends_everything_and_seals_the_trace() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "setsid sleep 1000 &\necho $! > \"$HOME/escaped\"\necho $$ > \"$HOME/child\"");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    let (termination, manifest) = running.terminate();
    pod.verify(&termination, &manifest);
    assert_eq!((termination.reason, manifest.exit_code), (Some(FailureReason::Evicted), None));
    for name in ["escaped", "child"] {
        assert!(!is_running(&fs::read_to_string(pod.work().join("home").join(name)).unwrap()), "{name}");
    }
}

#[test]
fn an_executor_that_overruns_its_budget_is_ended() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let commit = repository.commit("first");
    let server = Server::start(&repository);
    let pod = hanging(&server, 1, "trap '' TERM; echo before");
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::TimeBudgetExceeded));
    assert_eq!(manifest.source.unwrap().commit, commit);
    assert_eq!(fs::read_to_string(pod.trace().join("stdout.log")).unwrap(), "before\n");
}

#[test]
fn what_the_executor_prints_is_redacted_and_what_it_leaves_is_swept() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let script = "echo 'fatal: https://me:CanaryCanary@host/x' >&2; ln -s /etc/passwd $JCT_OUT/passwd; ln -s / $JCT_OUT/root; \
                  echo x >$JCT_OUT/../stranger; echo kept >$JCT_OUT/kept.txt; exit 128";
    let pod = pod.with_script(script);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert!(!pod.trace_text().contains("CanaryCanary"));
    assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names[0], "artifacts/kept.txt");
    assert!(!names.iter().any(|name| name.contains("passwd") || name.contains("root") || name.contains("stranger")));
}

#[test]
fn hostile_names_do_not_break_the_report() {
    let repository = Repository::new();
    let names: [&[u8]; 8] = [
        b"-rf",
        b"--output=x",
        b"new\nline.rs",
        b"not-utf8-\xff.rs",
        b"# | `heading` | **bold**.md",
        "txt.\u{202e}sr.exe".as_bytes(),
        b"tab\there",
        b"<script>alert(1)<",
    ];
    for name in names {
        repository.write(OsStr::from_bytes(name), "// TODO: `x` | y\n");
    }
    repository.commit("| **subject** |");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    let report = pod.report_json();
    assert_eq!(report["totals"]["files"], 8);
    assert_eq!(report["totals"]["unreadable_files"], 0);
    assert_eq!(report["largest_files"].as_array().unwrap().len(), 8);
    let markdown = pod.report();
    assert!(!markdown.contains('\u{202e}') && !markdown.contains("\n# |"), "{markdown}");
    for row in markdown.lines().filter(|line| line.contains("heading")) {
        assert!(row.starts_with("| `") && row.ends_with(" |"), "{row}");
    }
}

#[test]
fn the_report_knows_the_project() {
    let repository = Repository::new();
    repository.write("src/lib.rs", "//! x\n\n// FIXME later\npub fn a() {}\n");
    repository.write("docs/guide.md", "# Guide\n");
    repository.write("README.md", "# Hello\n");
    repository.write("Cargo.toml", "[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1\"\n");
    repository.write("LICENSE", "Apache License\nVersion 2.0, January 2004\n");
    repository.write(".github/workflows/ci.yml", "on: push\n");
    repository.write("tests/a.rs", "");
    repository.write("logo.png", "\u{89}PNG\0\0");
    repository.write(".mailmap", "Ada Lovelace <ada@example.org>\n");
    repository.commit("first");
    repository.write("src/lib.rs", "pub fn a() {}\n");
    repository.commit("second");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_path("src");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, _) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded);
    let message = termination.message.unwrap();
    assert_eq!(message, "analysed 1 files with 1 lines in 1 languages; 2 commits by 1 people");
    let report = pod.report_json();
    assert_eq!(report["languages"][0]["language"], "Rust");
    assert_eq!(report["licences"][0]["spdx_id"], "Apache-2.0");
    assert_eq!(report["ci"][0]["system"], "GitHub Actions");
    assert_eq!(report["readmes"][0], "README.md");
    assert_eq!(report["dependency_manifests"][0]["direct_dependencies"], 1);
    assert_eq!(report["tests"]["files"], 1);
    assert_eq!(report["history"]["commits"], 2);
    assert_eq!(report["history"]["contributors"][0]["name"], "Ada Lovelace");
    assert_eq!(report["history"]["contributors"][0]["email_domain"], "example.org");
    assert_eq!(report["history"]["most_changed_files"][0]["path"], "src/lib.rs");
    assert!(!pod.report().contains("ada@"));
}
