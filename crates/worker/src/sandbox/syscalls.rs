//! seccomp: system calls that no executor needs, and that much harm begins with.
//!
//! What is refused fails with EPERM, as it does for want of a privilege: programs expect that, and go on or say so. What this
//! version knows nothing of fails with ENOSYS, as on a kernel that has it not: programs take the older call then. Who sets the
//! limit of core dumps is told that it is set, and it stays as it is: programs with secrets set it to 0 and end where they
//! can't. What they want holds already; 0 would be an invitation to the machine's crash handler, see [`super::limits`].
//!
//! Calls that take the id of a thread or process reach only the caller, by the id 0: another's is not known to be its own.
//! Only signals reach others, and there the supervisor's ids are refused, those of its threads too.

use std::collections::BTreeMap;

use nix::libc::{self, c_int, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};

use super::Sandbox;

/// The highest number of a call that was looked at for this list: file_setattr, of Linux 6.17. Newer calls have the same
/// number on every architecture, and x86-64's second way to each call, for short pointers, has numbers far above.
const HIGHEST_KNOWN: u32 = 469;

const OPEN_TREE_ATTR: c_long = 467;
const FILE_SETATTR: c_long = 469;

/// Refused whatever the arguments are.
const REFUSED: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    // What outlives the processes that made it, and what other programs of the user or the pod left.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Memory that nobody else sees.
    libc::SYS_memfd_secret,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_fanotify_init,
    // Files by other ways than their paths.
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Flags of files by path, which Landlock does not see.
    FILE_SETATTR,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The machine's name and time.
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// The same, where the architecture has them.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_uselib, libc::SYS_ustat, libc::SYS__sysctl, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// Flags of clone and unshare that make namespaces.
const NAMESPACES: [i32; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    CLONE_NEWTIME,
];
/// Of unshare alone: for clone, the bit is a part of the signal's number.
const CLONE_NEWTIME: i32 = 0x80;

/// Of ioprio_set: a process or thread.
const IOPRIO_WHO_PROCESS: u64 = 1;
/// Of close_range: have descriptors of its own first.
const CLOSE_RANGE_UNSHARE: u64 = 2;
/// Of fcntl.
const F_SETOWN_EX: u64 = 15;
/// RLIMIT_CORE, whose type is not the same in every C library.
const LIMIT_OF_CORE_DUMPS: u64 = 4;
/// Of prctl: share a core with a process.
const PR_SCHED_CORE: c_int = 62;

/// Requests of ioctl: what types into the terminal of others, and what has the kernel send signals to others.
const REFUSED_REQUESTS: [u64; 4] =
    [libc::TIOCSTI, libc::TIOCLINUX, 0x8901 /* FIOSETOWN */, 0x8902 /* SIOCSPGRP */];

/// Calls whose first argument says whom they reach: 0 is the caller.
const OF_THE_CALLER: [c_long; 7] = [
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_get_robust_list,
];

/// Calls whose first argument says who gets a signal, or may get one by a descriptor.
const SIGNALS: [c_long; 6] = [
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
];

/// Filters the calls of this process, for ever and for all that it starts. `signals_are_scoped`: whether something else
/// keeps its signals away from the supervisor.
///
/// # Errors
/// When the kernel refuses, or this architecture is not known.
pub fn confine(sandbox: &Sandbox, signals_are_scoped: bool) -> Result<(), Error> {
    for program in programs(sandbox, signals_are_scoped)? {
        apply_filter(&program)?;
    }
    Ok(())
}

/// The filters, the first to be installed first. Where several give an error, 0 included, the kernel takes the last one's.
fn programs(sandbox: &Sandbox, signals_are_scoped: bool) -> Result<[BpfProgram; 4], Error> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let (refuse, pretend) = (libc::EPERM.cast_unsigned(), libc::ENOSYS.cast_unsigned());
    // Its flags are in memory, where no filter sees them; the C libraries take the older call then.
    let unseen = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([
        known_only(pretend),
        program(unseen, SeccompAction::Errno(pretend), arch)?,
        program(done_already()?, SeccompAction::Errno(0), arch)?,
        program(rules(sandbox, signals_are_scoped)?, SeccompAction::Errno(refuse), arch)?,
    ])
}

fn program(rules: Rules, action: SeccompAction, arch: TargetArch) -> Result<BpfProgram, Error> {
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()?)
}

