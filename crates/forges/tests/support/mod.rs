//! A forge of scripted answers.

use std::sync::{Arc, Mutex};

use jct_domain::forge::Forges;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A server of one answer for each request, and what it was asked: the head, and the body.
pub struct Server {
    pub address: String,
    pub asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    pub async fn answering(answers: &[String]) -> Self {
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

    pub fn forge(&self, kind: &str) -> Forges {
        let Self { address, .. } = self;
        let api = if kind == "git" { String::new() } else { format!("api: 'http://{address}/api'") };
        Forges::read(&format!(
            "[{{name: hub, kind: {kind}, repos: [octo/], git: 'http://{address}/{{repo}}.git', {api}}}]"
        ))
        .unwrap()
    }

    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}
