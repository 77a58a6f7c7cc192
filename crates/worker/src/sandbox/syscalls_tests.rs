//! The filters, run as the kernel runs them: also those of kernels that are older than the one here.

use rstest::rstest;

use super::*;
use crate::sandbox::ProcessLimits;
use jct_domain::executor::SandboxMode;

const SUPERVISOR: i32 = 40;
/// A thread of the supervisor.
const THREAD: i32 = 41;
/// Nobody's of the supervisor.
const OTHER: i32 = 77;
const AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };

/// What a call gets without the kernel's doing anything, 0 for success; none where the kernel does it.
fn answer(signals_are_scoped: bool, call: c_long, arguments: &[i64]) -> Option<i32> {
    let sandbox = Sandbox {
        model: false,
        reads: Vec::new(),
        writes: Vec::new(),
        unix_sockets: true,
        supervisor: vec![SUPERVISOR, THREAD],
        limits: ProcessLimits::default(),
        mode: SandboxMode::Required,
    };
    let mut data = [u32::try_from(call).unwrap(), AUDIT_ARCH, 0, 0].map(u32::to_le_bytes).concat();
    for n in 0..6 {
        data.extend(arguments.get(n).copied().unwrap_or(0).to_le_bytes());
    }
    let results = programs(&sandbox, signals_are_scoped).unwrap().map(|program| run(&program, &data));
    // The newest first, and of those that refuse it counts.
    let refused = results.iter().rev().find(|result| **result != libc::SECCOMP_RET_ALLOW);
    refused.map(|result| {
        assert_eq!(result & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_ERRNO, "{result:x}");
        (result & libc::SECCOMP_RET_DATA).cast_signed()
    })
}

/// What the kernel gives for a call: its error, or 0 where it lets it through.
fn errno(signals_are_scoped: bool, call: c_long, arguments: &[i64]) -> i32 {
    let answer = answer(signals_are_scoped, call, arguments);
    assert_ne!(answer, Some(0), "it only seems to be done");
    answer.unwrap_or(0)
}

