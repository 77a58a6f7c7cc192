//! A model server that makes a program write one file, then stop: for tests, without a model.
//!
//! It speaks the four dialects. A request that offers a tool that it knows, and has no result of one yet, is answered with a call
//! of that tool which writes the file; any other with "Done.". [`Fault`]s are what real providers do at times.

mod answers;
mod server;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use tokio::net::{TcpListener, UnixListener};

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error of this status: 429 and 529 say when to come again.
    Status(u16),
    /// The connection breaks off after the first event.
    Cut,
    /// After the first event nothing comes any more.
    Silence,
    /// No answer comes at all.
    Mute,
    /// The answer is no answer.
    Garbage,
    /// Text without end: as many bytes.
    Endless(u64),
    /// A byte at a time, this many milliseconds apart.
    Slow(u64),
    /// Go and ask there.
    Redirect,
    /// In an encoding that nobody asked for.
    Encoded,
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// `429`, `cut`, `silence`, `mute`, `garbage`, `endless`, `slow`, `redirect`, `encoded`.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "cut" => Self::Cut,
            "silence" => Self::Silence,
            "mute" => Self::Mute,
            "garbage" => Self::Garbage,
            "endless" => Self::Endless(10_000_000_000),
            "slow" => Self::Slow(100),
            "redirect" => Self::Redirect,
            "encoded" => Self::Encoded,
            status => Self::Status(status.parse().map_err(|_| format!("{status} is no fault"))?),
        })
    }
}

/// What it does.
#[derive(Clone, Debug)]
pub struct Script {
    /// The file that the program is to write, in its folder.
    pub file: String,
    /// The program's folder, for tools that want whole paths.
    pub folder: String,
    /// What is to be in it. Without quotes: a shell may have to write it.
    pub content: String,
    /// A command that is to be run in the place of that.
    pub command: Option<String>,
    /// What it says when there is nothing to do. A longer text comes in as many events as it has words.
    pub text: String,
    /// What goes wrong, of one answer after the other; afterwards nothing.
    pub faults: VecDeque<Fault>,
    /// What goes wrong always.
    pub always: Option<Fault>,
    /// Between two events.
    pub pause_ms: u64,
    /// The one key that is answered, by whichever header; any if there is none.
    pub key: Option<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            file: "hello.txt".into(),
            folder: ".".into(),
            content: "written by the fake model\n".into(),
            command: None,
            text: "Done.".into(),
            faults: VecDeque::new(),
            always: None,
            pause_ms: 0,
            key: None,
        }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as it came.
    pub body: Bytes,
}

impl Recorded {
    /// Its body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A server that can be told what to do, and asked what came.
#[derive(Clone, Debug, Default)]
pub struct FakeModel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    script: Mutex<Script>,
    requests: Mutex<Vec<Recorded>>,
    sent: AtomicU64,
}

impl FakeModel {
    /// One that does this.
    pub fn new(script: Script) -> Self {
        let fake = Self::default();
        *fake.script() = script;
        fake
    }

    /// What it does, to be changed.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of bodies that were taken from it so far.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Listens at a free port of loopback; ends with the runtime.
    ///
    /// # Errors
    /// If there is none.
    pub async fn listen(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let fake = self.clone();
        tokio::spawn(async move { fake.serve_tcp(listener).await });
        Ok(address)
    }

    /// Answers whoever connects.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve_tcp(&self, listener: TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            self.start(stream);
        }
    }

    /// Answers whoever connects to a Unix socket.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve_unix(&self, path: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        loop {
            self.start(listener.accept().await?.0);
        }
    }
}
