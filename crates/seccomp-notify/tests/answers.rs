//! Each answer that a call can get, by real calls of real threads: a filter is its thread's alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use jct_seccomp_notify::{Instruction, Listener, install};

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}

/// Asks about getppid and socket, which nothing else here calls.
const FILTER: [Instruction; 5] = [
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, libc::SYS_getppid as u32),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_socket as u32),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
];

fn no_new_privileges() {
    // SAFETY: changes a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
}

/// What a call gives in a thread with the filter.
fn asking(call: impl FnOnce() -> i64 + Send + 'static) -> (Listener, JoinHandle<(i64, io::Error)>) {
    let (tell, listener) = mpsc::channel();
    let asker = thread::spawn(move || {
        no_new_privileges();
        tell.send(install(&FILTER).unwrap()).unwrap();
        (call(), io::Error::last_os_error())
    });
    (listener.recv().unwrap(), asker)
}

fn getppid() -> i64 {
    // SAFETY: has no arguments.
    unsafe { libc::syscall(libc::SYS_getppid) }
}

#[test]
fn an_answer_is_what_the_call_gives() {
    let (listener, asker) = asking(getppid);
    let asked = listener.receive().unwrap();
    assert_eq!(asked.call, libc::SYS_getppid);
    assert!(listener.is_valid(asked.id));
    listener.answer(asked.id, Ok(4711)).unwrap();
    assert_eq!(asker.join().unwrap().0, 4711);
    assert!(!listener.is_valid(asked.id), "it is answered");
    assert_eq!(listener.answer(asked.id, Ok(1)).unwrap_err().raw_os_error(), Some(libc::ENOENT));

    let (listener, asker) = asking(getppid);
    listener.answer(listener.receive().unwrap().id, Err(libc::EXDEV)).unwrap();
    let (result, error) = asker.join().unwrap();
    assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EXDEV)));

    let (listener, asker) = asking(getppid);
    listener.let_continue(listener.receive().unwrap().id).unwrap();
    assert_eq!(asker.join().unwrap().0, i64::from(std::os::unix::process::parent_id()));
}

#[test]
fn a_descriptor_is_an_answer_with_its_flag() {
    for close_on_exec in [true, false] {
        let (listener, asker) = asking(|| {
            // SAFETY: the arguments are numbers.
            let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
            // SAFETY: the arguments are numbers.
            i64::from(unsafe { libc::fcntl(fd, libc::F_GETFD) }) + 1000 * i64::from(fd >= 0)
        });
        let asked = listener.receive().unwrap();
        assert_eq!(asked.arguments[..2], [libc::AF_INET as u64, libc::SOCK_STREAM as u64]);
        let file = std::fs::File::open("/dev/null").unwrap();
        listener.answer_with_descriptor(asked.id, file.as_fd(), close_on_exec).unwrap();
        let expected = if close_on_exec { i64::from(libc::FD_CLOEXEC) } else { 0 };
        assert_eq!(asker.join().unwrap().0, 1000 + expected);
    }
}

#[test]
fn without_a_listener_there_is_no_such_call() {
    let (listener, asker) = asking(|| {
        thread::sleep(std::time::Duration::from_millis(50));
        getppid()
    });
    drop(listener);
    let (result, error) = asker.join().unwrap();
    assert_eq!((result, error.raw_os_error()), (-1, Some(libc::ENOSYS)));
}

#[test]
fn what_cannot_be_installed_says_why() {
    let errno = |filter: &'static [Instruction], privileges: bool| {
        let tried = thread::spawn(move || {
            if !privileges {
                no_new_privileges();
            }
            install(filter).map(drop).unwrap_err().raw_os_error()
        });
        tried.join().unwrap()
    };
    assert_eq!(errno(&[], false), Some(libc::EINVAL));
    let again = thread::spawn(|| {
        no_new_privileges();
        let _first = install(&FILTER).unwrap();
        install(&FILTER).map(drop).unwrap_err().raw_os_error()
    });
    assert_eq!(again.join().unwrap(), Some(libc::EBUSY), "one listener for a thread");
    // SAFETY: has no arguments.
    if unsafe { libc::geteuid() } != 0 {
        assert_eq!(errno(&FILTER, true), Some(libc::EACCES));
    }
}
