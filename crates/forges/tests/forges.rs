//! Forges as they answer by their public documentation, and as they should not.

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jct_domain::forge::Forges;
use jct_domain::task::Repo;
use jct_forges::{CallError, ForgeClient, Login, Purpose, Secret, advertised, login, permitted};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

const NOW: &str = "2026-12-01T05:00:00Z";

/// A server of one answer for each request, and what it was asked: the head, and the body.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    async fn answering(answers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let (answers, noted) = (answers.to_vec(), asked.clone());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut reader = BufReader::new(&mut stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).await.unwrap() > 0 {}
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).await.unwrap();
                noted.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn forge(&self, kind: &str) -> Forges {
        let Self { address, .. } = self;
        let api = if kind == "git" { String::new() } else { format!("api: 'http://{address}/api'") };
        Forges::read(&format!(
            "[{{name: hub, kind: {kind}, repos: [octo/], git: 'http://{address}/{{repo}}.git', {api}}}]"
        ))
        .unwrap()
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn repo() -> Repo {
    Repo::parse("octo/hello-world").unwrap()
}

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// As GitHub hands out the key of an App.
fn app(traditional: bool) -> (Secret, Vec<u8>) {
    let mut args = vec!["genrsa"];
    args.extend(traditional.then_some("-traditional"));
    args.push("2048");
    let pem = run("openssl", &args);
    let data = BTreeMap::from([
        ("app-id".to_owned(), b"123".to_vec()),
        ("installation-id".to_owned(), b"456".to_vec()),
        ("private-key".to_owned(), pem.clone()),
    ]);
    (Secret::read(&data).unwrap(), pem)
}

async fn token(server: &Server, secret: &Secret, purpose: Purpose) -> Result<Login, CallError> {
    let forges = server.forge("github");
    login(&forges.0[0], secret, &repo(), purpose, NOW.parse().unwrap()).await
}

/// <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
fn created(full_name: &str) -> String {
    let body = json!({
        "token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
        "expires_at": "2016-07-11T22:14:10Z",
        "permissions": {"contents": "read"},
        "repository_selection": "selected",
        "repositories": [{"id": 1_296_269, "name": "Hello-World", "full_name": full_name, "private": true}],
    });
    answer("201 Created", "Content-Type: application/json\r\n", &body.to_string())
}

#[rstest]
#[case(true, Purpose::Read, json!({"contents": "read"}))]
#[case(false, Purpose::Deliver, json!({"contents": "write", "pull_requests": "write"}))]
#[tokio::test]
async fn an_apps_token_is_for_one_repository_with_the_least_rights(
    #[case] traditional: bool,
    #[case] purpose: Purpose,
    #[case] permissions: Value,
) {
    let server = Server::answering(&[created("octo/Hello-World")]).await;
    let (secret, pem) = app(traditional);
    let login = token(&server, &secret, purpose).await.unwrap();
    assert_eq!((&*login.username, &*login.token), ("x-access-token", "ghs_16C7e42F292c6912E7710c838347Ae178B4a"));
    let (head, body) = server.asked().remove(0);
    assert!(head.starts_with("POST /api/app/installations/456/access_tokens HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("x-github-api-version: 2022-11-28") && head.contains("application/vnd.github+json"),
        "{head}"
    );
    let asked: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(asked, json!({"repositories": ["hello-world"], "permissions": permissions}));

    // The assertion, as its documentation has it, verified by another implementation.
    let jwt = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    let parts: Vec<&str> = jwt.split('.').collect();
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let now = NOW.parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(json(parts[0]), json!({"alg": "RS256", "typ": "JWT"}));
    assert_eq!(json(parts[1]), json!({"iss": "123", "iat": now - 60, "exp": now + 540}));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let key = file("key", &pem);
    let public = file("public", &run("openssl", &["rsa", "-in", &key, "-pubout"]));
    let signature = file("signature", &URL_SAFE_NO_PAD.decode(parts[2]).unwrap());
    let signed = file("signed", format!("{}.{}", parts[0], parts[1]).as_bytes());
    run("openssl", &["dgst", "-sha256", "-verify", &public, "-signature", &signature, &signed]);
}

#[rstest]
#[case(created("other/Hello-World"), "another account's", false)]
#[case(answer("201 Created", "", "{\"token\": \"\", \"repositories\": []}"), "no token", false)]
#[case(answer("200 OK", "", "<html>ghs_c4nary</html>"), "answers 200", false)]
#[case(
    answer("401 Unauthorized", "", "{\"message\": \"A JSON web token could not be decoded\"}"),
    "app-id and private-key",
    false
)]
#[case(answer("404 Not Found", "", "{\"message\": \"Not Found\"}"), "no such installation", false)]
#[case(
    answer("422 Unprocessable Entity", "", "{\"message\": \"There is at least one repository that does not exist\"}"),
    "does not have this repository",
    false
)]
#[case(answer("302 Found", "Location: http://evil.example/\r\n", ""), "redirects to another place", false)]
#[case(answer("429 Too Many Requests", "Retry-After: 7\r\n", ""), "asked too often", true)]
#[case(answer("503 Service Unavailable", "", "<html>"), "trouble (503)", true)]
#[tokio::test]
async fn what_github_says_instead_is_told(#[case] answer: String, #[case] expected: &str, #[case] passes: bool) {
    let server = Server::answering(&[answer]).await;
    let error = token(&server, &app(true).0, Purpose::Read).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!error.to_string().contains("c4nary"), "{error}");
    assert_eq!(error.is_passing(), passes);
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_credential() {
    let other = Server::answering(&[answer("200 OK", "", "{}")]).await;
    let away = answer("307 Temporary Redirect", &format!("Location: http://{}/\r\n", other.address), "");
    let server = Server::answering(&[away.clone(), away]).await;
    let forges = server.forge("gitea");
    let client = ForgeClient::new(&forges.0[0]).unwrap();
    let login = Login { username: "bot".into(), token: "c4nary".into() };
    let error = permitted(&client, &forges.0[0], &repo(), &login).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    let error = advertised(&client, &forges.0[0], &repo(), Some(&login), false).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    // The control: the forge itself has it.
    assert!(server.asked().iter().all(|(head, _)| head.contains("authorization: ")));
    assert_eq!(other.asked(), []);
}