/// The instructions that filters are made of here: see bpf(4).
fn run(program: &[sock_filter], data: &[u8]) -> u32 {
    let (mut accumulator, mut next) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[next].clone();
        next += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = u32::from_le_bytes(data[k as usize..][..4].try_into().unwrap()),
            0x54 => accumulator &= k,
            0x05 => next += k as usize,
            0x15 => next += jump(accumulator == k),
            0x25 => next += jump(accumulator > k),
            0x35 => next += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn refused(call: c_long, arguments: &[i64]) -> bool {
    let results = [true, false].map(|scoped| errno(scoped, call, arguments));
    assert_eq!(results[0], results[1], "the kernel's version makes no difference");
    results[0] == libc::EPERM
}

#[rstest]
#[case(libc::SYS_sched_setaffinity)]
#[case(libc::SYS_sched_setscheduler)]
#[case(libc::SYS_sched_setattr)]
#[case(libc::SYS_sched_setparam)]
#[case(libc::SYS_move_pages)]
#[case(libc::SYS_migrate_pages)]
#[case(libc::SYS_get_robust_list)]
fn what_takes_an_id_reaches_the_caller_alone(#[case] call: c_long) {
    assert!(!refused(call, &[0, 8, 1]), "the caller");
    for id in [SUPERVISOR, THREAD, OTHER, -1] {
        assert!(refused(call, &[id.into(), 8, 1]), "{id}");
    }
}

#[test]
fn limits_are_set_for_the_caller_alone_and_read_for_all() {
    let nofile = i64::from(libc::RLIMIT_NOFILE);
    assert!(!refused(libc::SYS_prlimit64, &[0, nofile, 0x7fff_0000_1000, 0]));
    assert!(!refused(libc::SYS_prlimit64, &[THREAD.into(), nofile, 0, 0x7fff_0000_1000]));
    // Also a pointer whose lower half is zero.
    for pointer in [0x7fff_0000_1000, 0x7fff_0000_0000] {
        for id in [SUPERVISOR, THREAD, OTHER] {
            assert!(refused(libc::SYS_prlimit64, &[id.into(), nofile, pointer, 0]), "{id}");
        }
    }
}

#[test]
fn the_limit_of_core_dumps_stays_while_its_setter_is_told_that_it_is_set() {
    let [core, nofile] = [libc::RLIMIT_CORE, libc::RLIMIT_NOFILE].map(i64::from);
    // Also a pointer whose lower half is zero, and rubbish above the number of the limit.
    for limits in [0x7fff_0000_1000, 0x7fff_0000_0000] {
        for number in [core, core | 1 << 32] {
            assert_eq!(answer(true, libc::SYS_setrlimit, &[number, limits]), Some(0));
            assert_eq!(answer(true, libc::SYS_prlimit64, &[0, number, limits, 0]), Some(0));
            assert!(refused(libc::SYS_prlimit64, &[0, number, limits, limits]), "the old one would not be told");
            assert!(refused(libc::SYS_prlimit64, &[OTHER.into(), number, limits, 0]), "another's");
        }
        assert_eq!(answer(true, libc::SYS_setrlimit, &[nofile, limits]), None);
        assert_eq!(answer(true, libc::SYS_prlimit64, &[0, nofile, limits, limits]), None);
        for id in [0, OTHER] {
            assert_eq!(answer(true, libc::SYS_prlimit64, &[id.into(), core, 0, limits]), None, "to look at it");
        }
        assert_eq!(answer(true, libc::SYS_getrlimit, &[core, limits]), None);
    }
}

#[test]
fn priorities_are_the_callers_own() {
    for (call, process, others) in [(libc::SYS_setpriority, 0, [1, 2]), (libc::SYS_ioprio_set, 1, [2, 3])] {
        assert!(!refused(call, &[process, 0, 19]));
        for id in [SUPERVISOR, THREAD, OTHER] {
            assert!(refused(call, &[process, id.into(), 19]), "{id}");
        }
        for which in others {
            assert!(refused(call, &[which, 0, 19]), "a group, or a user");
        }
    }
}

#[rstest]
#[case(libc::SYS_kill)]
#[case(libc::SYS_tkill)]
#[case(libc::SYS_tgkill)]
#[case(libc::SYS_rt_sigqueueinfo)]
#[case(libc::SYS_rt_tgsigqueueinfo)]
#[case(libc::SYS_pidfd_open)]
fn no_signal_goes_to_a_thread_of_the_supervisor(#[case] call: c_long) {
    for id in [SUPERVISOR, THREAD, -SUPERVISOR, -1] {
        assert!(refused(call, &[id.into(), 9]), "{id}");
    }
    for id in [OTHER, 0, -OTHER] {
        assert!(!refused(call, &[id.into(), 9]), "{id}");
    }
}

#[test]
fn nobody_owns_a_descriptor_for_the_supervisor() {
    let (owner, signal) = (i64::from(libc::F_SETOWN), 10);
    for id in [SUPERVISOR, THREAD, -SUPERVISOR] {
        assert!(refused(libc::SYS_fcntl, &[3, owner, id.into()]), "{id}");
    }
    assert!(refused(libc::SYS_fcntl, &[3, 15, 0x7fff_0000_1000]), "F_SETOWN_EX");
    assert!(!refused(libc::SYS_fcntl, &[3, owner, OTHER.into()]));
    assert!(!refused(libc::SYS_fcntl, &[3, signal, SUPERVISOR.into()]), "F_SETSIG alone sends nothing");
    assert!(!refused(libc::SYS_fcntl, &[3, libc::F_SETFL.into(), SUPERVISOR.into()]));
    for request in [0x8901, 0x8902] {
        assert!(refused(libc::SYS_ioctl, &[3, request, 0x7fff_0000_1000]));
    }
    assert!(!refused(libc::SYS_ioctl, &[1, libc::TIOCGWINSZ.cast_signed(), 0x7fff_0000_1000]));
}

#[test]
fn a_descriptor_of_a_process_sends_signals_only_where_landlock_looks() {
    assert_eq!(errno(true, libc::SYS_pidfd_send_signal, &[3, 9]), 0);
    assert_eq!(errno(false, libc::SYS_pidfd_send_signal, &[3, 9]), libc::EPERM);
}

#[rstest]
#[case(libc::SYS_shmget)]
#[case(libc::SYS_semget)]
#[case(libc::SYS_msgget)]
#[case(libc::SYS_mq_open)]
#[case(libc::SYS_process_mrelease)]
#[case(libc::SYS_memfd_secret)]
#[case(libc::SYS_ptrace)]
#[case(OPEN_TREE_ATTR)]
#[case(FILE_SETATTR)]
fn some_calls_are_refused_to_all(#[case] call: c_long) {
    assert!(refused(call, &[0, 0, 0]));
}

#[test]
fn what_is_not_known_is_not_there() {
    let number = |call: u32| c_long::from(call);
    assert_eq!(errno(true, number(HIGHEST_KNOWN + 1), &[]), libc::ENOSYS);
    assert_eq!(errno(true, libc::SYS_clone3, &[]), libc::ENOSYS);
    // x86-64's second way to write.
    assert_eq!(errno(true, 0x4000_0001, &[1]), libc::ENOSYS);
    for call in [libc::SYS_mseal, libc::SYS_openat2, libc::SYS_landlock_restrict_self, libc::SYS_futex_waitv, 465] {
        assert_eq!(errno(true, call, &[]), 0, "{call}");
    }
}

#[test]
fn who_hides_and_who_shares_a_core_is_refused() {
    let dumpable = i64::from(libc::PR_SET_DUMPABLE);
    assert!(refused(libc::SYS_prctl, &[dumpable, 0]));
    assert!(!refused(libc::SYS_prctl, &[dumpable, 1]));
    assert!(refused(libc::SYS_prctl, &[62, 1, OTHER.into()]));
    assert!(!refused(libc::SYS_prctl, &[libc::PR_SET_NAME.into(), 0x7fff_0000_1000]));
}

#[test]
fn threads_share_their_descriptors() {
    let [thread, files, vm] =
        [libc::CLONE_THREAD, libc::CLONE_FILES, libc::CLONE_VM | libc::CLONE_SIGHAND].map(i64::from);
    assert!(!refused(libc::SYS_clone, &[thread | vm | files]));
    assert!(!refused(libc::SYS_clone, &[libc::SIGCHLD.into()]), "another process");
    assert!(refused(libc::SYS_clone, &[thread | vm]));
    assert!(refused(libc::SYS_unshare, &[files]));
    assert!(!refused(libc::SYS_unshare, &[libc::CLONE_FS.into()]));
    assert!(refused(libc::SYS_close_range, &[3, 0x7fff_ffff, 2]));
    assert!(!refused(libc::SYS_close_range, &[3, 0x7fff_ffff, 4]));
}
