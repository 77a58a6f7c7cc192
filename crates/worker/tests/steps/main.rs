//! The worker's steps as a pod runs them: the real binary, real repositories, a real git server on the loopback.

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

mod executors;
mod model;
mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jct_domain::FailureReason;
use jct_domain::executor::{Builtin, Executor};
use jct_domain::task::Operation;
use jct_domain::trace::Outcome;
use rstest::rstest;
use serde_json::json;
use support::{Pod, Repository, Server, run_git, scripted, signal};

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

/// One request is refused for want of a password, the next is answered; what it brought, and every command line of then.
fn asks_for_a_password(listener: TcpListener) -> (String, String) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).unwrap() > 0 {}
        let is_known = request.contains("Authorization: ");
        let status = if is_known { "404 Not Found" } else { "401 Unauthorized\r\nWWW-Authenticate: Basic realm=x" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
        let lines = processes.filter_map(|path| fs::read(path).ok()).collect::<Vec<_>>().concat();
        (&stream).write_all(answer.as_bytes()).unwrap();
        if is_known {
            return (request, String::from_utf8_lossy(&lines).into_owned());
        }
    }
}

#[test]
fn a_password_is_on_no_command_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:hunter2233@{}/octo/repo.git", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || asks_for_a_password(listener));
    let pod = Pod::at(&url, "main");
    pod.source_fails(FailureReason::SourceUnavailable, "not found");
    let (request, lines) = server.join().unwrap();
    // me:hunter2233
    assert!(request.contains("Authorization: Basic bWU6aHVudGVyMjIzMw=="), "{request}");
    assert!(lines.contains("git-remote-http") || lines.contains("remote-http"), "git was not seen: {lines:?}");
    assert!(!lines.contains("hunter2233"), "{lines:?}");
    assert!(!pod.trace_text().contains("hunter2233"));
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
    let pod = Pod::new(&server, "main").with_arg("--max-bytes", "2000000");
    pod.source_fails(FailureReason::SourceTooLarge, "larger than 2000000 bytes");
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://127.0.0.1:{}/repo", silent.local_addr().unwrap().port());
    let pod = Pod::at(&url, "main").with_arg("--timeout-seconds", "1");
    pod.source_fails(FailureReason::SourceUnavailable, "took too long");
}

#[test]
fn submodules_and_files_of_lfs_are_told_and_not_followed() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 7\n", "0".repeat(64));
    repository.write("image.png", &pointer);
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
    let report = pod.report();
    for told in [
        "| Submodules (not fetched) | 1 |",
        "| Files of Git LFS (pointers, contents not fetched) | 1 |",
        "loop",
        "image.png",
        "Submodules are not fetched, and their folders are empty",
        "which count in neither lines nor languages",
    ] {
        assert!(report.contains(told), "{told}: {report}");
    }
    let summary = termination.message.as_deref().unwrap_or_default();
    assert!(summary.ends_with("; not fetched: 1 submodules, 1 files of Git LFS"), "{summary}");
    let event = |name: &str| pod.events().into_iter().find(|event| event.event == name).unwrap().fields;
    let fetched = event("source_fetched");
    assert_eq!((&fetched["submodules_not_fetched"], &fetched["lfs_files_not_fetched"]), (&1.into(), &1.into()));
    assert_eq!(
        event("source_incomplete")["message"],
        "submodules are empty folders: \"loop\"; files of Git LFS are pointers, not contents: \"image.png\""
    );
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
    let pod = Pod::at("git://127.0.0.1:1/repo", "main").with_arg("--patience-seconds", "1");
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("source.json"));
}

/// A server of files; what is asked for below `/old` is elsewhere.
fn serve_files(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = request.next().unwrap_or_default();
            let _ = request.take_while(|line| !line.is_empty()).count();
            let path = first.split(' ').nth(1).and_then(|path| path.split('?').next()).unwrap_or_default();
            let end = "Connection: close\r\nContent-Length";
            let answer = match (path.strip_prefix("/old"), fs::read(root.join(path.trim_start_matches('/')))) {
                (Some(rest), _) => format!("301 Moved\r\nLocation: /new{rest}\r\n{end}: 0\r\n\r\n").into_bytes(),
                (_, Ok(bytes)) => [format!("200 OK\r\n{end}: {}\r\n\r\n", bytes.len()).into_bytes(), bytes].concat(),
                (_, Err(_)) => format!("404 Not Found\r\n{end}: 0\r\n\r\n").into_bytes(),
            };
            let _ = stream.write_all(b"HTTP/1.1 ").and_then(|()| stream.write_all(&answer));
        }
    });
    format!("http://{address}")
}

