//! seccomp user notification (seccomp_unotify(2)): a filter that asks another process what a system call is to give.
//!
//! # Why there is unsafe code
//! No package offers what is needed in safe Rust: seccompiler installs filters without flags and has no action that notifies,
//! rustix and nix know nothing of notifications, and libseccomp is a C library, which a static binary would have to build.
//! What is left is one system call, `seccomp`, and four requests of `ioctl`, each with a structure of integers alone. They are
//! here, and nothing else is: no parsing, no policy, no state. Whoever decides uses this package from safe code.
//!
//! Needs Linux 5.19 (`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`).
#![deny(unsafe_op_in_unsafe_fn)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction of a filter.
pub use libc::sock_filter as Instruction;

/// A system call that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names it in the answer; not used again for another.
    pub id: u64,
    /// The thread that called, by its number in the reader's PID namespace; 0 where it has none there. It may have ended since
    /// and its number may belong to another: see [`Listener::is_valid`].
    pub thread: u32,
    /// The number of the call.
    pub call: i64,
    /// Its arguments. What they point to is the caller's memory, which other threads change meanwhile.
    pub arguments: [u64; 6],
}

/// Reads notifications of a filter and answers them. When the last copy of it is closed, calls that notify fail with ENOSYS.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// Adds a filter to this thread, for ever and for all that it starts, whose calls that notify are read from the listener. A
/// caller that waits for its answer can be killed, but no other signal reaches it.
///
/// # Errors
/// EACCES without no_new_privs; EBUSY if a listener watches this thread already; EINVAL if the filter is none, or on kernels
/// that are older than 5.19; ENOSYS where there is no seccomp.
pub fn install(filter: &[Instruction]) -> io::Result<Listener> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: The kernel reads `len` instructions from `filter`, which is as long and outlives the call, and writes nothing.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: The call succeeded, so that this is a new descriptor that nobody else owns.
    Ok(Listener(unsafe { OwnedFd::from_raw_fd(fd) }))
}

impl Listener {
    /// The next notification; waits for it. Poll first: who called may be gone by then, and the next is waited for.
    ///
    /// # Errors
    /// ENOENT if the caller was killed meanwhile; EINTR.
    pub fn receive(&self) -> io::Result<Notification> {
        let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
        // The kernel wants it to be zero.
        let mut request = libc::seccomp_notif { id: 0, pid: 0, flags: 0, data };
        // SAFETY: The request has the size of this structure in its number, and the kernel writes no more than that to it. All
        // of its fields are integers, for which every value is valid.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut request) };
        checked(done)?;
        let libc::seccomp_notif { id, pid: thread, flags: _, data } = request;
        Ok(Notification { id, thread, call: data.nr.into(), arguments: data.args })
    }

    /// Has the call give `result`, an error's number or success.
    ///
    /// # Errors
    /// ENOENT if nobody waits for it any more.
    pub fn answer(&self, id: u64, result: Result<i64, i32>) -> io::Result<()> {
        let (val, error) = result.map_or_else(|errno| (0, -errno), |val| (val, 0));
        self.send(libc::seccomp_notif_resp { id, val, error, flags: 0 })
    }

    /// Has the kernel carry out the call, with what its arguments point to by then: never a means to allow what had to be
    /// checked.
    ///
    /// # Errors
    /// As [`Listener::answer`].
    pub fn let_continue(&self, id: u64) -> io::Result<()> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        self.send(libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
    }

    /// Has the call give a new descriptor of the caller for what `fd` refers to, in one step: none is left without its answer.
    ///
    /// # Errors
    /// ENOENT if nobody waits for it any more; EMFILE if the caller has too many, which it is not told.
    pub fn answer_with_descriptor(&self, id: u64, fd: BorrowedFd<'_>, close_on_exec: bool) -> io::Result<()> {
        let request = libc::seccomp_notif_addfd {
            id,
            flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            srcfd: fd.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        // SAFETY: The request has the size of this structure in its number; the kernel reads it and writes nothing.
        let added = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const request) };
        checked(added)
    }

    /// Whether the call still waits: then, what was looked up by its thread's number before was that thread's.
    pub fn is_valid(&self, id: u64) -> bool {
        // SAFETY: The kernel reads an integer of this size and writes nothing.
        let known = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
        known == 0
    }

    fn send(&self, response: libc::seccomp_notif_resp) -> io::Result<()> {
        // SAFETY: The request has the size of this structure in its number; the kernel reads it and writes nothing.
        let sent = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) };
        checked(sent)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What another process installed and handed over. Of another descriptor all requests fail.
impl From<OwnedFd> for Listener {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
