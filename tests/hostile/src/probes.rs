//! Tries that leave nothing behind where they are refused.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use libc::c_long;
use nix::errno::Errno;

use crate::sys::{on_path, signed, try_call};
use crate::{report, report_value};

/// The process that supervises: in a pod the first one.
const SUPERVISOR: usize = 1;
/// Something to be read from or written to by calls that want a place.
const PLACE: [u64; 64] = [0; 64];

pub fn run(escape: &str) -> bool {
    match escape {
        "network" => network(),
        "unix sockets" => unix_sockets(),
        "model" => model(),
        "asking a thousand times" => {
            report_value("in microseconds, median and 99th of 100", asking(1000).unwrap_or_default())
        }
        "supervisor" => supervisor(),
        "files" => files(),
        "trace" => trace(),
        "privileges" => privileges(),
        "signals" => signals(),
        "clocks" => clocks(),
        "kernel" => kernel(),
        "descriptors" => descriptors(),
        "image" => image(),
        "terminal" => terminal(),
        _ => return false,
    }
    true
}

fn network() {
    let (stream, raw) = (libc::SOCK_STREAM, libc::SOCK_RAW);
    for (name, family, kind) in [
        ("AF_INET", libc::AF_INET, stream),
        ("AF_INET datagrams", libc::AF_INET, libc::SOCK_DGRAM),
        ("AF_INET raw", libc::AF_INET, raw),
        ("AF_INET6", libc::AF_INET6, stream),
        ("AF_NETLINK", libc::AF_NETLINK, raw),
        ("AF_VSOCK", libc::AF_VSOCK, stream),
        ("AF_PACKET", libc::AF_PACKET, raw),
        ("AF_ALG", libc::AF_ALG, libc::SOCK_SEQPACKET),
        ("AF_BLUETOOTH", libc::AF_BLUETOOTH, raw),
    ] {
        report(format!("socket {name}"), try_call(libc::SYS_socket, [signed(family), signed(kind), 0]));
    }
    let pair = PLACE;
    let arguments = [signed(libc::AF_INET), signed(stream), 0, pair.as_ptr().addr()];
    report("socketpair AF_INET", try_call(libc::SYS_socketpair, arguments));
    // The second way to each call that x86-64 has.
    report(
        "socket AF_INET by x32",
        try_call(libc::SYS_socket | 0x4000_0000, [signed(libc::AF_INET), signed(stream), 0]),
    );
    let resolved = ("kubernetes.default.svc.cluster.local", 443).to_socket_addrs();
    report("resolve a name", resolved.map_err(|_| Errno::EHOSTUNREACH));
}

fn unix_sockets() {
    report("connect /work/private/door", UnixStream::connect("/work/private/door"));
    report("list /work/private", fs::read_dir("/work/private"));
    report("connect to any socket that there is", reach_any().ok_or(Errno::ECONNREFUSED));
    // That the look would find one.
    let own = UnixListener::bind(format!("{}/own", std::env::var("TMPDIR").unwrap_or_default()));
    report("connect to a socket of its own", reach_any().ok_or(Errno::ECONNREFUSED));
    drop(own);
}