#[test]
fn a_redirect_to_another_repository_is_not_followed() {
    let repository = greeting();
    let served = tempfile::tempdir().unwrap();
    let bare = served.path().join("new/repo.git");
    let from = repository.path();
    run_git(served.path(), &["clone", "--quiet", "--bare", from.to_str().unwrap(), bare.to_str().unwrap()], b"");
    run_git(&bare, &["update-server-info"], b"");
    let server = serve_files(served.path().to_owned());
    let pod = Pod::at(&format!("{server}/old/repo.git"), "main");
    pod.source_fails(FailureReason::SourceUnavailable, "its server redirects to another place, which is not followed");
    assert!(!pod.work().join("source/greet.sh").exists());
    // The control: by its own name it is fetched, and that name is what is recorded.
    let url = format!("{server}/new/repo.git");
    let pod = Pod::at(&url, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let fetched = pod.events().into_iter().find(|event| event.event == "source_fetched").unwrap();
    assert_eq!(fetched.fields["url"], url);
    // Without leave there is no way but https.
    let pod = Pod::at(&url, "main").without_arg("--protocols");
    pod.source_fails(FailureReason::SourceUnavailable, "must begin with one of https");
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

/// An image can name another signal for its container: the supervisor hears of the end all the same.
#[test]
fn the_recorder_ends_an_executor_whose_supervisor_gets_no_signal() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo $$ > \"$HOME/child\"; echo kept > \"$JCT_OUT/kept\"");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    signal(&running.recorder, nix::sys::signal::Signal::SIGTERM);
    let (termination, manifest) = running.end();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::Evicted));
    let ended = pod.events().into_iter().find(|event| event.event == "executor_ended").unwrap();
    assert_eq!(ended.fields["end"], "interrupted", "the supervisor gave its account");
    assert!(!is_running(&fs::read_to_string(pod.work().join("home/child")).unwrap()));
    assert!(pod.trace().join("artifacts/kept").is_file(), "what was left when it had ended");
}

#[test]
fn outputs_are_not_taken_while_the_executor_may_run() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo early > \"$JCT_OUT/early\"");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    signal(&running.supervisor, nix::sys::signal::Signal::SIGSTOP);
    signal(&running.recorder, nix::sys::signal::Signal::SIGTERM);
    let mut running = running;
    running.recorder.wait().unwrap();
    signal(&running.supervisor, nix::sys::signal::Signal::SIGKILL);
    running.supervisor.wait().unwrap();
    assert_eq!(pod.manifest().reason, Some(FailureReason::Evicted));
    assert!(pod.events().iter().any(|event| event.event == "outputs_not_taken"));
    assert!(!pod.trace().join("artifacts/early").exists());
}

#[test]
fn the_sandbox_knows_every_thread_of_the_supervisor() {
    let repository = greeting();
    let server = Server::start(&repository);
    // By ids that it is told, for the kernel may be one that does not keep signals within the sandbox: no more may come.
    let script = "sleep 1.5; ls /proc/$PPID/task | wc -l >$JCT_OUT/threads";
    let pod = Pod::new(&server, "main").with_script(script);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, _) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    let threads = fs::read_to_string(pod.trace().join("artifacts/threads")).unwrap();
    assert_eq!(threads.trim(), "2", "one that waits, and the watch on the disk, which is there before the executor");
}

#[test]
fn what_an_executor_says_is_not_how_it_ended() {
    let repository = greeting();
    let server = Server::start(&repository);
    let script = r#"echo 'memory allocation of 1048576 bytes failed' >&2
        echo '{"summary": "no", "reason": "ChangeNotAllowed"}' >"$JCT_RESULT_FILE""#;
    for (end, said) in [("kill -ABRT $$", "signal 6"), ("exit 3", "no")] {
        let pod = Pod::new(&server, "main").with_script(&format!("{script}\n{end}"));
        assert_eq!(pod.source().outcome, Outcome::Succeeded);
        let (termination, _) = pod.run();
        assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed), "{termination:?}");
        assert!(termination.message.unwrap().contains(said), "{end}");
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
    let text = pod.trace_text();
    assert!(!text.contains("CanaryCanary") && text.contains("https://[redacted]@host/x"), "{text}");
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
    repository.write("LICENSE", spdx::license_id("Apache-2.0").unwrap().text());
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

/// A pod whose source is fetched and whose Task is of `operation` with these inputs.
fn fetched(server: &Server, executor: &Executor, operation: Operation, inputs: serde_json::Value) -> Pod {
    let pod = Pod::new(server, "main").with_executor(executor);
    let mut task = pod.task();
    task.operation = operation;
    task.inputs = inputs.as_object().unwrap().clone();
    let pod = pod.with_task(&task);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    pod
}

