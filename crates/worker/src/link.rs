//! The one way from the supervisor, in the executor's container, to the recorder, which alone has the trace: a socket.
//!
//! The recorder listens on a path of the shared work folder, takes one connection, and removes the path before it says that
//! the executor may start: whatever an executor does, it finds no way to the trace. Frames of a kind, a length and a payload go
//! one way; nothing in them is believed but by the recorder's own rules. Two words go the other way: begin, and end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

/// The greatest payload of a frame, in bytes.
const MAX_PAYLOAD_BYTES: usize = 256 * 1024;
/// What the recorder says when all is ready.
const GO: u8 = jct_domain::model::GO;
/// What it says when the executor has to end. The signal for that comes to the supervisor too, but an image can name another one
/// for its container (STOPSIGNAL).
const STOP: u8 = b's';
/// How often the supervisor looks for the recorder.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One message of the supervisor.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A piece of the executor's standard output.
    Stdout(Vec<u8>),
    /// A piece of its standard error.
    Stderr(Vec<u8>),
    /// Something that is to stand in the events.
    Note(Note),
    /// The end: no process of the executor is left.
    Ended(Account),
}

/// Something that happened in the executor's container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub event: String,
    /// Its details, a JSON object.
    pub fields: Value,
}

/// Why the executor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Its budget was used up.
    OverBudget,
    /// A budget of models was, and it went on.
    OverModelBudget,
    /// It had more processes than it may.
    TooManyProcesses,
    /// It used more disk than it may.
    TooMuchDisk,
    /// The supervisor was told to end.
    Interrupted,
    /// The sandbox cannot be had.
    Unconfined,
    /// What it used could not be seen any more, so that no limit held.
    Unwatched,
    /// Some of its processes would not end.
    NotEnded,
}

/// The supervisor's account of the executor's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub end: End,
    /// Whether it failed for lack of memory, by the kernel's account and our own limit: never by what it says.
    pub out_of_memory: bool,
    /// In words, what the end is due to, where that is known.
    pub message: Option<String>,
    /// From its start to its end, in milliseconds.
    pub wall_ms: u64,
    /// What it and its children computed, in milliseconds.
    pub cpu_ms: u64,
    /// The largest of its processes at its peak, in bytes.
    pub peak_memory_bytes: u64,
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Sender(UnixStream);

/// The recorder's end, for frames.
#[derive(Debug)]
pub struct Receiver(OwnedReadHalf);

/// The recorder's end, for the word to end. The supervisor ends the executor as well when this is dropped.
#[derive(Debug)]
pub struct Stop(OwnedWriteHalf);

impl Sender {
    /// Waits for the recorder at `path`, and for its word that the executor may start.
    ///
    /// # Errors
    /// When the recorder does not appear within `patience`, or ends.
    pub async fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + patience;
        let mut stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        };
        if stream.read_u8().await? == GO { Ok(Self(stream)) } else { Err(io::Error::other("the recorder said no")) }
    }

    /// What the recorder says besides: whether it wants the end; otherwise it is gone, and there is nobody to tell.
    pub async fn wants_end(&mut self) -> bool {
        matches!(self.0.read_u8().await, Ok(STOP))
    }

    /// Sends a frame; waits while the recorder is busy with earlier ones.
    ///
    /// # Errors
    /// When the recorder is gone.
    pub async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let json;
        let (kind, payload) = match frame {
            Frame::Stdout(bytes) => (b'o', bytes.as_slice()),
            Frame::Stderr(bytes) => (b'e', bytes.as_slice()),
            Frame::Note(note) => {
                json = serde_json::to_vec(note)?;
                (b'n', json.as_slice())
            }
            Frame::Ended(account) => {
                json = serde_json::to_vec(account)?;
                (b'x', json.as_slice())
            }
        };
        let length = u32::try_from(payload.len()).ok().filter(|length| *length as usize <= MAX_PAYLOAD_BYTES);
        let length = length.ok_or_else(|| io::Error::other("a frame is too large"))?;
        self.0.write_u8(kind).await?;
        self.0.write_u32(length).await?;
        self.0.write_all(payload).await
    }
}

impl Sender {
    /// The connection itself, for what is no frame. It does not wait.
    ///
    /// # Errors
    /// When it can't be had.
    pub fn into_channel(self) -> io::Result<std::os::unix::net::UnixStream> {
        self.0.into_std()
    }
}

impl Stop {
    /// Has the supervisor end the executor. Whether it is there to hear that will show.
    pub async fn send(&mut self) {
        let _ = self.0.write_u8(STOP).await;
    }
}