#[tokio::test]
async fn what_a_credential_may_do_is_asked_without_writing() {
    let advertisement = "Content-Type: application/x-git-receive-pack-advertisement\r\n";
    let server = Server::answering(&[
        answer("200 OK", "", &json!({"permissions": {"admin": false, "push": true, "pull": true}}).to_string()),
        answer("200 OK", advertisement, "001f# service=git-receive-pack\n0000"),
        answer("200 OK", "Content-Type: text/html\r\n", "<html>Sign in</html>"),
        answer("401 Unauthorized", "", ""),
    ])
    .await;
    let forges = server.forge("gitea");
    let (forge, client) = (&forges.0[0], ForgeClient::new(&forges.0[0]).unwrap());
    let login = Login { username: "bot".into(), token: "c4nary".into() };
    let seen = permitted(&client, forge, &repo(), &login).await.unwrap().unwrap();
    assert!(seen.reads && seen.writes);
    advertised(&client, forge, &repo(), Some(&login), true).await.unwrap();
    let error = advertised(&client, forge, &repo(), Some(&login), true).await.unwrap_err().to_string();
    assert!(error.contains("no server of git"), "{error}");
    let error = advertised(&client, forge, &repo(), Some(&login), false).await.unwrap_err().to_string();
    assert!(error.contains("does not take the credential") && !error.contains("c4nary"), "{error}");
    let asked = server.asked();
    assert!(asked.iter().all(|(head, body)| head.starts_with("GET ") && body.is_empty()));
    assert!(asked[0].0.starts_with("GET /api/repos/octo/hello-world HTTP"), "{}", asked[0].0);
    assert!(
        asked[1].0.starts_with("GET /octo/hello-world.git/info/refs?service=git-receive-pack HTTP"),
        "{}",
        asked[1].0
    );
}

#[tokio::test]
async fn plain_git_has_no_api_to_ask() {
    let server = Server::answering(&[]).await;
    let forges = server.forge("git");
    let client = ForgeClient::new(&forges.0[0]).unwrap();
    let login = Login { username: "bot".into(), token: "c4nary".into() };
    assert_eq!(permitted(&client, &forges.0[0], &repo(), &login).await, Ok(None));
}

#[tokio::test]
async fn a_forge_that_is_away_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: listener.local_addr().unwrap().to_string(), asked: Arc::default() };
    drop(listener);
    let error = token(&server, &app(true).0, Purpose::Read).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("can't be reached"), "{error}");
}