fn greeting() -> Repository {
    let repository = Repository::new();
    repository.write("greet.sh", "#!/bin/sh\necho hello\n");
    repository.commit("first");
    repository
}

const PATCH: &str = "--- a/greet.sh\n+++ b/greet.sh\n@@ -1,2 +1,2 @@\n #!/bin/sh\n-echo hello\n+echo good morning\n";

#[test]
fn a_patch_becomes_a_verified_commit_in_a_bundle() {
    let repository = greeting();
    let server = Server::start(&repository);
    let inputs = json!({"patch": PATCH, "verify": [["sh", "-c", "sh greet.sh | grep morning; touch left-behind"]]});
    let pod = fetched(&server, &Executor::builtin(Builtin::CodeChange), Operation::CodeChange, inputs);
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?} {}", pod.trace_text());
    pod.verify(&termination, &manifest);
    let change = manifest.change.unwrap();
    assert_eq!((change.files_changed, change.insertions, change.deletions), (1, 1, 1));
    let bundle = pod.trace().join("artifacts/change.bundle");
    repository.git(&["fetch", "--quiet", bundle.to_str().unwrap(), &format!("{}:refs/heads/reviewed", change.git_ref)]);
    assert_eq!(repository.git(&["rev-parse", "reviewed"]).trim(), change.commit);
    assert_eq!(repository.git(&["show", "reviewed:greet.sh"]), "#!/bin/sh\necho good morning\n");
    assert_eq!(repository.git(&["diff", "--name-only", "main", "reviewed"]).trim(), "greet.sh");
    let message = repository.git(&["log", "-1", "--format=%B", "reviewed"]);
    assert!(message.contains("Co-authored-by: ada <ada@human.jct.invalid>"), "{message}");
    assert!(message.contains(&format!("Jct-Trace-Id: {}", manifest.trace_id)), "{message}");
}

#[rstest]
#[case::outside_of_the_path("mkdir -p docs; echo x >elsewhere", "docs", "elsewhere")]
#[case::a_repository_within(
    "mkdir -p docs/sub; cd docs/sub; git init -q .; git commit -q --allow-empty -m x",
    "",
    "sub"
)]
#[case::too_many("for n in 1 2 3; do echo x >file-$n; done", "", "2")]
fn a_change_that_may_not_be_fails_the_task(#[case] script: &str, #[case] path: &str, #[case] told: &str) {
    let repository = greeting();
    repository.write("docs/guide.md", "# Guide\n");
    repository.commit("second");
    let server = Server::start(&repository);
    let mut executor = scripted(&format!("cd $JCT_WORKSPACE && {script}"));
    executor.outputs.max_changed_files = 2;
    let pod = Pod::new(&server, "main").with_executor(&executor);
    let mut task = pod.task();
    task.operation = Operation::CodeChange;
    task.target.path = path.into();
    let pod = pod.with_task(&task);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::ChangeNotAllowed), "{termination:?} {}", pod.trace_text());
    assert!(termination.message.as_ref().unwrap().contains(told), "{termination:?}");
    assert!(manifest.change.is_none() && !pod.trace().join("artifacts/change.patch").exists());
}

#[test]
fn commands_are_run_and_recorded() {
    let repository = greeting();
    let server = Server::start(&repository);
    let inputs = json!({"commands": [["sh", "greet.sh"], {"run": ["false"], "name": "check"}, ["sh", "greet.sh"]]});
    let pod = fetched(&server, &Executor::builtin(Builtin::Ops), Operation::Ops, inputs);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed), "{termination:?}");
    assert!(termination.message.unwrap().contains("check"));
    assert!(pod.trace().join("artifacts/commands.json").is_file());
    assert!(pod.events().iter().any(|event| event.event == "executor_step"));
    assert!(manifest.change.is_none(), "what commands leave in the workspace is no change");
}

