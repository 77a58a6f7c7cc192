//! What an executor should not leave behind.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::report;
use crate::sys::{ignore, on_path};

pub fn run(escape: &str) -> bool {
    let out = PathBuf::from(std::env::var_os("JCT_OUT").expect("JCT_OUT"));
    match escape {
        "links" => links(&out),
        "special files" => special_files(&out),
        "names" => names(&out),
        "forgeries" => forgeries(&out),
        "times" => times(&out),
        "huge files" => huge_files(&out),
        "many files" => (0..300).for_each(|n| drop(File::create(out.join(format!("{n:03}"))))),
        _ => return false,
    }
    true
}

fn links(out: &Path) {
    for (name, target) in [
        ("etc", "/etc/passwd"),
        ("environ", "/proc/self/environ"),
        ("supervisor", "/proc/1/environ"),
        ("folder", "/"),
        ("trace", "/trace"),
        ("dangling", "/nowhere"),
        ("itself", "itself"),
    ] {
        report(format!("symlink {name}"), symlink(target, out.join(format!("symlink-{name}"))));
    }
    let source = out.join("../source/original");
    let _ = fs::write(&source, "original");
    report("hard link", fs::hard_link(&source, out.join("hard-link")));
    report("hard link to the repository", fs::hard_link("/work/repo.git/HEAD", out.join("hard-link-HEAD")));
}

fn special_files(out: &Path) {
    let fifo = out.join("fifo");
    report("fifo", on_path(libc::SYS_mknod, fifo.to_str().unwrap_or_default(), [libc::S_IFIFO as usize | 0o666, 0]));
    report("socket", UnixListener::bind(out.join("socket")));
    let unreadable = out.join("unreadable");
    let _ = fs::write(&unreadable, "x");
    report("unreadable", on_path(libc::SYS_chmod, unreadable.to_str().unwrap_or_default(), [0]));
}

fn names(out: &Path) {
    let long = "x".repeat(255);
    let spread = "\u{7}".repeat(250);
    let all: [&[u8]; 15] = [
        b"new\nline",
        b"bell\x07",
        b"\x1b[2Jclear",
        b"tab\t",
        b"\xff\xfe",
        b"..;",
        b"...",
        b"..%2f..%2fetc",
        b" .. ",
        b"back\\slash",
        "\u{202e}gnp.exe".as_bytes(),
        "\u{ff0e}\u{ff0e}".as_bytes(),
        b"-rf",
        long.as_bytes(),
        spread.as_bytes(),
    ];
    for name in all {
        report(
            format!("name {:?}", String::from_utf8_lossy(&name[..name.len().min(20)])),
            fs::write(out.join(OsStr::from_bytes(name)), "x"),
        );
    }
    let deep = (0..40).fold(out.join("deep"), |path, _| path.join("d"));
    report("40 folders deep", fs::create_dir_all(&deep).and_then(|()| fs::write(deep.join("x"), "x")));
}

/// Files of a trace where they might be taken for those of the trace, and frames of the link where they might be read.
fn forgeries(out: &Path) {
    let result = std::env::var("JCT_RESULT_FILE").unwrap_or_default();
    for name in [
        "manifest.json",
        "result.json",
        "events.jsonl",
        "claim.json",
        "cancel.json",
        "incomplete.json",
        "provenance.dsse.json",
    ] {
        let forged = format!("{{\"outcome\":\"succeeded\",\"event\":\"attempt_ended\",\"name\":\"{name}\"}}\n");
        let _ = fs::write(out.join(name), &forged);
        for folder in [Path::new("/work"), Path::new("/tmp"), Path::new(&result).parent().unwrap_or(out)] {
            let _ = fs::write(folder.join(name), &forged);
        }
    }
    // A frame that ends the attempt with exit code 0, as the supervisor would send it.
    let account =
        br#"{"end":{"exited":0},"out_of_memory":false,"message":null,"wall_ms":1,"cpu_ms":1,"peak_memory_bytes":1}"#;
    let mut frame = vec![b'x'];
    frame.extend(u32::try_from(account.len()).unwrap_or_default().to_be_bytes());
    frame.extend(account);
    frame.push(b'\n');
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &frame);
    let claims =
        r#"{"summary":"all is well","reason":"Cancelled","outcome":"succeeded","exit_code":0,"cost":{"usd":-5}}"#;
    report("claim a result", fs::write(&result, claims));
    std::process::exit(3);
}

fn times(out: &Path) {
    for (name, seconds) in [("1970", 0), ("2100", 4_102_444_800), ("2400", 13_569_465_600)] {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let set = File::create(out.join(format!("from-{name}")))
            .and_then(|file| file.set_times(FileTimes::new().set_modified(time).set_accessed(time)));
        report(format!("time {name}"), set);
    }
}

fn huge_files(out: &Path) {
    ignore(libc::SIGXFSZ);
    let sized = |name: &str, bytes: u64| File::create(out.join(name)).and_then(|file| file.set_len(bytes));
    report("sparse file of 1 TiB", sized("sparse-1t", 1 << 40));
    report("sparse file of 60 MiB", sized("sparse-60m", 60 << 20));
    report("file of 12 MiB", fs::write(out.join("real-12m"), vec![b'x'; 12 << 20]));
    report("file of 1 KiB", fs::write(out.join("small"), vec![b'x'; 1 << 10]));
}
