//! Resource limits of a process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// What a process may use up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Processes and threads. The kernel counts all of the user, also those of other pods: a net far above what the
    /// supervisor allows.
    pub processes: Option<u64>,
    pub open_files: Option<u64>,
    /// The size of a file, in bytes.
    pub file_bytes: Option<u64>,
    /// Memory that it may write to, in bytes.
    pub data_bytes: Option<u64>,
}

/// Has no process leave a core dump, nor be handed to the machine's crash handler.
///
/// # Errors
/// When the kernel refuses.
pub fn leave_no_core() -> nix::Result<()> {
    // Not 0: that keeps the kernel from writing files alone. Where core_pattern names a program, it would start that, as root of
    // the machine, and leave it what the process made of itself.
    lower(Resource::RLIMIT_CORE, 1)
}

fn lower(resource: Resource, limit: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let limit = limit.min(hard);
    setrlimit(resource, limit, limit)
}

impl ProcessLimits {
    /// Sets them for this process and those that it starts. None is ever raised. No process leaves a core dump.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn apply(&self) -> nix::Result<()> {
        leave_no_core()?;
        let Self { processes, open_files, file_bytes, data_bytes } = *self;
        for (resource, limit) in [
            (Resource::RLIMIT_NPROC, processes),
            (Resource::RLIMIT_NOFILE, open_files),
            (Resource::RLIMIT_FSIZE, file_bytes),
            // Last: our own allocator may be above it already, and this process is about to be another.
            (Resource::RLIMIT_DATA, data_bytes),
        ] {
            limit.map_or(Ok(()), |limit| lower(resource, limit))?;
        }
        Ok(())
    }
}
