//! The kernel's calls by their numbers: nobody has made safe ways to what no program should do. The only unsafe code here.

use std::ffi::CString;

use nix::errno::Errno;

/// What a try gave.
pub type Got = Result<i64, Errno>;

/// One call. What is passed as a pointer must be one, or null, to something that outlives the call and is as large as the
/// call believes.
pub fn call(number: libc::c_long, arguments: [usize; 6]) -> Got {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: see above; every caller is in this program, and it is made to be killed.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(answer)
}

/// [`call`] with fewer arguments.
pub fn try_call<const N: usize>(number: libc::c_long, given: [usize; N]) -> Got {
    let mut arguments = [0; 6];
    arguments[..N].copy_from_slice(&given);
    call(number, arguments)
}

/// [`call`] with a path before the other arguments.
pub fn on_path<const N: usize>(number: libc::c_long, path: &str, rest: [usize; N]) -> Got {
    let path = CString::new(path).unwrap_or_default();
    let mut arguments = [0; 6];
    arguments[0] = path.as_ptr().addr();
    arguments[1..=N].copy_from_slice(&rest);
    call(number, arguments)
}

/// A number as the kernel takes it, with its sign.
pub fn signed(number: i32) -> usize {
    number as isize as usize
}

/// Whether this is the child of a fork.
pub fn is_child() -> Result<bool, Errno> {
    call(libc::SYS_fork, [0; 6]).map(|id| id == 0)
}

/// Does not care for a signal any more.
pub fn ignore(signal: i32) {
    // SAFETY: ignoring has no handler that could do harm.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
