//! A private repository, read by a mounted Secret: its server asks for a password, and what it gets is nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jct_domain::FailureReason;
use jct_domain::trace::Outcome;
use tempfile::TempDir;

use crate::support::{Pod, Repository, run_git};

pub const TOKEN: &str = "c4nary-7f3a91d0e2";

/// A server of one private repository, by git's own program for that; it knows one token.
pub struct Private {
    address: String,
    /// Every request's head.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// What was on command lines and in environments of all processes while it was asked.
    pub seen: Arc<Mutex<Vec<u8>>>,
    /// What git is told to do in the repository before the next push is answered: once.
    before_push: Arc<Mutex<Option<Vec<String>>>>,
}

impl Private {
    pub fn of(repository: &Repository) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, asked: Arc::default(), seen: Arc::default(), before_push: Arc::default() };
        let (asked, seen, root) = (server.asked.clone(), server.seen.clone(), repository.path());
        let before_push = server.before_push.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = serve(&stream.unwrap(), &root, &asked, &seen, &before_push);
            }
        });
        server
    }

    pub fn before_push(&self, repository: &Repository, args: &[&str]) {
        assert!(repository.path().exists());
        *self.before_push.lock().unwrap() = Some(args.iter().map(|&arg| arg.to_owned()).collect());
    }

    pub fn url(&self) -> String {
        format!("http://{}/octo/repo.git", self.address)
    }
}

fn head_of(reader: &mut BufReader<&TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
    head
}

/// Command lines and environments of all processes but the tests' own, which has the token.
fn processes() -> Vec<u8> {
    let own = std::process::id().to_string();
    let others = fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy() != own);
    let files = others.flat_map(|process| ["cmdline", "environ"].map(|name| process.path().join(name)));
    files.filter_map(|path| fs::read(path).ok()).collect::<Vec<_>>().concat()
}

fn serve(
    stream: &TcpStream,
    root: &Path,
    asked: &Mutex<Vec<String>>,
    seen: &Mutex<Vec<u8>>,
    before_push: &Mutex<Option<Vec<String>>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let head = head_of(&mut reader);
    asked.lock().unwrap().push(head.clone());
    seen.lock().unwrap().extend(processes());
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    if header("authorization") != Some(format!("Basic {}", STANDARD.encode(format!("bot:{TOKEN}")))) {
        let challenge = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nConnection: close\r\nContent-Length: 0";
        return (&*stream).write_all(format!("HTTP/1.1 {challenge}\r\n\r\n").as_bytes());
    }
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body)?;
    if head.contains("service=git-receive-pack")
        && let Some(args) = before_push.lock().unwrap().take()
    {
        run_git(root, &args.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = Command::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root.join(".git"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path.strip_prefix("/octo/repo.git").unwrap_or("/nothing"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", head.split(' ').next().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    backend.stdin.take().unwrap().write_all(&body)?;
    let output = backend.wait_with_output()?.stdout;
    (&*stream).write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")?;
    (&*stream).write_all(&output)
}

/// A Secret, as it is mounted.
pub fn secret(pairs: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    pairs.iter().for_each(|(name, value)| fs::write(folder.path().join(name), value).unwrap());
    folder
}

fn pod(url: &str, git_ref: &str, secret: Option<&TempDir>) -> Pod {
    let pod = Pod::at(url, git_ref).with_arg("--forge", "own");
    match secret {
        Some(secret) => pod.with_arg("--credential", &secret.path().display().to_string()),
        None => pod,
    }
}

/// The forms in which a token may be somewhere: as it is, in base64 wherever it begins, by percent signs, in hexadecimal, and its
/// halves.
fn forms(token: &str) -> BTreeMap<&'static str, Vec<u8>> {
    // What stands around it changes the first and the last of it.
    let base64 = |before: usize| {
        let text = STANDARD.encode(format!("{}{token}", "x".repeat(before))).into_bytes();
        text[before.div_ceil(3) * 4..text.len() - 6].to_vec()
    };
    BTreeMap::from([
        ("as it is", token.as_bytes().to_vec()),
        ("base64", base64(0)),
        ("base64, one on", base64(1)),
        ("base64, two on", base64(2)),
        ("with its user", STANDARD.encode(format!("bot:{token}")).into_bytes()),
        ("by percent signs", token.replace('-', "%2D").into_bytes()),
        ("hexadecimal", token.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
        ("the first half", token.as_bytes()[..token.len() / 2].to_vec()),
        ("the second half", token.as_bytes()[token.len() / 2..].to_vec()),
    ])
}

pub fn found(haystack: &[u8]) -> Vec<&'static str> {
    let has = |form: &[u8]| haystack.windows(form.len()).any(|window| window == form);
    forms(TOKEN).into_iter().filter(|(_, form)| has(form)).map(|(name, _)| name).collect()
}

/// Everything below a folder: names, and what is in files.
pub fn everything(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    let mut left: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        all.extend(path.to_string_lossy().bytes());
        match fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => all.extend(fs::read(&path).unwrap_or_default()),
        }
    }
    all
}

