//! `jct run`: what its executor may do to the machine, beside Landlock and seccomp, which `crates/worker/tests/steps/main.rs` and the end-to-end
//! tests look at. What an executor got is taken from a file that it leaves, and each refusal has a control: the same, tried by
//! the user without JCT, succeeds.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rstest::rstest;
use serde_json::json;

use crate::machine::{Machine, outcome, processes_with, until};

/// A process of the user that has nothing to do with JCT, until the test ends.
struct Other(Child);

impl Other {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(code: &str) -> String {
    format!("/usr/bin/python3 -c '{code}'")
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn mode_times_and_attributes_of_the_users_files_are_not_its_to_change() {
    let machine = Machine::new();
    let (key, folder) = (machine.path("key"), machine.path("ssh"));
    fs::write(&key, "private").unwrap();
    fs::create_dir(&folder).unwrap();
    let as_it_was = || {
        let of = |path: &Path| fs::metadata(path).map(|found| (found.mode() & 0o7777, found.mtime())).unwrap();
        (of(&key), of(&folder))
    };
    let before = as_it_was();
    let script = format!(
        "tried file chmod 4777 {key}\ntried folder chmod 777 {folder}
         tried times sh -c 'test -e {key} && touch -d 2001-01-01 {key}'
         tried attribute {attribute}",
        key = shown(&key),
        folder = shown(&folder),
        attribute = python(&format!("import os; os.setxattr(\"{}\", \"user.a\", b\"b\")", shown(&key))),
    );
    let confined = machine.tries(&script, &[]);
    assert_eq!(as_it_was(), before);
    assert!(confined.len() == 4 && confined.values().all(|got| !got), "{confined:?}");
    // Also of what it may read.
    let read = machine.tries(&script, &["--read", shown(&key), "--read", shown(&folder)]);
    assert_eq!(as_it_was(), before);
    assert!(read.len() == 4 && read.values().all(|got| !got), "{read:?}");
    let free = machine.tries_unconfined(&script);
    assert!(free.values().all(|got| *got), "{free:?}");
    assert_ne!(as_it_was(), before, "the same script changes them where nothing confines it");
}

#[test]
fn what_is_mounted_is_read_only_but_its_own_and_nowhere_counts_a_device_or_a_set_user_id() {
    let machine = Machine::new();
    let mounts = |path: &Path| -> Vec<(String, String)> {
        let line = |line: &str| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?.to_owned(), fields.nth(1)?.to_owned()))
        };
        fs::read_to_string(path).unwrap().lines().filter_map(line).collect()
    };
    let (code, _, log) = machine.run_script(&json!({}), "cat /proc/self/mounts >\"$JCT_OUT/mounts\"");
    assert_eq!(code, 0, "{log}");
    let found = mounts(&machine.trace().join("artifacts/mounts"));
    assert!(found.len() > 10 && found.iter().any(|(path, _)| path == "/usr"), "{found:?}");
    let work = machine.path("state/work");
    for (path, options) in found.iter().filter(|(path, _)| !path.starts_with("/dev/")) {
        let has = |option: &str| options.split(',').any(|found| found == option);
        assert!(has("nosuid") && has("nodev"), "{path} {options}");
        let is_own =
            ["source", "out", "home", "tmp", "result"].iter().any(|name| path.ends_with(&format!("-1/{name}")));
        let is_own = path == "/tmp" || path == "/proc" || is_own && path.starts_with(shown(&work));
        assert_eq!(has("rw"), is_own, "{path} {options}");
    }
    let free = mounts(Path::new("/proc/self/mounts"));
    assert!(free.iter().any(|(_, options)| !options.contains("nosuid")), "{free:?}");
}

