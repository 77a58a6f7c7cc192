//! Tries on the supervisor by the ids of its threads, and on others by what is not their id; each with the same on itself, which
//! programs need and which has to go on working.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use libc::c_long;

use crate::sys::{signed, try_call};
use crate::{report, report_value};

const SUPERVISOR: usize = 1;
const PLACE: [u64; 64] = [0; 64];

pub fn run(escape: &str) -> bool {
    match escape {
        "threads" => threads(),
        "owners" => owners(),
        "left behind" => left_behind(),
        "newer calls" => newer_calls(),
        _ => return false,
    }
    true
}

/// The ids of the supervisor's threads.
pub fn of_the_supervisor() -> Vec<usize> {
    let entries = fs::read_dir("/proc/1/task").into_iter().flatten().flatten();
    let mut ids: Vec<usize> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

fn threads() {
    let ids = of_the_supervisor();
    report_value("threads of the supervisor", ids.len());
    let before = supervisor();
    for (n, id) in ids.iter().enumerate() {
        reach(&format!("thread {n}"), *id);
    }
    report_value("the supervisor is as it was", before == supervisor() && !before.is_empty());
    reach("itself", 0);
    let place = PLACE;
    let read = [SUPERVISOR, libc::RLIMIT_NOFILE as usize, 0, place.as_ptr().addr()];
    report("read limits of the supervisor", try_call(libc::SYS_prlimit64, read));
}

/// All that takes an id, and does no harm when it is its own.
fn reach(whom: &str, id: usize) {
    let place = PLACE;
    let mut cpus = [0_u64; 16];
    let _ = try_call(libc::SYS_sched_getaffinity, [0, 128, cpus.as_mut_ptr().addr()]);
    let limit = limit_of_itself();
    let (batch, wanted) = ([0_i32], [48_u32, 3, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0]);
    let at = |place: &[i32]| place.as_ptr().addr();
    let calls: &[(&str, c_long, [usize; 4])] = &[
        ("limit of files", libc::SYS_prlimit64, [id, libc::RLIMIT_NOFILE as usize, limit.as_ptr().addr(), 0]),
        ("sched_setaffinity", libc::SYS_sched_setaffinity, [id, 128, cpus.as_ptr().addr(), 0]),
        ("sched_setscheduler", libc::SYS_sched_setscheduler, [id, libc::SCHED_BATCH as usize, at(&batch), 0]),
        ("sched_setattr", libc::SYS_sched_setattr, [id, wanted.as_ptr().addr(), 0, 0]),
        ("sched_setparam", libc::SYS_sched_setparam, [id, at(&batch), 0, 0]),
        ("setpriority", libc::SYS_setpriority, [0, id, 19, 0]),
        ("ioprio_set", libc::SYS_ioprio_set, [1, id, 2 << 13 | 7, 0]),
        ("move_pages", libc::SYS_move_pages, [id, 0, 0, 0]),
        ("get_robust_list", libc::SYS_get_robust_list, [id, place.as_ptr().addr(), place[1..].as_ptr().addr(), 0]),
    ];
    for (name, number, arguments) in calls {
        report(format!("{name} of {whom}"), try_call(*number, *arguments));
    }
    if id == 0 {
        return;
    }
    let none = [0_u64, 0];
    let one = [1_u64, 1];
    for (name, resource, limits) in [("no files", libc::RLIMIT_NOFILE, &none), ("no time", libc::RLIMIT_CPU, &one)] {
        let arguments = [id, resource as usize, limits.as_ptr().addr()];
        report(format!("{name} for {whom}"), try_call(libc::SYS_prlimit64, arguments));
    }
    let signal = libc::SIGTERM as usize;
    report(format!("kill {whom}"), try_call(libc::SYS_kill, [id, signal]));
    report(format!("tkill {whom}"), try_call(libc::SYS_tkill, [id, signal]));
    report(format!("tgkill {whom}"), try_call(libc::SYS_tgkill, [SUPERVISOR, id, signal]));
    let place = PLACE;
    report(format!("rt_sigqueueinfo {whom}"), try_call(libc::SYS_rt_sigqueueinfo, [id, signal, place.as_ptr().addr()]));
    // PIDFD_THREAD.
    report(format!("pidfd_open {whom}"), try_call(libc::SYS_pidfd_open, [id, libc::O_EXCL as usize]));
    let priority = [libc::PRIO_PROCESS as usize, id];
    // What the kernel tells is 20 less the priority.
    report_value(format!("priority of {whom}"), try_call(libc::SYS_getpriority, priority).map_or(0, |got| 20 - got));
}

fn limit_of_itself() -> [u64; 2] {
    let mut limit = [0_u64; 2];
    let arguments = [0, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr().addr()];
    let _ = try_call(libc::SYS_prlimit64, arguments);
    limit
}

/// What can be seen of the supervisor, and would be another then.
fn supervisor() -> String {
    let limits = fs::read_to_string("/proc/1/limits").unwrap_or_default();
    let policies = of_the_supervisor().into_iter().map(|id| {
        let stat = fs::read_to_string(format!("/proc/1/task/{id}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        // Nice and policy.
        format!("{:?} {:?}", fields.get(16), fields.get(38))
    });
    policies.fold(limits, |all, one| all + &one)
}

/// Who gets the signals of a descriptor.
fn owners() {
    let Ok((socket, _other)) = UnixStream::pair() else { return };
    let descriptor = socket.as_raw_fd() as usize;
    let own = |id: usize| try_call(libc::SYS_fcntl, [descriptor, libc::F_SETOWN as usize, id]);
    for (n, id) in of_the_supervisor().into_iter().enumerate() {
        report(format!("own a descriptor as thread {n}"), own(id));
    }
    report("own a descriptor as the supervisor's group", own(signed(-1)));
    report("own a descriptor", own(std::process::id() as usize));
    let owner = [0_i32, 1];
    report("own a descriptor by a thread", try_call(libc::SYS_fcntl, [descriptor, 15, owner.as_ptr().addr()]));
    for (name, request) in [("FIOSETOWN", 0x8901), ("SIOCSPGRP", 0x8902)] {
        report(name, try_call(libc::SYS_ioctl, [descriptor, request, owner[1..].as_ptr().addr()]));
    }
    // A folder of the process table is as good as a descriptor of the process.
    let folder = File::open("/proc/1").ok();
    let descriptor = folder.as_ref().map_or(usize::MAX, |folder| folder.as_raw_fd() as usize);
    let arguments = [descriptor, libc::SIGTERM as usize, 0, 0];
    report("signal by a folder of /proc", try_call(libc::SYS_pidfd_send_signal, arguments));
}

/// What would be there after its end, or is another's.
fn left_behind() {
    let attributes = PLACE;
    let at = attributes.as_ptr().addr();
    for (name, number, arguments) in [
        ("shmget", libc::SYS_shmget, [0, 4096, 0o1600, 0]),
        ("semget", libc::SYS_semget, [0, 1, 0o1600, 0]),
        ("msgget", libc::SYS_msgget, [0, 0o1600, 0, 0]),
        ("mq_open", libc::SYS_mq_open, [c"queue".as_ptr().addr(), 0o102, 0o600, 0]),
        ("memfd_secret", libc::SYS_memfd_secret, [0, 0, 0, 0]),
        ("process_mrelease", libc::SYS_process_mrelease, [0, 0, 0, 0]),
        ("migrate_pages", libc::SYS_migrate_pages, [SUPERVISOR, 64, at, at]),
        ("share a core", libc::SYS_prctl, [62, 1, SUPERVISOR, 0]),
        ("descriptors of its own", libc::SYS_unshare, [libc::CLONE_FILES as usize, 0, 0, 0]),
        ("descriptors of its own by closing", libc::SYS_close_range, [1000, 1001, 2, 0]),
        ("close descriptors", libc::SYS_close_range, [1000, 1001, 0, 0]),
    ] {
        report(name, try_call(number, arguments));
    }
}

/// Calls that the newest kernels have.
fn newer_calls() {
    for number in [470, 471, 500, 1000] {
        report(format!("call {number}"), try_call(number, []));
    }
    report("open_tree_attr", try_call(467, [0, 0, 0, 0, 0]));
    report("file_setattr", try_call(469, [0, 0, 0, 0, 0]));
}
