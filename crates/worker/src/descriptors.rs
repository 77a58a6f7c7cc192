//! Descriptors that whoever started us left open: those of a build's job server, of a runner of CI, of a shell's `exec 7<file`.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::unistd::close;

/// The first one that is neither input, output nor error.
const FIRST_OTHER: RawFd = 3;

/// Closes all of this process but input, output and error. Only for a process that has opened none itself yet.
///
/// By number, from the kernel's list of those that there are: neither the standard library nor `nix` has close_range(2) as a
/// safe function, and closing a number is one. Nothing has to be marked for the programs that this one becomes or starts: what
/// the standard library opens is closed by itself then.
///
/// # Errors
/// If the list can't be read: then nothing is known of what is open.
pub fn close_inherited() -> io::Result<()> {
    // In full, before the first is closed: the list is read through a descriptor too.
    let open =
        fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name().to_str().and_then(|name| name.parse().ok())));
    let open: Vec<Option<RawFd>> = open.collect::<io::Result<_>>()?;
    for number in open.into_iter().flatten().filter(|number| *number >= FIRST_OTHER) {
        match close(number) {
            // The one of the list itself is closed already.
            Ok(()) | Err(Errno::EBADF) => {}
            // Gone in any case: see close(2).
            Err(_) => {}
        }
    }
    Ok(())
}