/// What an executor with a model has of TCP, and what not.
fn model() {
    let connect = |address: &str| TcpStream::connect(address);
    report("connect to the model", connect("127.0.0.1:8089"));
    report("connect to the model by IPv6", connect("[::1]:8089"));
    report("connect to another port", connect("127.0.0.1:8090"));
    report("connect to the API server", connect("10.96.0.1:443"));
    report("connect elsewhere by IPv6", connect("[2001:db8::1]:443"));
    report("listen", TcpListener::bind("127.0.0.1:8091"));
    let stream = [signed(libc::AF_INET), signed(libc::SOCK_STREAM), 0];
    let socket = try_call(libc::SYS_socket, stream).unwrap_or(-1);
    report("a stream of INET", if socket >= 0 { Ok(()) } else { Err(Errno::EPERM) });
    report("that is one of Unix", of_unix(socket).then_some(()).ok_or(Errno::EPERM));
    // sin_family, sin_port, sin_addr as the kernel has them: 10.96.0.1:443.
    let elsewhere: [u8; 16] = [2, 0, 1, 187, 10, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let (at, length, data) = (elsewhere.as_ptr().addr(), elsewhere.len(), PLACE.as_ptr().addr());
    let fast_open = [socket as usize, data, 8, signed(libc::MSG_FASTOPEN), at, length];
    report("send while connecting", try_call(libc::SYS_sendto, fast_open));
    report("MPTCP", try_call(libc::SYS_socket, [signed(libc::AF_INET), signed(libc::SOCK_STREAM), 262]));
    report("SCTP", try_call(libc::SYS_socket, [signed(libc::AF_INET), signed(libc::SOCK_STREAM), 132]));
    // A listener of its own could let calls through that ours refuses.
    let program: [u64; 2] = [1, PLACE.as_ptr().addr() as u64];
    report("a seccomp listener of its own", try_call(libc::SYS_seccomp, [1, 8, program.as_ptr().addr()]));
    for (name, head) in [
        ("files", "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"),
        ("batches", "GET /v1/batches HTTP/1.1\r\nhost: x\r\n\r\n"),
    ] {
        report(format!("ask for {name}"), status(head).filter(|status| *status < 400).ok_or(Errno::ENOENT));
    }
    report(
        "ask which models there are",
        status("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n").filter(|status| *status == 200).ok_or(Errno::ENOENT),
    );
}

/// Whether a socket has no name that INET sockets have: its link in `/proc` is in the table of Unix sockets.
fn of_unix(socket: c_long) -> bool {
    let link = fs::read_link(format!("/proc/self/fd/{socket}")).unwrap_or_default();
    let link = link.to_string_lossy().into_owned();
    let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else { return false };
    let table = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let has = |name| table(name).lines().any(|line| line.split_whitespace().any(|word| word == inode));
    has("unix") && !has("tcp") && !has("tcp6")
}

/// How long requests take that follow each other on one connection.
fn asking(times: usize) -> io::Result<String> {
    let body = r#"{"model":"scripted","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let request = format!("{head}{body}");
    let mut stream = TcpStream::connect("127.0.0.1:8089")?;
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = std::time::Instant::now();
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        // The last chunk.
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            let mut piece = [0; 16384];
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Ok(format!("it broke off: {}", String::from_utf8_lossy(&answer)));
            }
            answer.extend(&piece[..read]);
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Ok(format!("refused: {}", String::from_utf8_lossy(&answer)));
        }
        took.push(began.elapsed().as_micros());
    }
    took.sort_unstable();
    Ok(format!("{} {}", took[times / 2], took[times * 99 / 100]))
}

/// The status of the answer to a request to the model's port.
fn status(request: &str) -> Option<u16> {
    let mut stream = TcpStream::connect("127.0.0.1:8089").ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    answer.split_whitespace().nth(1)?.parse().ok()
}

/// Connects to the first socket of the table that takes it.
fn reach_any() -> Option<UnixStream> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let mut names = table.lines().filter_map(|line| line.split_whitespace().nth(7));
    names.find_map(|name| match name.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).ok()?).ok(),
        None => UnixStream::connect(name).ok(),
    })
}