#[test]
fn no_capability_is_left_and_nobody_is_root() {
    let machine = Machine::new();
    let script = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)|^Uid|^Groups|NoNewPrivs' /proc/self/status >\"$JCT_OUT/status\"";
    let (code, reported, log) = machine.run_script(&json!({}), script);
    assert_eq!(code, 0, "{reported} {log}");
    let status = fs::read_to_string(machine.trace().join("artifacts/status")).unwrap();
    let fields = |status: &str| -> Vec<(String, String)> {
        let field = |line: &str| line.split_once(":\t").map(|(name, value)| (name.into(), value.trim().into()));
        status.lines().filter_map(field).collect()
    };
    let found = fields(&status);
    let capabilities: Vec<_> = found.iter().filter(|(name, _)| name.starts_with("Cap")).collect();
    assert_eq!(capabilities.len(), 5, "{status}");
    assert!(capabilities.iter().all(|(_, value)| value == "0000000000000000"), "{status}");
    assert!(found.contains(&("NoNewPrivs".into(), "1".into())), "{status}");
    let user = if geteuid().is_root() { 65534 } else { geteuid().as_raw() };
    assert!(found.contains(&("Uid".into(), vec![user.to_string(); 4].join("\t"))), "{status}");
    // Without it there are some, if only those that could be got.
    let out = tempfile::tempdir().unwrap();
    let free = Command::new(machine.script(script)).env("JCT_OUT", out.path()).status().unwrap();
    assert!(free.success());
    let free = fields(&fs::read_to_string(out.path().join("status")).unwrap());
    assert!(
        free.iter().any(|(name, value)| name.starts_with("Cap") && !value.trim_start_matches('0').is_empty()),
        "{free:?}"
    );
}

#[test]
fn limits_and_priority_of_other_processes_are_not_its_to_set() {
    let machine = Machine::new();
    let other = Other::new();
    let limits = || fs::read_to_string(format!("/proc/{}/limits", other.id())).unwrap();
    let before = limits();
    let script = format!("tried limit prlimit --pid {id} --cpu=1000\ntried priority renice 19 {id}", id = other.id());
    let confined = machine.tries(&script, &[]);
    assert_eq!(limits(), before);
    let free = machine.tries_unconfined(&script);
    assert_ne!(limits(), before, "the same script sets them where nothing confines it: {free:?}");
    assert!(free.len() == 2 && free.values().all(|got| *got), "{free:?}");
    assert!(confined.len() == 2 && confined.values().all(|got| !got), "{confined:?}");
}

#[test]
fn what_was_open_before_is_not_open_to_it() {
    let machine = Machine::new();
    fs::write(machine.path("secret"), "mine").unwrap();
    let script = machine.script(": >\"$JCT_OUT/seven\"; (cat <&7 >>\"$JCT_OUT/seven\"; true); (echo theirs >&8); true");
    let opened = |command: &str| {
        let (secret, kept) = (machine.path("secret"), machine.path("kept"));
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("exec 7<{} 8<>{}; exec {command} \"$@\"", shown(&secret), shown(&kept))).arg("sh");
        shell.stdin(Stdio::null());
        shell
    };
    let reported = machine.command(&json!({}));
    let program = shown(Path::new(reported.get_program())).to_owned();
    let (code, _, log) = outcome(opened(&program).args(reported.get_args()).arg("--").arg(&script).output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert_eq!(fs::read(machine.trace().join("artifacts/seven")).unwrap(), b"");
    assert_eq!(fs::read(machine.path("kept")).unwrap(), b"");
    // They are open to a program that is started so.
    let out = tempfile::tempdir().unwrap();
    assert!(opened(shown(&script)).env("JCT_OUT", out.path()).status().unwrap().success());
    assert_eq!(fs::read(out.path().join("seven")).unwrap(), b"mine");
    assert_eq!(fs::read(machine.path("kept")).unwrap(), b"theirs\n");
}

#[test]
fn shared_memory_of_other_programs_is_not_there() {
    let made = Command::new("ipcmk").args(["-M", "4096", "-p", "0600"]).output().unwrap();
    let id = String::from_utf8(made.stdout).unwrap().trim().rsplit(' ').next().unwrap().to_owned();
    let machine = Machine::new();
    let attach = format!(
        "import ctypes; c = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p; a = c.shmat({id}, None, 0); \
         assert a != ctypes.c_void_p(-1).value; ctypes.memset(a, 65, 9)"
    );
    let script = format!("tried see grep -qw {id} /proc/sysvipc/shm\ntried write {}", python(&attach));
    machine.refuses(&script);
    assert!(Command::new("ipcrm").args(["-m", &id]).status().unwrap().success());
}

#[test]
fn nothing_outside_can_be_watched() {
    let machine = Machine::new();
    let watch = |path: &str| {
        python(&format!(
            "import ctypes; c = ctypes.CDLL(None); i = c.inotify_init(); assert c.inotify_add_watch(i, b\"{path}\", 4095) >= 0"
        ))
    };
    let (home, state) = (machine.path("repo"), machine.path("repo/README.md"));
    machine.refuses(&format!("tried folder {}\ntried file {}", watch(shown(&home)), watch(shown(&state))));
    // What is its own can be.
    let own = machine.tries(&format!("tried own {}", watch(".")), &[]);
    assert!(own["own"]);
}

