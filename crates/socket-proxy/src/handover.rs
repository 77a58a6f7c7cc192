//! From the process that has the filter to the thread that answers: the listener, over a pair of Unix sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jct_seccomp_notify::Listener;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::{Error, install};

/// Confines this thread as [`install`] does, hands the listener over `channel` to whoever [started](crate::start) the proxy,
/// and waits until that has it. To be called last, by a process with one thread that then becomes the program.
///
/// # Errors
/// If the filter or the supervisor can't be had. This thread may be confined then, and must end.
pub fn hand_over(channel: impl AsFd, unix_sockets: bool) -> Result<(), Error> {
    let listener = install(unix_sockets)?;
    send_descriptors(channel.as_fd(), &[listener.as_fd()]).map_err(Error::HandOver)?;
    // Our copy must be gone before the program is there, or it would have the answers to its own questions.
    drop(listener);
    match rustix::io::read(channel.as_fd(), &mut [0; 1]) {
        Ok(1) => Ok(()),
        Ok(_) => Err(Error::HandOver(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(Error::HandOver(error.into())),
    }
}

/// The other side of [`hand_over`]; `None` if whoever was to hand it over is gone.
pub(crate) fn take_over(channel: BorrowedFd<'_>) -> io::Result<Option<Listener>> {
    let Some([listener]) = receive_descriptors(channel)? else { return Ok(None) };
    rustix::io::write(channel, &[1])?;
    Ok(Some(listener.into()))
}

/// Hands the channel of [`hand_over`] on to the next of the processes that become the program, over a Unix socket.
///
/// # Errors
/// If nobody takes it.
pub fn pass_channel(channel: impl AsFd, next: impl AsFd) -> io::Result<()> {
    send_descriptors(next.as_fd(), &[channel.as_fd()])
}

/// The other side of [`pass_channel`]; `None` if whoever was to pass it on is gone.
///
/// # Errors
/// If something else comes.
pub fn take_channel(before: impl AsFd) -> io::Result<Option<OwnedFd>> {
    Ok(receive_descriptors(before.as_fd())?.map(|[channel]| channel))
}

/// Sends descriptors with a byte to carry them.
pub(crate) fn send_descriptors(channel: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(channel, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives as many descriptors as are wanted, closed on exec; `None` at the end.
pub(crate) fn receive_descriptors<const N: usize>(channel: BorrowedFd<'_>) -> io::Result<Option<[OwnedFd; N]>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    let wrong = |got: Vec<OwnedFd>| io::Error::other(format!("{N} descriptors were to come, not {}", got.len()));
    descriptors.try_into().map(Some).map_err(wrong)
}