fn supervisor() {
    for file in
        ["environ", "mem", "maps", "fd", "fdinfo/0", "io", "stack", "syscall", "auxv", "root/etc", "cwd/.", "exe"]
    {
        let path = format!("/proc/{SUPERVISOR}/{file}");
        report(&path, if file == "fd" { fs::read_dir(&path).map(drop) } else { File::open(&path).map(drop) });
    }
    report("write /proc/1/oom_score_adj", File::options().write(true).open("/proc/1/oom_score_adj"));
    report("write /proc/1/mem", File::options().write(true).open("/proc/1/mem"));
    let place = PLACE;
    let vector = [place.as_ptr().addr(), 8];
    let (vector, one) = (vector.as_ptr().addr(), 1);
    for (name, number) in [("readv", libc::SYS_process_vm_readv), ("writev", libc::SYS_process_vm_writev)] {
        report(format!("process_vm_{name}"), try_call(number, [SUPERVISOR, vector, one, vector, one, 0]));
    }
    report("ptrace attach", try_call(libc::SYS_ptrace, [16, SUPERVISOR]));
    report("ptrace seize", try_call(libc::SYS_ptrace, [0x4206, SUPERVISOR]));
    report("kcmp", try_call(libc::SYS_kcmp, [SUPERVISOR, SUPERVISOR]));
    report("pidfd_open", try_call(libc::SYS_pidfd_open, [SUPERVISOR]));
    let itself = std::process::id() as usize;
    let descriptor = try_call(libc::SYS_pidfd_open, [itself]).unwrap_or(-1) as usize;
    report("pidfd_getfd", try_call(libc::SYS_pidfd_getfd, [descriptor]));
}

fn files() {
    let create = |path: &str| File::options().write(true).create(true).truncate(true).open(path);
    for path in [
        "/stranger",
        "/etc/group",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/hostile",
        "/jct/jct",
        "/jct/stranger",
        "/work/stranger",
        "/work/in/task.json",
        "/work/in/stranger",
        "/work/repo.git/HEAD",
        "/work/repo.git/stranger",
        "/work/private/stranger",
        "/work/private/source.json",
        "/dev/termination-log",
        "/dev/shm/stranger",
        "/proc/self/oom_score_adj",
        "/proc/sys/kernel/core_pattern",
        "/sys/fs/cgroup/pids/pids.max",
    ] {
        report(format!("write {path}"), create(path));
    }
    report("read /work/private/source.json", File::open("/work/private/source.json"));
    for path in ["/work/in/task.json", "/work/repo.git", "/work/private", "/work/out"] {
        report(format!("rename {path}"), fs::rename(path, "/work/moved"));
    }
    report("remove /work/in/task.json", fs::remove_file("/work/in/task.json"));
    report("truncate /work/in/task.json", on_path(libc::SYS_truncate, "/work/in/task.json", [0]));
    for path in ["/work/in/task.json", "/work/repo.git", "/work/private", "/work", "/jct/jct"] {
        report(format!("chmod {path}"), on_path(libc::SYS_chmod, path, [0]));
        report(format!("touch {path}"), touch(path));
    }
    report("symlink /work/private", symlink("/etc", "/work/private/link"));
    report("link out of /work/in", fs::hard_link("/work/in/task.json", "/work/out/linked"));
    report("link out of /etc", fs::hard_link("/etc/hosts", "/work/out/linked"));
    report("mknod of a device", on_path(libc::SYS_mknod, "/work/out/device", [libc::S_IFBLK as usize | 0o600, 0x0801]));
    report(
        "mknod of a character device",
        on_path(libc::SYS_mknod, "/work/out/mem", [libc::S_IFCHR as usize | 0o600, 0x0101]),
    );
}

/// Sets the times of `path` to now.
fn touch(path: &str) -> Result<i64, Errno> {
    let path = std::ffi::CString::new(path).unwrap_or_default();
    try_call(libc::SYS_utimensat, [signed(libc::AT_FDCWD), path.as_ptr().addr(), 0, 0])
}