#[test]
fn nothing_outlives_the_executor_whatever_ends() {
    let machine = Machine::new();
    // Of a session of its own, without a parent, and minding nothing.
    let daemon = |mark: &str| {
        format!(
            "(setsid sh -c 'trap \"\" TERM HUP INT; echo daemon; sleep 600.{mark} & wait' &) ; echo begun; sleep 600.{mark}"
        )
    };
    let mark = format!("{}1", std::process::id());
    let child = machine.start_script(&daemon(&mark));
    let its = format!("sleep 600.{mark}");
    until("the daemon", || processes_with(&its).len() >= 2);
    // The supervisor is killed: who else would end them?
    let supervisors = processes_with("jct worker run");
    let state = machine.path("state");
    let is_ours = |id: &i32| processes_with(shown(&state)).contains(id);
    let supervisor = supervisors.into_iter().find(is_ours).unwrap();
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    let (code, reported, log) = outcome(child.wait_with_output().unwrap());
    assert_eq!((code, &reported["error"]["reason"]), (1, &json!("WorkerFailed")), "{log}");
    until("the daemon to end", || processes_with(&its).is_empty());
    // It ends by itself: when the trace is sealed, nothing is left.
    let mark = format!("{}2", std::process::id());
    let script = daemon(&mark).replace("echo begun; sleep", "sleep 1; echo begun; sleep 1; exit 0; sleep");
    let child = machine.start_script(&script);
    let its = format!("sleep 600.{mark}");
    until("the daemon", || !processes_with(&its).is_empty());
    let (code, _, log) = outcome(child.wait_with_output().unwrap());
    assert_eq!((code, processes_with(&its)), (0, Vec::new()), "{log}");
}

