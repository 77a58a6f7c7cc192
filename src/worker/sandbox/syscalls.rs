//! seccomp: system calls that no executor needs, and that much harm begins with.
//!
//! What is refused fails with EPERM, as it does for want of a privilege: programs expect that, and go on or say so.

use std::collections::BTreeMap;

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::Sandbox;

/// Refused whatever the arguments are.
const REFUSED: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
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

/// What types into the terminal of others.
const TERMINAL_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// x86-64 has a second way to each call, for programs with short pointers; some have another number there.
#[cfg(target_arch = "x86_64")]
mod x32 {
    /// Added to the number of a call.
    pub const BIT: i64 = 0x4000_0000;
    /// ptrace, kexec_load, process_vm_readv, process_vm_writev, rt_sigqueueinfo, rt_tgsigqueueinfo, ioctl, and others
    /// that are of no use to anybody here: all from 512 on.
    pub const OWN: std::ops::Range<i64> = 512..548;
}

/// Filters the calls of this process, for ever and for all that it starts. `signals_are_scoped`: whether something else
/// keeps its signals away from the supervisor.
///
/// # Errors
/// When the kernel refuses, or this architecture is not known.
pub fn confine(sandbox: &Sandbox, signals_are_scoped: bool) -> Result<(), Error> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let (refuse, pretend) = (libc::EPERM.cast_unsigned(), libc::ENOSYS.cast_unsigned());
    // Its flags are in memory, where no filter sees them; the C libraries take the older call then.
    let unseen = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    install(unseen, SeccompAction::Errno(pretend), arch)?;
    install(rules(sandbox, signals_are_scoped)?, SeccompAction::Errno(refuse), arch)
}

fn install(rules: Rules, action: SeccompAction, arch: TargetArch) -> Result<(), Error> {
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter(&program)
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
    let flag = |flag: i32| {
        let bit = u64::from(flag.cast_unsigned());
        rule(0, SeccompCmpOp::MaskedEq(bit), bit)
    };
    let namespaces = NAMESPACES.into_iter().map(flag).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_unshare, namespaces);
    let of_clone = NAMESPACES.into_iter().filter(|bit| *bit != CLONE_NEWTIME);
    rules.insert(libc::SYS_clone, of_clone.map(flag).collect::<Result<_, _>>()?);
    let typing = TERMINAL_INPUT.into_iter().map(|request| rule(1, SeccompCmpOp::Eq, request));
    rules.insert(libc::SYS_ioctl, typing.collect::<Result<_, _>>()?);
    let supervisor = sandbox.supervisor;
    // To the supervisor, to its group, to everybody.
    let targets = [supervisor, -supervisor, -1].map(|id| u64::from(id.cast_unsigned()));
    for call in [
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_open,
    ] {
        let to = targets.into_iter().map(|id| rule(0, SeccompCmpOp::Eq, id));
        rules.insert(call, to.collect::<Result<_, _>>()?);
    }
    for call in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_prlimit64,
    ] {
        rules.insert(call, vec![rule(0, SeccompCmpOp::Eq, u64::from(supervisor.cast_unsigned()))?]);
    }
    if !signals_are_scoped {
        // By a descriptor anybody can be meant.
        rules.insert(libc::SYS_pidfd_send_signal, Vec::new());
    }
    #[cfg(target_arch = "x86_64")]
    {
        let again: Vec<_> = rules.iter().map(|(call, rules)| (call | x32::BIT, rules.clone())).collect();
        rules.extend(again);
        rules.extend(x32::OWN.map(|call| (call | x32::BIT, Vec::new())));
        rules.insert(libc::SYS_clone3 | x32::BIT, Vec::new());
    }
    Ok(rules)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    let condition =
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(Error::Backend)?;
    SeccompRule::new(vec![condition]).map_err(Error::Backend)
}
