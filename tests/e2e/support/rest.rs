//! The REST API, as a caller with a token of their own reaches it.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use super::{RELEASE_NAMESPACE, kubectl};

/// A way to the API's Service, open while this is there.
pub struct Rest {
    address: String,
    _forward: Child,
    // kubectl ends when nobody is there to read of the connections that it handles.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Rest {
    pub async fn open() -> Self {
        let mut forward = Command::new("kubectl")
            .args(["--namespace", RELEASE_NAMESPACE, "port-forward", "service/jct-api", ":80"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines();
        // Forwarding from 127.0.0.1:PORT -> 8000
        let line = lines.next_line().await.unwrap().expect("kubectl port-forward ended");
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { address, _forward: forward, _output: lines }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Status and body of the answer.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.answer(method, path, token, body).await;
        (status, body)
    }

    /// Status, head and body of the answer.
    pub async fn answer(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: jct-api\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        (head.split_whitespace().nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    /// The body of a file that is sent in pieces of any kind.
    pub async fn bytes(&self, path: &str, token: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        // Without pieces of its own: HTTP/1.0 has none.
        let request = format!("GET {path} HTTP/1.0\r\nHost: jct-api\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let at = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
        assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer[..at]));
        answer.split_off(at + 4)
    }

    /// As [`Rest::call`], for a body of JSON.
    pub async fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let (status, body) = self.call(method, path, token, &body.to_string()).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }
}

/// A service account of `namespace`, made if it is not there, and a token of it for `audience`.
pub async fn token(namespace: &str, account: &str, audience: &str) -> String {
    let namespace = format!("--namespace={namespace}");
    let _ = super::run("kubectl", &["create", "serviceaccount", account, &namespace], "").await;
    let audience = format!("--audience={audience}");
    let args: &[&str] = &["create", "token", account, &namespace, &audience];
    // Without one it is for the API server.
    let args = if audience == "--audience=" { &args[..4] } else { args };
    kubectl(args).await.trim().to_owned()
}