#[test]
fn the_terminal_of_the_user_is_not_its() {
    let machine = Machine::new();
    let mut reported = machine.command(&json!({}));
    let script = machine
        .script("if (echo theirs >/dev/tty) 2>/dev/null; then echo got; else echo refused; fi >\"$JCT_OUT/tty\"");
    reported.arg("--").arg(&script);
    let on_a_terminal = |line: &str| {
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--command", line, "/dev/null"]).stdin(Stdio::null());
        terminal
    };
    let words = std::iter::once(reported.get_program()).chain(reported.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let output = on_a_terminal(&line.join(" ")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(machine.trace().join("artifacts/tty")).unwrap(), "refused\n");
    // A program that is started there has it.
    let out = tempfile::tempdir().unwrap();
    let output = on_a_terminal(&format!("'{}'", shown(&script))).env("JCT_OUT", out.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(out.path().join("tty")).unwrap(), "got\n");
}

#[test]
fn a_crash_of_it_is_nothing_to_the_machines_crash_handler() {
    let machine = Machine::new();
    let show = "grep 'core file' /proc/self/limits >>\"$JCT_OUT/limits\"";
    // As programs with secrets do, which end where they can't.
    let script = format!("{show}; ulimit -c 0 || exit 1; {show}");
    let seen = |folder: &Path| -> Vec<[String; 2]> {
        let limits = fs::read_to_string(folder.join("limits")).unwrap();
        let fields = |line: &str| -> Vec<String> { line.split_ascii_whitespace().map(Into::into).collect() };
        limits.lines().map(|line| fields(line)[4..6].to_vec().try_into().unwrap()).collect()
    };
    let (code, _, log) = machine.run_script(&json!({}), &script);
    assert_eq!(code, 0, "{log}");
    // 0 keeps the kernel from files alone, 1 from starting a handler too: see core(5) and do_coredump() in fs/coredump.c.
    assert_eq!(seen(&machine.trace().join("artifacts")), [["1", "1"], ["1", "1"]]);
    // Without JCT it is lowered.
    let out = tempfile::tempdir().unwrap();
    let free = Command::new(machine.script(&script)).env("JCT_OUT", out.path()).status().unwrap();
    assert!(free.success());
    assert_eq!(seen(out.path())[1], ["0", "0"]);
}

#[test]
fn a_relative_path_finds_no_program_that_an_executor_left() {
    let machine = Machine::new();
    let mark = machine.path("mark");
    let program = format!("#!/bin/sh\necho ran >{}\n", shown(&mark));
    let script = format!("printf '{}' >\"$JCT_OUT/git\"; chmod 755 \"$JCT_OUT/git\"", program.replace('\n', "\\n"));
    let script = machine.script(&format!("{script}; echo changed >README.md"));
    let path = format!("out:./out::{}", std::env::var("PATH").unwrap());
    let mut command = machine.command(&json!({"operation": "code_change"}));
    let (code, _, log) = outcome(command.env("PATH", path).arg("--").arg(&script).output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert!(machine.trace().join("artifacts/git").exists(), "it was there to be found");
    assert!(!mark.exists(), "a step ran what the executor left");
}

#[test]
fn its_scratch_is_there_as_tmp() {
    let machine = Machine::new();
    let name = format!("jct-{}", std::process::id());
    let script = format!(
        "tried write touch /tmp/{name}\ntried same test -e \"$TMPDIR/{name}\"\ntried null sh -c 'echo >/dev/null'"
    );
    let tries = machine.tries(&script, &[]);
    assert!(tries.len() == 3 && tries.values().all(|got| *got), "{tries:?}");
    assert!(!Path::new("/tmp").join(&name).exists());
}

#[rstest]
#[case::open(0o755, None, 0o700)]
#[case::of_others_too(0o755, Some("notes"), 0o755)]
fn record_traces_and_key_are_for_their_user_alone(
    #[case] before: u32,
    #[case] besides: Option<&str>,
    #[case] after: u32,
) {
    let machine = Machine::new();
    let state = machine.path("state");
    fs::create_dir(&state).unwrap();
    if let Some(name) = besides {
        fs::write(state.join(name), "").unwrap();
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(before)).unwrap();
    // Whatever the umask is that it is started with.
    let reported = machine.command(&json!({}));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(reported.get_program()).args(reported.get_args());
    let (code, _, log) = outcome(shell.output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, after);
    let entries = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap());
    let open: Vec<_> = entries.filter(|entry| entry.metadata().unwrap().mode() & 0o077 != 0).collect();
    let open: Vec<_> =
        open.iter().map(|entry| entry.file_name()).filter(|name| Some(name.to_str().unwrap()) != besides).collect();
    assert!(open.is_empty(), "{open:?}");
    for name in ["record.db", "signing.key", "keys.json", "traces"] {
        assert!(state.join(name).exists(), "{name}");
    }
}

/// As on a machine that gives none: in a user namespace of its own, in which no other can be made.
fn without_namespaces(machine: &Machine, args: &[&str], script: &Path) -> Command {
    let reported = machine.command(&json!({}));
    let mut command = Command::new("unshare");
    let limit =
        "echo 0 >/proc/sys/user/max_user_namespaces && echo 0 >/proc/sys/user/max_mnt_namespaces && exec \"$@\"";
    command.args(["--user", "--map-current-user", "--keep-caps", "/bin/sh", "-c", limit, "sh"]);
    command.arg(reported.get_program()).args(reported.get_args()).args(args).arg("--").arg(script).stdin(Stdio::null());
    command
}

#[test]
fn what_cannot_be_had_is_told_before_and_refused_where_it_is_required() {
    let machine = Machine::new();
    let script = machine.script("echo ran >\"$JCT_OUT/ran\"");
    let (code, reported, log) = outcome(without_namespaces(&machine, &[], &script).output().unwrap());
    assert_eq!((code, &reported["error"]["reason"]), (1, &json!("SandboxUnavailable")), "{reported} {log}");
    let message = reported["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("gives") && message.contains("namespaces") && message.contains("best-effort"),
        "{message}"
    );
    assert!(!machine.trace().join("artifacts/ran").exists());

    let machine = Machine::new();
    let script = machine.script("echo ran >\"$JCT_OUT/ran\"; echo begun");
    let best = ["--sandbox", "best-effort"];
    let (code, reported, log) = outcome(without_namespaces(&machine, &best, &script).output().unwrap());
    if geteuid().is_root() {
        assert_eq!((code, &reported["error"]["reason"]), (1, &json!("SandboxUnavailable")), "{reported} {log}");
        assert!(reported["error"]["message"].as_str().unwrap().contains("--as-root"), "{reported}");
        let machine = Machine::new();
        let script = machine.script("echo ran >\"$JCT_OUT/ran\"; echo begun");
        let as_root = [best[0], best[1], "--as-root"];
        ran_and_said_so(&machine, outcome(without_namespaces(&machine, &as_root, &script).output().unwrap()));
    } else {
        ran_and_said_so(&machine, (code, reported, log));
    }
}

/// As root of a container that has been given all but one capability.
#[test]
fn root_that_cannot_watch_another_user_is_told_so_before_anything_runs() {
    if !geteuid().is_root() {
        return eprintln!("for root alone: another user's executor is its own");
    }
    let run = |capabilities: &str| {
        let machine = Machine::new();
        let script = machine.script("echo ran >\"$JCT_OUT/ran\"");
        let reported = machine.command(&json!({}));
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps", capabilities, "--bounding-set", capabilities]);
        command.arg(reported.get_program()).args(reported.get_args()).arg("--").arg(script).stdin(Stdio::null());
        let (code, reported, log) = outcome(command.output().unwrap());
        (code, reported, log, machine.trace().join("artifacts/ran").exists())
    };
    let (code, reported, log, ran) = run("-sys_ptrace");
    assert_eq!((code, &reported["error"]["reason"], ran), (1, &json!("SandboxUnavailable"), false), "{reported} {log}");
    assert!(reported["error"]["message"].as_str().unwrap().contains("CAP_SYS_PTRACE"), "{reported}");
    let (code, reported, log, ran) = run("-wake_alarm");
    assert_eq!((code, ran), (0, true), "{reported} {log}");
}

fn ran_and_said_so(machine: &Machine, (code, reported, log): (i32, serde_json::Value, String)) {
    assert_eq!(code, 0, "{reported} {log}");
    assert!(machine.trace().join("artifacts/ran").exists());
    let said = log.find("executor_confined").unwrap();
    let event = log[said..].lines().next().unwrap();
    assert!(event.contains("can change the mode, times and attributes of your files"), "{event}");
    assert!(said < log.find("begun").unwrap(), "before it runs");
}

#[test]
fn a_command_and_what_it_reads_may_be_named_by_links() {
    let machine = Machine::new();
    fs::create_dir(machine.path("given")).unwrap();
    fs::write(machine.path("given/note"), "mine").unwrap();
    let (script, agent, given) = (machine.script("cat \"$1/note\""), machine.path("agent"), machine.path("link"));
    std::os::unix::fs::symlink(script, &agent).unwrap();
    std::os::unix::fs::symlink(machine.path("given"), &given).unwrap();
    let mut command = machine.command(&json!({}));
    command.arg("--read").arg(&given).arg("--").arg(&agent).arg(&given);
    let (code, reported, log) = outcome(command.output().unwrap());
    assert_eq!(code, 0, "{log}");
    let trace = Path::new(reported["trace_folder"].as_str().unwrap()).join("stdout.log");
    assert_eq!(fs::read_to_string(trace).unwrap(), "mine");
}

/// Of a configuration with secrets in it, what anybody on the machine can see while the executor runs.
#[test]
fn the_configuration_of_an_executor_is_on_no_command_line() {
    let machine = Machine::new();
    let secret = format!("a-secret-{}", std::process::id());
    let file = machine.path("executors.yaml");
    let yaml = format!(
        "executors: [{{name: keyed, operations: [analysis], image: 'registry.example/x:1', env: {{A_KEY: {secret}}}, \
         command: [sh, -c, 'cat /proc/[0-9]*/cmdline >/dev/null; test \"$A_KEY\" && echo begun && sleep 60']}}]"
    );
    fs::write(&file, yaml).unwrap();
    let child = machine.command(&json!({"executor": "keyed"})).arg("--executors").arg(&file).spawn().unwrap();
    until("the executor", || crate::machine::log_of(&machine).contains("begun"));
    let lines =
        || fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let shown = |text: &str| lines().filter(|line| String::from_utf8_lossy(line).contains(text)).count();
    let (secrets, steps) = (shown(&secret), shown(machine.path("state").to_str().unwrap()));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let (code, _, log) = outcome(child.wait_with_output().unwrap());
    assert_eq!((code, secrets), (130, 0), "{log}");
    assert!(steps > 1, "the steps were not seen at all");
}

/// While it gives back its memory, a process is not its user's, and hides nothing.
#[test]
fn a_process_with_much_memory_may_end_while_others_run() {
    let machine = Machine::new();
    let script =
        "for i in 1 2 3; do python3 -c 'a = bytearray(1 << 31); a[::4096] = b\"x\" * (1 << 19)'; done; echo done";
    let (code, reported, log) = machine.run_script(&json!({}), script);
    assert_eq!((code, &reported["status"]), (0, &json!("completed")), "{log}");
}
