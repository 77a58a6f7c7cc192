//! What is fetched from a repository and a server, and what is not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::outcome::greeting;
use crate::support::{Pod, Repository, Server, run_git};
use jct_domain::FailureReason;
use jct_domain::trace::Outcome;
use rstest::rstest;

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
    for reported in [
        "| Submodules (not fetched) | 1 |",
        "| Files of Git LFS (pointers, contents not fetched) | 1 |",
        "loop",
        "image.png",
        "Submodules are not fetched, and their folders are empty",
        "which count in neither lines nor languages",
    ] {
        assert!(report.contains(reported), "{reported}: {report}");
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