/// Refuses every call above [`HIGHEST_KNOWN`]. That the architecture is ours the other filters see to.
fn known_only(errno: u32) -> BpfProgram {
    let instruction = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let give = |k| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    vec![
        // The number comes first in what a filter is given.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, HIGHEST_KNOWN),
        give(libc::SECCOMP_RET_ERRNO | errno),
        give(libc::SECCOMP_RET_ALLOW),
    ]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(sandbox: &Sandbox, signals_are_scoped: bool) -> Result<Rules, Error> {
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    let unix = u64::from(libc::AF_UNIX.cast_unsigned());
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![rule(0, SeccompCmpOp::Ne, unix)?]);
    }
    if !sandbox.unix_sockets {
        rules.insert(libc::SYS_socket, Vec::new());
    }
    if sandbox.model {
        // What is refused here nobody is asked about. The filter that asks refuses all that is refused here otherwise.
        rules.remove(&libc::SYS_socket);
    }
    let flag = |flag: i32| {
        let bit = u64::from(flag.cast_unsigned());
        rule(0, SeccompCmpOp::MaskedEq(bit), bit)
    };
    let flags = NAMESPACES.into_iter().chain([libc::CLONE_FILES]);
    rules.insert(libc::SYS_unshare, flags.map(flag).collect::<Result<_, _>>()?);
    let flags = NAMESPACES.into_iter().filter(|bit| *bit != CLONE_NEWTIME);
    let mut of_clone = flags.map(flag).collect::<Result<Vec<_>, _>>()?;
    // The threads of a process share their descriptors, so that who looks at one of them sees what all of them hold open.
    let [thread, files] = [libc::CLONE_THREAD, libc::CLONE_FILES].map(|flag| u64::from(flag.cast_unsigned()));
    of_clone.push(rule(0, SeccompCmpOp::MaskedEq(thread | files), thread)?);
    rules.insert(libc::SYS_clone, of_clone);
    rules.insert(
        libc::SYS_close_range,
        vec![rule(2, SeccompCmpOp::MaskedEq(CLOSE_RANGE_UNSHARE), CLOSE_RANGE_UNSHARE)?],
    );
    let requests = REFUSED_REQUESTS.into_iter().map(|request| rule(1, SeccompCmpOp::Eq, request));
    rules.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    rules.extend(of_the_caller()?);
    rules.extend(signals(&sandbox.supervisor)?);
    if !signals_are_scoped {
        // By a descriptor anybody can be meant.
        rules.insert(libc::SYS_pidfd_send_signal, Vec::new());
    }
    // Who hides from others of its user hides the files that it holds open: see the watch on the disk.
    let dumpable = [(0, SeccompCmpOp::Eq, libc::PR_SET_DUMPABLE), (1, SeccompCmpOp::Ne, 1)];
    let share = [(0, SeccompCmpOp::Eq, PR_SCHED_CORE)];
    rules.insert(libc::SYS_prctl, vec![all_of(&dumpable)?, all_of(&share)?]);
    Ok(rules)
}

/// What succeeds and does nothing.
fn done_already() -> Result<Rules, Error> {
    let of_prlimit = SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, LIMIT_OF_CORE_DUMPS)?, is_given(2)?]);
    Ok(Rules::from([
        (libc::SYS_setrlimit, vec![rule(0, SeccompCmpOp::Eq, LIMIT_OF_CORE_DUMPS)?]),
        (libc::SYS_prlimit64, vec![of_prlimit.map_err(Error::Backend)?]),
    ]))
}

/// What reaches a thread or process by its id, as far as that is another's than the caller's.
fn of_the_caller() -> Result<Rules, Error> {
    let mut rules = Rules::new();
    for call in OF_THE_CALLER {
        rules.insert(call, vec![rule(0, SeccompCmpOp::Ne, 0)?]);
    }
    // To look at another's limits is harmless, and the new ones are in memory: all that can be seen is that there are some.
    let of_another = vec![condition(0, SeccompCmpOp::Ne, 0)?, is_given(2)?];
    // Who wants the old ones as well can't be told that all is done: they would not be there.
    let with_the_old = vec![condition(1, SeccompCmpOp::Eq, LIMIT_OF_CORE_DUMPS)?, is_given(2)?, is_given(3)?];
    let of_prlimit = [of_another, with_the_old].map(|all| SeccompRule::new(all).map_err(Error::Backend));
    rules.insert(libc::SYS_prlimit64, of_prlimit.into_iter().collect::<Result<_, _>>()?);
    // Neither another process nor a group or a user with all of theirs.
    for (call, process) in
        [(libc::SYS_setpriority, u64::from(libc::PRIO_PROCESS)), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)]
    {
        rules.insert(call, vec![rule(0, SeccompCmpOp::Ne, process)?, rule(1, SeccompCmpOp::Ne, 0)?]);
    }
    Ok(rules)
}

/// What sends signals to the supervisor, a thread of it or its group, or lets others into that. Landlock refuses these too,
/// from Linux 6.12 on.
fn signals(supervisor: &[i32]) -> Result<Rules, Error> {
    let ids: Vec<i32> = supervisor.iter().flat_map(|id| [*id, -*id]).collect();
    let mut rules = Rules::new();
    for call in SIGNALS {
        // -1: everybody.
        let to = ids.iter().chain(&[-1]).map(|id| rule(0, SeccompCmpOp::Eq, u64::from(id.cast_unsigned())));
        rules.insert(call, to.collect::<Result<_, _>>()?);
    }
    let joins = supervisor.iter().map(|id| rule(1, SeccompCmpOp::Eq, u64::from(id.cast_unsigned())));
    rules.insert(libc::SYS_setpgid, joins.collect::<Result<_, _>>()?);
    // The kernel sends signals for who owns a descriptor. The second call has the owner in memory.
    let owns = ids.iter().map(|id| all_of(&[(1, SeccompCmpOp::Eq, libc::F_SETOWN), (2, SeccompCmpOp::Eq, *id)]));
    let mut owners = owns.collect::<Result<Vec<_>, _>>()?;
    owners.push(rule(1, SeccompCmpOp::Eq, F_SETOWN_EX)?);
    rules.insert(libc::SYS_fcntl, owners);
    Ok(rules)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    SeccompRule::new(vec![condition(argument, operator, value)?]).map_err(Error::Backend)
}

fn all_of(conditions: &[(u8, SeccompCmpOp, c_int)]) -> Result<SeccompRule, Error> {
    let conditions = conditions
        .iter()
        .map(|(argument, operator, value)| condition(*argument, operator.clone(), value.cast_unsigned().into()));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?).map_err(Error::Backend)
}

/// That a pointer leads somewhere.
fn is_given(argument: u8) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0).map_err(Error::Backend)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(Error::Backend)
}

#[cfg(test)]
#[path = "syscalls_tests.rs"]
mod tests;
