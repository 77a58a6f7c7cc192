//! A server behind the proxy, and programs in Python in front of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use tempfile::TempDir;

pub const PORT: u16 = 8123;
const COMMON: &str = include_str!("common.py");

/// A folder with the server's socket.
pub struct Bench {
    pub folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Bench {
    /// With a server that repeats lines, and answers HTTP.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("server")).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || answer(&stream));
            }
        });
        Self { folder, variables: Vec::new() }
    }

    pub fn with(mut self, variable: &'static str, value: impl ToString) -> Self {
        self.variables.push((variable, value.to_string()));
        self
    }

    /// The file of this name in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command that runs a script behind the proxy.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_socket-proxy"));
        command.arg(PORT.to_string()).arg(self.path("server")).args(["python3", "-c"]);
        self.prepared(command, script)
    }

    fn prepared(&self, mut command: Command, script: &str) -> Command {
        command.arg(format!("{COMMON}\n{script}")).env("PORT", PORT.to_string()).current_dir(self.folder.path());
        command.envs(self.variables.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// What a script prints behind the proxy.
    pub fn run(&self, script: &str) -> String {
        said(self.command(script))
    }

    /// What it prints without.
    pub fn run_free(&self, script: &str) -> String {
        let mut command = Command::new("python3");
        command.arg("-c");
        said(self.prepared(command, script))
    }
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    stdout.trim().to_owned()
}

fn answer(stream: &UnixStream) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        let mut to: &UnixStream = stream;
        let answer = if line.starts_with("GET ") {
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nhello\n".to_owned()
        } else {
            format!("you said {line}\n")
        };
        if to.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
