//! More of what may have happened: to the base, to the trace, to the forge, to the arguments.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;

/// The worker, for which a folder can't be written to: it is mounted so, as a container has it.
pub fn worker(reads_only: Option<&Path>) -> Command {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_jct-worker");
    let Some(folder) = reads_only else { return Command::new(PROGRAM) };
    let mut command = Command::new("unshare");
    let script =
        r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/x" 2>/dev/null && exec "$@""#;
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(folder).arg(PROGRAM);
    command
}

/// The sizes of what was pushed, in bytes.
fn pushed(sealed: &Sealed) -> Vec<u64> {
    let asked = sealed.forge.asked.lock().unwrap();
    let pushes = asked.iter().filter(|head| head.starts_with("POST /octo/repo.git/git-receive-pack "));
    let length = |head: &String| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with("content-length: "));
        line.and_then(|line| line.split_once(": ")?.1.parse().ok())
    };
    pushes.filter_map(length).filter(|&bytes| bytes > 4).collect()
}

#[test]
fn a_base_that_others_have_moved_on_from_does_not_matter_and_nothing_is_sent_twice() {
    let noise: String = (0u32..40_000).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    let sealed = Sealed::of(&[("noise", &noise)]);
    sealed.repository.write("c", "a person's\n");
    let moved = sealed.repository.commit("by a person");
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    delivery.others = vec![("base-branch", "main".into())];
    delivery.succeeds(&["deliver-push"]);
    assert_eq!(sealed.branch(), Some(sealed.commit()));
    assert_eq!(sealed.repository.git(&["rev-parse", "main"]).trim(), moved);
    let sizes = pushed(&sealed);
    assert!(sizes.iter().sum::<u64>() < 10_000 && !sizes.is_empty(), "{sizes:?}");
}

#[test]
fn a_branch_to_go_into_that_is_gone_is_told_and_nothing_is_pushed() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    delivery.others = vec![("base-branch", "release".into())];
    // Its name ends so.
    sealed.repository.git(&["branch", "x/refs/heads/release"]);
    delivery.fails("deliver-push", DeliveryReason::BaseMissing, "has no branch release");
    assert_eq!((sealed.branch(), pushed(&sealed).len()), (None, 0));
    sealed.repository.git(&["branch", "release"]);
    delivery.succeeds(&["deliver-push"]);
    // What is done is done.
    sealed.repository.git(&["branch", "-D", "release"]);
    assert!(delivery.succeeds(&["deliver-push"]).was_there);
}

#[test]
fn only_the_manifest_and_the_commit_on_record_are_delivered() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&["deliver-base"]);
    let other = "0".repeat(40);
    for (name, value, words) in [
        ("commit", other.clone(), "about another commit"),
        ("base", sealed.commit(), "about another commit"),
        ("manifest-sha256", "0".repeat(64), "does not have the digest"),
    ] {
        delivery.others = vec![(name, value)];
        delivery.fails("deliver-check", DeliveryReason::CheckFailed, words);
    }
    let path = sealed.pod.trace().join("manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    delivery.others = vec![("manifest-sha256", sha256_hex(good.as_bytes()))];
    let altered = good.replace(&sealed.commit(), &other);
    assert_ne!(altered, good);
    for altered in [altered, good.clone() + " "] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, altered).unwrap();
        delivery.fails("deliver-check", DeliveryReason::CheckFailed, "does not have the digest");
    }
    fs::remove_file(&path).unwrap();
    fs::write(&path, good).unwrap();
    // The control.
    delivery.succeeds(&["deliver-check"]);
    delivery.others = vec![("commit", other)];
    delivery.fails("deliver-push", DeliveryReason::CheckFailed, "another commit was checked");
    assert_eq!(sealed.branch(), None);
}

#[test]
fn the_repository_is_only_read_by_what_has_the_credential() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    delivery.reads_only = true;
    assert_eq!(delivery.succeeds(&["deliver-push"]).commit, Some(sealed.commit()));
    assert_eq!(sealed.branch(), Some(sealed.commit()));
}

/// Answers every request that has a password by sending it elsewhere.
fn redirecting(elsewhere: std::net::SocketAddr) -> (String, Arc<Mutex<Vec<String>>>) {
    let forge = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/octo/repo.git", forge.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = heads.clone();
    std::thread::spawn(move || {
        for stream in forge.incoming() {
            let stream: TcpStream = stream.unwrap();
            let (mut reader, mut head) = (BufReader::new(&stream), String::new());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let answer = match head.contains("Authorization: ") {
                false => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=x".to_owned(),
                true => format!("307 Temporary Redirect\r\nLocation: http://{elsewhere}/octo/repo.git/info/refs"),
            };
            noted.lock().unwrap().push(head);
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, heads)
}

#[test]
fn another_host_is_not_told_whatever_the_forge_says() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, heads) = redirecting(other.local_addr().unwrap());
    delivery.url = url;
    delivery.fails("deliver-push", DeliveryReason::ForgeRefused, "redirects to another place");
    delivery.fails("deliver-base", DeliveryReason::ForgeRefused, "redirects to another place");
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "it was asked");
    let heads = heads.lock().unwrap().join("");
    assert!(found(heads.as_bytes()).contains(&"with its user"), "the control: the forge was told");
}

#[test]
fn a_secret_that_says_why_there_is_none_is_heard() {
    let sealed = Sealed::new();
    let mut delivery = Delivery::of(&sealed);
    delivery.succeeds(&CHECKED);
    let trouble = secret(&[("trouble", "the forge own can't be written to: its Secret has no token")]);
    let empty = secret(&[]);
    for (secret, words) in [(&trouble, "its Secret has no token"), (&empty, "no credential for the forge own")] {
        delivery.others = vec![("credential", secret.path().display().to_string())];
        delivery.fails("deliver-push", DeliveryReason::CredentialMissing, words);
    }
}