fn trace() {
    report("list /trace", fs::read_dir("/trace"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = mounts.lines().find(|line| line.contains("trace") || line.contains("jct-local"));
    report("find a mount of the trace volume", mounted.ok_or(Errno::ENOENT));
    report("find a manifest", find_anywhere("claim.json").ok_or(Errno::ENOENT));
    // That both looks see what is there.
    let work = mounts.lines().find(|line| line.contains("/work/in"));
    report("find a mount of the work volume", work.ok_or(Errno::ENOENT));
    report("find the Task", find_anywhere("task.json").ok_or(Errno::ENOENT));
    let (path, place) = (c"/work/in", PLACE);
    let arguments = [signed(libc::AT_FDCWD), path.as_ptr().addr(), place.as_ptr().addr(), place.as_ptr().addr(), 0];
    report("name_to_handle_at", try_call(libc::SYS_name_to_handle_at, arguments));
    report(
        "open_by_handle_at",
        try_call(libc::SYS_open_by_handle_at, [signed(libc::AT_FDCWD), place.as_ptr().addr(), 0]),
    );
}

/// A file of that name, below any folder that may be there: who may not list the root can still try its names.
fn find_anywhere(name: &str) -> Option<()> {
    let work =
        ["", "/in", "/source", "/out", "/home", "/private", "/run", "/repo.git"].map(|part| format!("/work{part}"));
    let others = [
        "/",
        "/trace",
        "/traces",
        "/tmp",
        "/jct",
        "/home",
        "/root",
        "/var",
        "/var/lib/jct",
        "/mnt",
        "/run",
        "/opt",
        "/etc",
    ];
    work.iter().map(String::as_str).chain(others).find_map(|folder| find(folder, name, 0))
}

/// A file of that name below a folder, but not in /proc and /sys.
fn find(folder: &str, name: &str, depth: usize) -> Option<()> {
    if depth > 12 || ["//proc", "//sys"].contains(&folder) {
        return None;
    }
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let found = entry.file_name();
        let found = found.to_str()?;
        if found == name {
            return Some(());
        }
        entry.file_type().ok()?.is_dir().then(|| find(&format!("{folder}/{found}"), name, depth + 1))?
    })
}

fn privileges() {
    report("setuid 0", try_call(libc::SYS_setuid, [0]));
    report("setgid 0", try_call(libc::SYS_setgid, [0]));
    report("setresuid 0", try_call(libc::SYS_setresuid, [0, 0, 0]));
    let group = [0_u32];
    report("setgroups", try_call(libc::SYS_setgroups, [1, group.as_ptr().addr()]));
    let header = [0x2008_0522_u32, 0];
    let all = [u32::MAX; 6];
    report("capset", try_call(libc::SYS_capset, [header.as_ptr().addr(), all.as_ptr().addr()]));
    report("hide from others of the user", try_call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, 0]));
    report("give up no_new_privs", try_call(libc::SYS_prctl, [38, 0, 0, 0, 0]));
    report("chroot", on_path(libc::SYS_chroot, "/work/source", []));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for field in ["CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        report_value(field, value.unwrap_or_default());
    }
    set_user_id();
}

/// A program of its own with the set-user-ID bit: who it is when it runs.
fn set_user_id() {
    let program = format!("{}/set-user-id", std::env::var("HOME").unwrap_or_default());
    let copied = fs::copy("/hostile", &program).map(drop);
    let path = std::ffi::CString::new(program.clone()).unwrap_or_default();
    report("copy itself", copied);
    report("give it to root", try_call(libc::SYS_chown, [path.as_ptr().addr(), 0, 0]));
    let _ = on_path(libc::SYS_chmod, &program, [0o6755]);
    let _ = fs::remove_file(program);
}

