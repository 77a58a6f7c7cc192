//! The filter: which system calls are asked about, and what is decided without asking.
//!
//! It is complete for sockets: whatever other filters a process has, none but AF_UNIX comes into being under this one. The
//! kernel takes the strictest action of all filters: where another one refuses `socket`, nobody is asked.

use std::mem::offset_of;

use jct_seccomp_notify::Instruction;
use libc::{c_long, seccomp_data};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// x86-64's second way to each call, for short pointers, has numbers from here on.
const SHORT_POINTERS: u32 = 0x4000_0000;
/// The kinds of socket are below the flags of `socket`'s second argument.
const KINDS: u32 = 0xf;

/// Calls about a socket that the supervisor answers if it is one of its own.
const ASKED: [c_long; 5] =
    [libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_getsockname, libc::SYS_getpeername];
/// By these, sockets could come into being unseen.
const IO_URING: [c_long; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
/// Levels of options that succeed and do nothing: those of TCP and IP. Without, half of all HTTP clients give up.
const IGNORED_LEVELS: [i32; 3] = [libc::IPPROTO_IP, libc::IPPROTO_TCP, libc::IPPROTO_IPV6];

/// What is refused has the errors that the executor's other filters give.
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const SUCCEEDED: u32 = libc::SECCOMP_RET_ERRNO;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

/// The program. `unix_sockets`: whether `socket` gives AF_UNIX sockets.
pub(crate) fn program(unix_sockets: bool) -> Vec<Instruction> {
    let notify = give(libc::SECCOMP_RET_USER_NOTIF);
    let mut code = vec![
        load(offset_of!(seccomp_data, arch)),
        if_equal(ARCHITECTURE, 1, 0),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(offset_of!(seccomp_data, nr)),
        if_at_least(SHORT_POINTERS, 0, 1),
        give(UNKNOWN),
    ];
    // Each block ends with an action, so that the number is still there for the next comparison.
    let mut on = |call: c_long, block: &[Instruction]| {
        code.push(if_equal(call as u32, 0, block.len() as u8));
        code.extend_from_slice(block);
    };
    on(libc::SYS_socket, &socket(unix_sockets));
    on(libc::SYS_socketpair, &[load_argument(0), if_equal(AF_UNIX, 0, 1), ALLOW, give(REFUSED)]);
    for call in ASKED {
        on(call, &[notify]);
    }
    let [ip, tcp, ipv6] = IGNORED_LEVELS.map(i32::cast_unsigned);
    on(
        libc::SYS_setsockopt,
        &[load_argument(1), if_equal(ip, 2, 0), if_equal(tcp, 1, 0), if_equal(ipv6, 0, 1), give(SUCCEEDED), ALLOW],
    );
    for call in IO_URING {
        on(call, &[give(REFUSED)]);
    }
    // Among equal actions the newest filter's counts: were our listener closed, another's could let `socket` through.
    let new_listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
    on(libc::SYS_seccomp, &[load_argument(1), if_any_bit(new_listener, 0, 1), give(REFUSED), ALLOW]);
    code.push(ALLOW);
    code
}

/// AF_UNIX as it is told to be; streams of INET are asked about; all else is refused: datagrams, raw sockets, MPTCP, SCTP …
fn socket(unix_sockets: bool) -> [Instruction; 13] {
    [
        load_argument(0),
        if_equal(AF_UNIX, 0, 1),
        if unix_sockets { ALLOW } else { give(REFUSED) },
        if_equal(libc::AF_INET.cast_unsigned(), 1, 0),
        if_equal(libc::AF_INET6.cast_unsigned(), 0, 7),
        load_argument(1),
        Instruction { code: (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, jt: 0, jf: 0, k: KINDS },
        if_equal(libc::SOCK_STREAM.cast_unsigned(), 0, 4),
        load_argument(2),
        if_equal(libc::IPPROTO_IP.cast_unsigned(), 1, 0),
        if_equal(libc::IPPROTO_TCP.cast_unsigned(), 0, 1),
        give(libc::SECCOMP_RET_USER_NOTIF),
        give(REFUSED),
    ]
}

const AF_UNIX: u32 = libc::AF_UNIX.cast_unsigned();
const ALLOW: Instruction = give(libc::SECCOMP_RET_ALLOW);

const fn give(action: u32) -> Instruction {
    Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: action }
}

const fn load(offset: usize) -> Instruction {
    Instruction { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset as u32 }
}

/// The lower half, for all of these are integers of 32 bits, and the kernel looks at no more. Both architectures have it first.
const fn load_argument(number: usize) -> Instruction {
    load(offset_of!(seccomp_data, args) + number * size_of::<u64>())
}

const fn if_equal(value: u32, then: u8, otherwise: u8) -> Instruction {
    jump(libc::BPF_JEQ, value, then, otherwise)
}

const fn if_at_least(value: u32, then: u8, otherwise: u8) -> Instruction {
    jump(libc::BPF_JGE, value, then, otherwise)
}

const fn if_any_bit(bits: u32, then: u8, otherwise: u8) -> Instruction {
    jump(libc::BPF_JSET, bits, then, otherwise)
}

const fn jump(how: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: (libc::BPF_JMP | how | libc::BPF_K) as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel makes of a call.
    fn action(code: &[Instruction], arch: u32, nr: u32, args: [u64; 3]) -> u32 {
        let word = |offset: u32| match offset {
            0 => nr,
            4 => arch,
            offset if offset % 8 == 0 => args[(offset as usize - 16) / 8] as u32,
            offset => panic!("{offset} is the upper half"),
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code: what, jt, jf, k } = code[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            match u32::from(what) {
                0x20 => accumulator = word(k),
                0x54 => accumulator &= k,
                0x15 => at += jump(accumulator == k),
                0x35 => at += jump(accumulator >= k),
                0x45 => at += jump(accumulator & k != 0),
                0x06 => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;

    fn here(call: c_long, args: [i32; 3]) -> u32 {
        action(&program(true), ARCHITECTURE, call as u32, args.map(|value| u64::from(value.cast_unsigned())))
    }

    #[test]
    fn streams_of_inet_are_asked_about_and_no_other_socket_but_unix_ones_comes_into_being() {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        for family in 0..64 {
            for kind in 0..16 {
                for protocol in [0, 1, 6, 17, 58, 132, 255, 262, -1] {
                    let expected = match (family, kind, protocol) {
                        (libc::AF_UNIX, ..) => ALLOWED,
                        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, 0 | 6) => NOTIFY,
                        _ => REFUSED,
                    };
                    for kind in [kind, kind | flags] {
                        let got = here(libc::SYS_socket, [family, kind, protocol]);
                        assert_eq!(got, expected, "family {family} kind {kind:#x} protocol {protocol}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_kernel_does_not_look_at_is_not_looked_at() {
        let high = |value: i32| 0xdead_beef_0000_0000 | u64::from(value.cast_unsigned());
        let args = [high(libc::AF_INET), high(libc::SOCK_DGRAM), high(0)];
        assert_eq!(action(&program(true), ARCHITECTURE, libc::SYS_socket as u32, args), REFUSED);
        let args = [high(libc::AF_INET), high(libc::SOCK_STREAM), high(0)];
        assert_eq!(action(&program(true), ARCHITECTURE, libc::SYS_socket as u32, args), NOTIFY);
    }

    #[test]
    fn unix_sockets_can_be_refused_without_their_pairs() {
        let args = [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0];
        let code = program(false);
        assert_eq!(action(&code, ARCHITECTURE, libc::SYS_socket as u32, args), REFUSED);
        assert_eq!(action(&code, ARCHITECTURE, libc::SYS_socketpair as u32, args), ALLOWED);
        let inet = [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0];
        assert_eq!(action(&code, ARCHITECTURE, libc::SYS_socket as u32, inet), NOTIFY);
        assert_eq!(action(&code, ARCHITECTURE, libc::SYS_socketpair as u32, inet), REFUSED);
    }

    #[test]
    fn other_ways_to_a_socket_are_closed() {
        let code = program(true);
        let args = [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0];
        let short = libc::SYS_socket as u32 | SHORT_POINTERS;
        assert_eq!(action(&code, ARCHITECTURE, short, args), UNKNOWN);
        assert_eq!(action(&code, 0x4000_0003, 359, args), libc::SECCOMP_RET_KILL_PROCESS, "of 32 bits");
        for call in IO_URING {
            assert_eq!(here(call, [0; 3]), REFUSED);
        }
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as i32;
        assert_eq!(here(libc::SYS_seccomp, [1, flags, 0]), REFUSED);
        assert_eq!(here(libc::SYS_seccomp, [1, flags | 1, 0]), REFUSED);
        assert_eq!(here(libc::SYS_seccomp, [1, 1, 0]), ALLOWED, "a filter without listener");
    }

    #[test]
    fn options_of_tcp_succeed_and_those_of_sockets_are_carried_out() {
        for level in IGNORED_LEVELS {
            assert_eq!(here(libc::SYS_setsockopt, [3, level, 1]), SUCCEEDED);
        }
        assert_eq!(here(libc::SYS_setsockopt, [3, libc::SOL_SOCKET, 1]), ALLOWED);
        assert_eq!(here(libc::SYS_getsockopt, [3, libc::IPPROTO_TCP, 1]), ALLOWED);
        for call in [libc::SYS_read, libc::SYS_sendto, libc::SYS_accept4, libc::SYS_execve] {
            assert_eq!(here(call, [0; 3]), ALLOWED);
        }
    }
}
