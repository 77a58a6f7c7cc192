//! Tries that would harm whoever does not contain them: each in a pod of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::report;
use crate::sys::{ignore, is_child, on_path, try_call};
use crate::threads::of_the_supervisor;

pub fn run(escape: &str) -> bool {
    match escape {
        "fork bomb" => fork_bomb(),
        "output" => output(b"0123456789abcde\n"),
        "steps" => output(b"::step::x\n"),
        "disk" => fill_disk(),
        "disk by files without names" => fill_disk_nameless(),
        "disk by empty files" => fill_disk_empty(),
        "disk behind a blinded watch" => fill_disk_blinded(),
        "disk by a process without its first thread" => fill_disk_headless(),
        "disk by a process that cannot be read" => fill_disk_unreadable(),
        "disk below a folder that is closed again and again" => fill_disk_closed(),
        "disk below a hidden folder" => fill_disk_hidden(),
        "disk below a long path" => fill_disk_deep(),
        "daemon" => daemon(),
        "stubborn" => stubborn(),
        "stopped" => drop(try_call(libc::SYS_kill, [std::process::id() as usize, libc::SIGSTOP as usize])),
        "its own group" => drop(try_call(libc::SYS_kill, [0, libc::SIGKILL as usize])),
        "memory" => memory(),
        "memory in files" => memory_in_files(),
        _ => return false,
    }
    true
}

fn tmp() -> PathBuf {
    std::env::var_os("TMPDIR").expect("TMPDIR").into()
}

fn fork_bomb() -> ! {
    println!("forking");
    loop {
        // Those for whom there is no room try again, as all that there are do.
        let _ = is_child();
    }
}

fn output(line: &[u8]) {
    let piece = line.repeat((1 << 20) / line.len());
    let mut left: u64 = 10 << 30;
    let mut out = std::io::stdout().lock();
    while left > 0 && out.write_all(&piece).is_ok() {
        left = left.saturating_sub(piece.len() as u64);
    }
}

/// Writes a file of 32 MiB, as far as it may.
fn fill(mut file: File) {
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..32 {
        if file.write_all(&piece).is_err() {
            break;
        }
    }
}

fn fill_disk() -> ! {
    println!("filling");
    for n in 0..64 {
        let _ = File::create(tmp().join(n.to_string())).map(fill);
    }
    wait()
}

/// Files that have no name any more take disk until they are closed.
fn fill_disk_nameless() -> ! {
    println!("filling");
    let mut open = Vec::new();
    for n in 0..64 {
        let path = tmp().join(n.to_string());
        let Ok(file) = File::create(&path) else { continue };
        let _ = fs::remove_file(path);
        open.extend(file.try_clone());
        fill(file);
    }
    wait()
}

/// Takes descriptors, time and its turn from who counts, thread by thread.
fn fill_disk_blinded() -> ! {
    let (none, soon, idle) = ([0_u64, 0], [1_u64, 1], [0_i32]);
    for id in of_the_supervisor() {
        for (resource, limit) in [(libc::RLIMIT_NOFILE, &none), (libc::RLIMIT_CPU, &soon)] {
            let arguments = [id, resource as usize, limit.as_ptr().addr()];
            report(format!("limit {resource}"), try_call(libc::SYS_prlimit64, arguments));
        }
        report("idle", try_call(libc::SYS_sched_setscheduler, [id, 5, idle.as_ptr().addr()]));
    }
    fill_disk()
}

/// The first thread ends, and shows no descriptors then.
fn fill_disk_headless() -> ! {
    std::thread::spawn(|| fill_disk_nameless());
    sleep(Duration::from_millis(200));
    let _ = try_call(libc::SYS_exit, [0]);
    wait()
}

/// The kernel shows nobody what a process holds open whose program nobody may read.
fn fill_disk_unreadable() -> ! {
    const AGAIN: &str = "JCT_HOSTILE_UNREADABLE";
    if std::env::var_os(AGAIN).is_some() {
        fill_disk_nameless();
    }
    let program = tmp().join("unreadable");
    let _ = fs::copy("/proc/self/exe", &program);
    let _ = fs::set_permissions(&program, fs::Permissions::from_mode(0o111));
    let _ = std::os::unix::process::CommandExt::exec(std::process::Command::new(program).env(AGAIN, "1"));
    wait()
}

/// Closes a folder as fast as the watch opens it.
fn fill_disk_closed() -> ! {
    let folder = tmp().join("closed");
    let _ = fs::create_dir(&folder);
    let mut open = Vec::new();
    for n in 0..64 {
        open.extend(File::create(folder.join(n.to_string())));
    }
    std::thread::spawn(move || {
        loop {
            let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o0));
        }
    });
    open.into_iter().for_each(fill);
    wait()
}

fn fill_disk_empty() -> ! {
    println!("filling");
    for n in 0..60_000 {
        let _ = File::create(tmp().join(n.to_string()));
    }
    wait()
}

/// A folder that can be entered and written to, but not listed.
fn fill_disk_hidden() -> ! {
    println!("filling");
    let folder = tmp().join("hidden");
    let _ = fs::create_dir(&folder);
    let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o300));
    for n in 0..64 {
        let _ = File::create(folder.join(n.to_string())).map(fill);
    }
    wait()
}

/// Folders in folders, until their path is longer than any call takes.
fn fill_disk_deep() -> ! {
    println!("filling");
    let _ = std::env::set_current_dir(tmp());
    let name = "d".repeat(200);
    for _ in 0..40 {
        let _ = on_path(libc::SYS_mkdir, &name, [0o700]);
        let _ = on_path(libc::SYS_chdir, &name, []);
    }
    for n in 0..64 {
        let _ = File::create(n.to_string()).map(fill);
    }
    wait()
}

/// Stays for as long as it is let.
fn wait() -> ! {
    println!("filled");
    loop {
        sleep(Duration::from_secs(1));
    }
}

/// Leaves its group, its session and its parent, minds no signal, and goes on writing.
fn daemon() {
    let out = PathBuf::from(std::env::var_os("JCT_OUT").expect("JCT_OUT"));
    let (beats, next) = (out.join("heartbeat"), out.join("next"));
    for _ in 0..2 {
        if !is_child().unwrap_or(false) {
            // The first process ends once the daemon lives, the daemon's parent too.
            while !beats.exists() {
                sleep(Duration::from_millis(1));
            }
            return;
        }
        let _ = try_call(libc::SYS_setsid, []);
    }
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
        ignore(signal);
    }
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        // It may be killed between any two calls: what is at the place has a beat in it.
        let _ = fs::write(&next, now.to_string()).and_then(|()| fs::rename(&next, &beats));
        sleep(Duration::from_millis(5));
    }
}

fn stubborn() -> ! {
    for signal in 1..64 {
        ignore(signal);
    }
    println!("minds nothing");
    loop {
        sleep(Duration::from_secs(1));
    }
}

fn memory() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
    }
}

/// Memory that no limit of a process counts.
fn memory_in_files() -> ! {
    ignore(libc::SIGXFSZ);
    let piece = vec![1_u8; 1 << 20];
    loop {
        let file = try_call(libc::SYS_memfd_create, [c"x".as_ptr().addr(), 0]);
        report("memfd_create", file);
        let Ok(file) = file else { continue };
        while try_call(libc::SYS_write, [file as usize, piece.as_ptr().addr(), piece.len()]).is_ok() {}
    }
}