impl Receiver {
    /// The next frame; none when the supervisor is gone, with or without a word.
    ///
    /// # Errors
    /// When what comes is no frame.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        let kind = match self.0.read_u8().await {
            Ok(kind) => kind,
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.rest(kind).await {
            Err(error) if is_end(&error) => Ok(None),
            frame => frame.map(Some),
        }
    }

    async fn rest(&mut self, kind: u8) -> io::Result<Frame> {
        let length = self.0.read_u32().await? as usize;
        if length > MAX_PAYLOAD_BYTES {
            return Err(io::Error::other("the supervisor sent a frame that is too large"));
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok(match kind {
            b'o' => Frame::Stdout(payload),
            b'e' => Frame::Stderr(payload),
            b'n' => Frame::Note(serde_json::from_slice(&payload).map_err(io::Error::other)?),
            b'x' => Frame::Ended(serde_json::from_slice(&payload).map_err(io::Error::other)?),
            _ => return Err(io::Error::other("the supervisor sent a frame of an unknown kind")),
        })
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// A recorder that waits for its supervisor.
#[derive(Debug)]
pub struct RecorderSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl RecorderSocket {
    /// Listens at `path`, where nothing may be.
    ///
    /// # Errors
    /// When it can't.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { listener: UnixListener::bind(path)?, path: path.to_owned() })
    }

    /// Waits for the supervisor, and lets nobody else in.
    ///
    /// # Errors
    /// When the path can't be removed.
    pub async fn accept(self) -> io::Result<WaitingSupervisor> {
        let (stream, _) = self.listener.accept().await?;
        std::fs::remove_file(&self.path)?;
        Ok(WaitingSupervisor(stream))
    }
}

/// A supervisor that waits for the word to begin.
#[derive(Debug)]
pub struct WaitingSupervisor(UnixStream);

impl WaitingSupervisor {
    /// Lets it begin.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn begin(mut self) -> io::Result<(Receiver, Stop)> {
        self.0.write_u8(GO).await?;
        let (frames, words) = self.0.into_split();
        Ok((Receiver(frames), Stop(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_as_they_were_sent_and_nobody_else_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door");
        let socket = RecorderSocket::open(&path).unwrap();
        let account = Account {
            end: End::Exited(3),
            out_of_memory: false,
            message: None,
            wall_ms: 1,
            cpu_ms: 2,
            peak_memory_bytes: 3,
        };
        let frames = [
            Frame::Stdout(b"out\xff".to_vec()),
            Frame::Stderr(Vec::new()),
            Frame::Note(Note { event: "sandbox".into(), fields: serde_json::json!({"a": 1}) }),
            Frame::Ended(account),
        ];
        let sent = frames.clone();
        let target = path.clone();
        let supervisor = tokio::spawn(async move {
            let mut sender = Sender::connect(&target, Duration::from_secs(10)).await.unwrap();
            for frame in &sent {
                sender.send(frame).await.unwrap();
            }
            assert!(sender.send(&Frame::Stdout(vec![0; MAX_PAYLOAD_BYTES + 1])).await.is_err());
        });
        let waiting = socket.accept().await.unwrap();
        assert!(!path.exists(), "nobody else comes in");
        let (mut receiver, _stop) = waiting.begin().await.unwrap();
        for frame in frames {
            assert_eq!(receiver.next().await.unwrap(), Some(frame));
        }
        assert_eq!(receiver.next().await.unwrap(), None);
        supervisor.await.unwrap();
    }

    #[tokio::test]
    async fn the_recorder_asks_for_the_end_or_is_gone() {
        let (supervisor, recorder) = UnixStream::pair().unwrap();
        let (frames, words) = recorder.into_split();
        let (mut sender, mut receiver, mut stop) = (Sender(supervisor), Receiver(frames), Stop(words));
        stop.send().await;
        assert!(sender.wants_end().await);
        sender.send(&Frame::Stdout(b"last".to_vec())).await.unwrap();
        assert_eq!(receiver.next().await.unwrap(), Some(Frame::Stdout(b"last".to_vec())));
        drop((receiver, stop));
        assert!(!sender.wants_end().await);
    }

    #[tokio::test]
    async fn a_supervisor_without_recorder_gives_up() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Sender::connect(&dir.path().join("none"), Duration::from_millis(50)).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error_and_half_a_frame_is_the_end() {
        let (mut supervisor, recorder) = UnixStream::pair().unwrap();
        let mut receiver = Receiver(recorder.into_split().0);
        supervisor.write_all(&[b'o', 0, 0, 0, 9, 1]).await.unwrap();
        drop(supervisor);
        assert_eq!(receiver.next().await.unwrap(), None);
        for bytes in [[b'?', 0, 0, 0, 0], [b'o', 255, 0, 0, 0], [b'x', 0, 0, 0, 0]] {
            let (mut supervisor, recorder) = UnixStream::pair().unwrap();
            supervisor.write_all(&bytes).await.unwrap();
            assert!(Receiver(recorder.into_split().0).next().await.is_err());
        }
    }
}
