//! What can be missing.

use std::io;

/// Why there is no proxy: each of them means that the sandbox cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This kernel has not what is needed.
    #[error("the kernel has no seccomp notification that is killable (Linux 5.19 or newer has, gVisor has not): {0}")]
    Unsupported(io::Error),
    /// The kernel lets one listener in, and there is one.
    #[error(
        "another seccomp listener watches this process already: of the container runtime (an action NOTIFY of its profile), of \
         LXD or Sysbox, or of WSL2"
    )]
    Busy,
    /// Any other refusal.
    #[error("seccomp notification cannot be had: {0}")]
    Install(io::Error),
    /// The supervisor has not taken the listener.
    #[error("the seccomp listener cannot be handed to the supervisor: {0}")]
    HandOver(io::Error),
}

impl Error {
    pub(crate) fn of_install(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EBUSY) => Self::Busy,
            Some(libc::EINVAL | libc::ENOSYS) => Self::Unsupported(error),
            _ => Self::Install(error),
        }
    }
}