fn repository() -> (Repository, String) {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let first = repository.commit("first");
    repository.git(&["tag", "v1"]);
    repository.write("a", "2\n");
    repository.commit("second");
    (repository, first)
}

#[test]
fn branches_tags_and_commits_are_read_and_the_token_is_nowhere() {
    let (repository, first) = repository();
    let server = Private::of(&repository);
    let secret = secret(&[("username", "bot"), ("token", TOKEN)]);
    for git_ref in ["main", "v1", &first] {
        let pod = pod(&server.url(), git_ref, Some(&secret));
        assert_eq!(pod.source().outcome, Outcome::Succeeded, "{git_ref}");
        let (termination, _) = pod.run();
        let left = [everything(&pod.work()), everything(&pod.trace()), format!("{termination:?}").into_bytes()];
        assert_eq!(found(&left.concat()), Vec::<&str>::new(), "{git_ref}");
    }
    let seen = server.seen.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&seen).contains("remote-http"), "git was not seen");
    assert_eq!(found(&seen), Vec::<&str>::new());
    // The control: the search finds it where it is, and in each form.
    assert!(found(&everything(secret.path())).contains(&"as it is"));
    let asked = server.asked.lock().unwrap().join("");
    assert!(found(asked.as_bytes()).contains(&"with its user"));
    for (name, form) in forms(TOKEN) {
        assert!(found(&form).contains(&name), "{name}");
    }
}

#[test]
fn without_the_secret_a_private_repository_is_not_found() {
    let (repository, _) = repository();
    let url = Private::of(&repository).url();
    let not_found = FailureReason::SourceNotFound;
    pod(&url, "main", None).source_fails(not_found, "the forge own shows no repository octo/repo");
    pod(&url, "main", Some(&secret(&[]))).source_fails(not_found, "the forge own shows no repository");
    let wrong = secret(&[("username", "bot"), ("token", "other")]);
    pod(&url, "main", Some(&wrong)).source_fails(FailureReason::SourceUnavailable, "does not take its credential");
    let told = secret(&[("trouble", "the forge own can't be read")]);
    pod(&url, "main", Some(&told)).source_fails(FailureReason::SourceUnavailable, "the forge own can't be read");
    // The control.
    let right = secret(&[("username", "bot"), ("token", TOKEN)]);
    assert_eq!(pod(&url, "main", Some(&right)).source().outcome, Outcome::Succeeded);
}

#[test]
fn another_host_is_not_told_whatever_the_forge_says() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = other.local_addr().unwrap();
    let forge = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/octo/repo.git", forge.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = heads.clone();
    std::thread::spawn(move || {
        for stream in forge.incoming() {
            let stream = stream.unwrap();
            let head = head_of(&mut BufReader::new(&stream));
            let answer = match head.contains("Authorization: ") {
                false => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=x".to_owned(),
                true => format!("307 Temporary Redirect\r\nLocation: http://{elsewhere}/octo/repo.git/info/refs"),
            };
            noted.lock().unwrap().push(head);
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let secret = secret(&[("username", "bot"), ("token", TOKEN)]);
    pod(&url, "main", Some(&secret)).source_fails(FailureReason::SourceUnavailable, "redirects to another place");
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "it was asked");
    assert!(
        heads.lock().unwrap().iter().any(|head| head.contains("Authorization: ")),
        "the control: the forge was told"
    );
}
