//! A connection of the process, and how it is passed on: the supervisor need not copy its bytes.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::handover::{receive_descriptors, send_descriptors};

/// A connection that the process made, as who was connected to has it.
///
/// It counts as open until this is dropped, here or in the process that it was sent to. Read it by read(2) alone, as all that
/// the standard library and tokio do: descriptors that the process sends along are dropped by the kernel then.
#[derive(Debug)]
pub struct Connection {
    /// What the process writes and reads.
    pub stream: UnixStream,
    /// Whose end tells the proxy that the connection is over.
    lease: PipeWriter,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> io::Result<(Self, PipeReader)> {
        let (over, lease) = io::pipe()?;
        Ok((Self { stream, lease }, over))
    }

    /// The stream, and what must be kept until it is no longer used.
    pub fn into_parts(self) -> (UnixStream, PipeWriter) {
        (self.stream, self.lease)
    }
}

/// Passes a connection on to another process, over a Unix socket.
///
/// # Errors
/// If nobody takes it.
pub fn send(connection: &Connection, channel: impl AsFd) -> io::Result<()> {
    send_descriptors(channel.as_fd(), &[connection.stream.as_fd(), connection.lease.as_fd()])
}

/// The next connection that another process [sends](send); `None` when it has ended.
///
/// # Errors
/// If something else comes.
pub fn receive(channel: impl AsFd) -> io::Result<Option<Connection>> {
    let received = receive_descriptors(channel.as_fd())?;
    Ok(received.map(|[stream, lease]| Connection { stream: stream.into(), lease: lease.into() }))
}