fn signals() {
    let (kill, stop, everybody) = (libc::SIGKILL as usize, libc::SIGSTOP as usize, signed(-1));
    report("kill the supervisor", try_call(libc::SYS_kill, [SUPERVISOR, kill]));
    report("stop the supervisor", try_call(libc::SYS_kill, [SUPERVISOR, stop]));
    report("end the supervisor", try_call(libc::SYS_kill, [SUPERVISOR, libc::SIGTERM as usize]));
    report("kill the parent", try_call(libc::SYS_kill, [std::os::unix::process::parent_id() as usize, kill]));
    report("kill everybody", try_call(libc::SYS_kill, [everybody, kill]));
    report("tkill", try_call(libc::SYS_tkill, [SUPERVISOR, kill]));
    report("tgkill", try_call(libc::SYS_tgkill, [SUPERVISOR, SUPERVISOR, kill]));
    let threads = fs::read_dir("/proc/1/task").into_iter().flatten().flatten();
    let thread = threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|id| *id != SUPERVISOR);
    report(
        "kill a thread of the supervisor",
        thread.map_or(Err(Errno::ESRCH), |id| try_call(libc::SYS_tkill, [id, kill])),
    );
    let place = PLACE;
    report("rt_sigqueueinfo", try_call(libc::SYS_rt_sigqueueinfo, [SUPERVISOR, kill, place.as_ptr().addr()]));
    report("setpriority of the supervisor", try_call(libc::SYS_setpriority, [0, SUPERVISOR, 19]));
    report("setpriority of the user", try_call(libc::SYS_setpriority, [2, 0, 19]));
    report("ioprio_set of the supervisor", try_call(libc::SYS_ioprio_set, [1, SUPERVISOR, 3 << 13]));
    report("ioprio_set of the user", try_call(libc::SYS_ioprio_set, [3, 0, 3 << 13]));
    let (cpus, limit) = ([1_u64], [0_u64, 0]);
    report("sched_setaffinity", try_call(libc::SYS_sched_setaffinity, [SUPERVISOR, 8, cpus.as_ptr().addr()]));
    let idle = [0_i32];
    report("sched_setscheduler", try_call(libc::SYS_sched_setscheduler, [SUPERVISOR, 5, idle.as_ptr().addr()]));
    report("prlimit", try_call(libc::SYS_prlimit64, [SUPERVISOR, libc::RLIMIT_NOFILE as usize, limit.as_ptr().addr()]));
    // Into the supervisor's own group, to reach it as one of it.
    report("join the supervisor's group", try_call(libc::SYS_setpgid, [0, SUPERVISOR]));
    report("reboot", try_call(libc::SYS_reboot, [0xfee1_dead, 672_274_793, 0x0123_4567]));
}

/// What it was given open: nothing but the three that it prints to and reads from.
fn descriptors() {
    let open = || {
        let mut numbers: Vec<i32> = Vec::new();
        for number in 0..1024 {
            if try_call(libc::SYS_fcntl, [number, libc::F_GETFD as usize]).is_ok() {
                numbers.push(number as i32);
            }
        }
        format!("{numbers:?}")
    };
    report_value("descriptors", open());
    let file = File::open("/proc/self/status");
    report_value("descriptors and one more", open());
    drop(file);
}

/// What its image sets and links: see tests/e2e.sh.
fn image() {
    let mut names: Vec<String> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    names.sort();
    report_value("variables", names.join(" "));
    report_value("PATH", std::env::var("PATH").unwrap_or_default());
    report("read the Task by a link of the image", File::open("/link-in/task.json"));
    report("read what is ours by a link of the image", File::open("/link-private/source.json"));
    report("list what is ours by a link of the image", fs::read_dir("/link-private"));
    report("read what is ours by a link to the root", File::open("/link-root/work/private/source.json"));
}

fn clocks() {
    let place = PLACE;
    let at = place.as_ptr().addr();
    for (name, number, arguments) in [
        ("clock_settime", libc::SYS_clock_settime, [0, at]),
        ("settimeofday", libc::SYS_settimeofday, [at, 0]),
        ("adjtimex", libc::SYS_adjtimex, [at, 0]),
        ("clock_adjtime", libc::SYS_clock_adjtime, [0, at]),
        ("unshare of time", libc::SYS_unshare, [0x80, 0]),
    ] {
        report(name, try_call(number, arguments));
    }
}