#[test]
fn an_agent_of_several_steps_leaves_them_its_result_and_its_change() {
    let repository = greeting();
    let server = Server::start(&repository);
    let script = r#"echo "::step::Reading $JCT_OBJECTIVE"
        sed -i s/hello/hi/ greet.sh
        echo "::step::Changed greet.sh, token=CanaryCanary"
        git commit -q -a -m "by the agent"
        mkdir -p "$JCT_OUT/notes" && echo why >"$JCT_OUT/notes/why.txt"
        echo '{"summary":"greets shorter","decision_log":["hi is shorter"],"cost":{"usd":0.25,"tokens":1200}}' >"$JCT_RESULT_FILE""#;
    let pod = fetched(&server, &scripted(script), Operation::CodeChange, json!({}));
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?} {}", pod.trace_text());
    pod.verify(&termination, &manifest);
    assert_eq!(termination.message.as_deref(), Some("greets shorter"));
    let result = manifest.result.unwrap();
    assert_eq!((result.decision_log.len(), result.cost.unwrap().tokens), (1, Some(1200)));
    assert_eq!(manifest.change.unwrap().files_changed, 1);
    assert!(manifest.usage.unwrap().peak_memory_bytes > 0);
    let steps: Vec<_> = pod.events().into_iter().filter(|event| event.event == "executor_step").collect();
    assert_eq!(steps[0].fields["message"], "Reading Find out what is in there");
    assert_eq!(steps[1].fields["message"], "Changed greet.sh, token=[redacted]");
    assert!(pod.trace().join("artifacts/notes/why.txt").is_file());
    assert!(!pod.trace_text().contains("CanaryCanary"));
}

#[test]
fn a_second_pod_of_the_attempt_writes_nothing() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let before = pod.trace_text();
    let pod = pod.with_arg("--pod-uid", "another").with_arg("--pod-name", "t-late");
    let termination = pod.source();
    assert_eq!(termination.claimed_by.as_deref(), Some("pod t-pod"));
    assert_eq!(pod.trace_text(), before);
    let pod = pod.with_arg("--pod-uid", "6e1f");
    assert_eq!(pod.run().0.outcome, Outcome::Succeeded, "the first one goes on");
}

#[test]
fn a_cancelled_task_says_so_in_its_trace_and_keeps_what_there_was() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo so far; echo half >$JCT_OUT/half.txt");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    fs::write(pod.trace().join("cancel.json"), "").unwrap();
    let began = std::time::Instant::now();
    let (termination, manifest) = running.terminate();
    assert!(began.elapsed() < Duration::from_secs(10));
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::Cancelled));
    assert_eq!(fs::read_to_string(pod.trace().join("stdout.log")).unwrap(), "so far\n");
    assert_eq!(fs::read_to_string(pod.trace().join("artifacts/half.txt")).unwrap(), "half\n");
}

#[test]
fn a_supervisor_that_is_killed_leaves_a_sealed_trace() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo so far");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    support::signal(&running.supervisor, nix::sys::signal::Signal::SIGKILL);
    let (termination, manifest) = running.end();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert_eq!(fs::read_to_string(pod.trace().join("stdout.log")).unwrap(), "so far\n");
}

#[test]
fn too_many_processes_are_ended() {
    let repository = greeting();
    let server = Server::start(&repository);
    // A true bomb is for a pod, where the supervisor is the first process: here it would be faster than we are.
    let mut many = scripted("for n in $(seq 60); do sleep 600 & done; wait");
    many.limits.max_processes = 40;
    let pod = Pod::new(&server, "main").with_executor(&many);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::LimitExceeded), "{termination:?}");
}

#[test]
fn the_dead_that_nobody_waits_for_count_no_longer() {
    let repository = greeting();
    let server = Server::start(&repository);
    // Their parents are gone: they are the supervisor's to reap, while the executor goes on.
    let mut many = scripted("for n in $(seq 300); do (true &); done; sleep 1; echo done >\"$JCT_OUT/done\"");
    many.limits.max_processes = 40;
    let pod = Pod::new(&server, "main").with_executor(&many);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!((termination.outcome, termination.reason), (Outcome::Succeeded, None), "{termination:?}");
}

/// What the image of an executor may set: settings of ours as they were called once, and what libraries read.
const HOSTILE_ENVIRONMENT: [(&str, &str); 12] = [
    ("JCT_PARENT", "1"),
    ("JCT_RECORDER_PATIENCE_SECONDS", "0"),
    ("JCT_SANDBOX_NO_UNIX_SOCKETS", "true"),
    ("JCT_SANDBOX_READS", "/"),
    ("JCT_TMP_DIR", "/"),
    ("JCT_WORK_DIR", "/"),
    ("LD_PRELOAD", "/nowhere.so"),
    ("MIMALLOC_VERBOSE", "1"),
    ("MIMALLOC_SHOW_STATS", "1"),
    ("RUST_LOG", "trace"),
    ("SECRET_OF_THE_NODE", "x"),
    ("TMPDIR", "/nowhere"),
];