fn kernel() {
    let place = PLACE;
    let (at, text) = (place.as_ptr().addr(), c"tmpfs".as_ptr().addr());
    let calls: &[(&str, c_long, [usize; 5])] = &[
        ("mount", libc::SYS_mount, [text, c"/tmp".as_ptr().addr(), text, 0, 0]),
        ("umount", libc::SYS_umount2, [c"/work".as_ptr().addr(), 2, 0, 0, 0]),
        ("move_mount", libc::SYS_move_mount, [at, at, at, at, 0]),
        ("open_tree", libc::SYS_open_tree, [signed(libc::AT_FDCWD), c"/".as_ptr().addr(), 1, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [text, 0, 0, 0, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [signed(libc::AT_FDCWD), c"/jct".as_ptr().addr(), 0, at, 32]),
        ("pivot_root", libc::SYS_pivot_root, [c"/tmp".as_ptr().addr(), c"/tmp".as_ptr().addr(), 0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0, 0, 0]),
        ("unshare of users", libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0]),
        ("unshare of mounts", libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0, 0]),
        ("unshare of the network", libc::SYS_unshare, [libc::CLONE_NEWNET as usize, 0, 0, 0, 0]),
        ("unshare of processes", libc::SYS_unshare, [libc::CLONE_NEWPID as usize, 0, 0, 0, 0]),
        ("clone of users", libc::SYS_clone, [libc::CLONE_NEWUSER as usize | libc::SIGCHLD as usize, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [at, 64, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, at, 120, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [at, 0, signed(-1), signed(-1), 0]),
        ("keyctl", libc::SYS_keyctl, [0, signed(-3), 1, 0, 0]),
        ("add_key", libc::SYS_add_key, [c"user".as_ptr().addr(), text, at, 8, signed(-3)]),
        ("request_key", libc::SYS_request_key, [c"user".as_ptr().addr(), text, 0, signed(-3), 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [8, at, 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, 0, 0]),
        ("kexec_file_load", libc::SYS_kexec_file_load, [0, 0, 0, 0, 0]),
        ("init_module", libc::SYS_init_module, [at, 64, at, 0, 0]),
        ("finit_module", libc::SYS_finit_module, [0, at, 0, 0, 0]),
        ("delete_module", libc::SYS_delete_module, [text, 0, 0, 0, 0]),
        ("ptrace of itself", libc::SYS_ptrace, [0, 0, 0, 0, 0]),
        ("syslog", libc::SYS_syslog, [3, at, 64, 0, 0]),
        ("acct", libc::SYS_acct, [0, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [text, 0, 0, 0, 0]),
        ("quotactl", libc::SYS_quotactl, [0, 0, 0, 0, 0]),
        ("fanotify_init", libc::SYS_fanotify_init, [0, 0, 0, 0, 0]),
        ("sethostname", libc::SYS_sethostname, [text, 5, 0, 0, 0]),
        ("type into a terminal", libc::SYS_ioctl, [0, libc::TIOCSTI as usize, at, 0, 0]),
    ];
    for (name, number, [a, b, c, d, e]) in calls {
        report(name, try_call(*number, [*a, *b, *c, *d, *e]));
    }
    #[cfg(target_arch = "x86_64")]
    {
        report("iopl", try_call(libc::SYS_iopl, [3]));
        report("ioperm", try_call(libc::SYS_ioperm, [0, 1, 1]));
        report("modify_ldt", try_call(libc::SYS_modify_ldt, [1, at, 16]));
    }
    for device in ["/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/userfaultfd", "/dev/kvm", "/dev/sda", "/dev/ptmx"] {
        report(format!("open {device}"), File::options().read(true).write(true).open(device));
    }
    report("read /proc/kcore", File::open("/proc/kcore").and_then(|mut file| file.read_exact(&mut [0; 8])));
    report("write /proc/sysrq-trigger", File::options().write(true).open("/proc/sysrq-trigger"));
    report("read the service account", read_service_account());
}

fn read_service_account() -> io::Result<String> {
    fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/token")
}

/// What would rule the terminal of whoever follows the log, rewrite its lines, and give secrets away.
fn terminal() {
    println!("\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[1;31mcleared\u{1b}[0m");
    println!("harmless\rattempt_ended outcome=succeeded");
    println!("password=CanaryCanary \u{9b}31m \u{202e}desrever");
    println!("::step::Reading \u{1b}[2Ja password=CanaryCanary\u{7}");
    eprintln!("https://me:CanaryCanary@host/x");
}