#[test]
fn what_an_image_sets_widens_nothing() {
    let repository = greeting();
    let server = Server::start(&repository);
    // Without a list of what may be read, as in a pod: all of the image, and nothing of ours. The control is a file that may be.
    let script = "cat ../in/task.json >$JCT_OUT/task; cat ../private/source.json >$JCT_OUT/source; true";
    let pod = Pod::new(&server, "main").with_script(script).without_arg("--read");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let pod = HOSTILE_ENVIRONMENT.iter().fold(pod, |pod, (name, value)| pod.with_env(name, value));
    let running = pod.start_run();
    let mut looks = 0..20_000;
    let environment = loop {
        assert!(looks.next().is_some(), "it does not start anew");
        // Gone once it has started anew.
        let own = fs::read(format!("/proc/{}/cmdline", running.supervisor.id())).unwrap();
        if String::from_utf8_lossy(&own).contains("--path=") {
            break fs::read(format!("/proc/{}/environ", running.supervisor.id()));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    let (termination, _) = running.end();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    match environment {
        Ok(left) => assert_eq!(String::from_utf8_lossy(&left), ""),
        Err(error) => assert!(!nix::unistd::geteuid().is_root(), "only others of the user may not look: {error}"),
    }
    let sizes = ["task", "source"].map(|name| fs::metadata(pod.trace().join("artifacts").join(name)).unwrap().len());
    assert!(sizes[0] > 0, "what may be read is read");
    assert_eq!(sizes[1], 0, "what is between our own steps is not");
}

#[test]
fn the_environment_is_made_from_nothing() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_script("env | cut -d= -f1 | sort");
    let pod = HOSTILE_ENVIRONMENT.iter().fold(pod, |pod, (name, value)| pod.with_env(name, value));
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    assert_eq!(pod.run().0.outcome, Outcome::Succeeded);
    let shown = fs::read_to_string(pod.trace().join("stdout.log")).unwrap();
    let names: Vec<&str> = shown.lines().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(
        names,
        [
            "HOME",
            "JCT_ATTEMPT",
            "JCT_COMMIT",
            "JCT_OBJECTIVE",
            "JCT_OPERATION",
            "JCT_OUT",
            "JCT_RESULT_FILE",
            "JCT_TARGET_PATH",
            "JCT_TASK_FILE",
            "JCT_TASK_ID",
            "JCT_TASK_NAMESPACE",
            "JCT_TIME_BUDGET_SECONDS",
            "JCT_TRACE_ID",
            "JCT_WORKSPACE",
            "LANG",
            "LC_ALL",
            "PATH",
            "TMPDIR",
            "TZ"
        ]
    );
}

#[test]
fn every_built_in_executor_works_in_its_sandbox() {
    let repository = Repository::new();
    repository.write("README.md", "# Hello\n[gone](gone.md)\n");
    repository.write("Makefile", "test:\n\tgrep -q There README.md\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let patch = "--- a/README.md\n+++ b/README.md\n@@ -1,2 +1 @@\n-# Hello\n-[gone](gone.md)\n+# There\n";
    let cases = [
        (Builtin::Docs, json!({}), "looked at 1 documents; 1 findings: 1 broken_link"),
        (
            Builtin::CodeChange,
            json!({"patch": patch, "verify": [["make", "test"]]}),
            "changed 1 files, verified by 1 command",
        ),
        (
            Builtin::Ops,
            json!({"commands": [{"shell": "setsid sleep 1000 & git log --oneline | wc -l"}]}),
            "ran 1 commands in",
        ),
    ];
    for (builtin, inputs, expected) in cases {
        let pod = fetched(&server, &Executor::builtin(builtin), builtin.operation(), inputs);
        let (termination, manifest) = pod.run();
        pod.verify(&termination, &manifest);
        assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
        assert!(termination.message.as_ref().unwrap().starts_with(expected), "{termination:?}");
        assert!(pod.events().iter().any(|event| event.event == "executor_step"), "{builtin:?}");
    }
}

#[test]
fn a_command_that_overruns_the_budget_is_in_the_record() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let inputs =
        json!({"commands": [{"shell": "trap '' TERM; echo begun; sleep 1000 & wait; sleep 1000", "name": "hang"}]});
    let mut executor = Executor::builtin(Builtin::Ops);
    executor.time.max_seconds = Some(2);
    let pod = fetched(&server, &executor, Operation::Ops, inputs);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::TimeBudgetExceeded));
    let record = fs::read(pod.trace().join("artifacts/commands.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["commands"][0]["state"], "interrupted");
    assert_eq!(fs::read_to_string(pod.trace().join("artifacts/commands/01-hang.stdout.log")).unwrap(), "begun\n");
}
