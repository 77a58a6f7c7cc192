//! The worker's steps as a pod runs them: the real binary, real repositories, a real git server on the loopback.

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

mod deliver;
mod executors;
mod forge;
mod model;
mod outcome;
mod source;
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use jct_domain::FailureReason;
use jct_domain::trace::Outcome;
use outcome::greeting;
use support::{Pod, Repository, Server, scripted, signal};

#[test]
fn source_and_run_leave_a_trace_that_verifies() {
    let repository = Repository::new();
    repository.write("src/main.rs", "// TODO: say more\nfn main() {}\n");
    repository.write("README.md", "# Hello\n");
    let commit = repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    let termination = pod.source();
    assert_eq!((termination.outcome, termination.manifest_sha256), (Outcome::Succeeded, None));
    let (termination, manifest) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    pod.verify(&termination, &manifest);
    assert_eq!(manifest.exit_code, Some(0));
    let source = manifest.source.clone().unwrap();
    assert_eq!((source.commit.as_str(), source.git_ref.as_str()), (commit.as_str(), "main"));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "artifacts/report.json",
            "artifacts/report.md",
            "claim.json",
            "events.jsonl",
            "stderr.log",
            "stdout.log",
            "task.json",
            "trace.log"
        ]
    );
    assert_eq!(
        pod.events().iter().map(|event| (event.seq, event.event.as_str())).collect::<Vec<_>>(),
        [
            (1, "source_started"),
            (2, "source_fetched"),
            (3, "executor_started"),
            (4, "executor_confined"),
            (5, "executor_ended"),
            (6, "attempt_ended")
        ]
    );
    assert!(pod.report().contains("say more"), "{}", pod.report());
}

#[test]
fn a_task_that_is_not_the_operators_is_not_run() {
    let pod = Pod::at("git://127.0.0.1:1/repo", "main");
    let task = pod.trace().join("task.json");
    let forged = fs::read_to_string(&task).unwrap().replace("Find out", "Leave out");
    fs::write(&task, forged).unwrap();
    let termination = pod.source();
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("digest"));
    assert_eq!(termination.manifest_sha256, None);
    assert_eq!(fs::read_dir(pod.trace()).unwrap().count(), 1, "nothing is written");
}

#[test]
fn a_sealed_trace_is_not_written_again() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "nowhere");
    pod.source_fails(FailureReason::RefNotFound, "no such branch");
    let before = pod.trace_text();
    let termination = pod.source();
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("sealed already"));
    assert_eq!(pod.trace_text(), before);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let mut wizard = scripted("");
    wizard.command = vec!["wizard".into()];
    let pod = Pod::new(&server, "main").with_executor(&wizard);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed));
    assert!(termination.message.unwrap().contains("cannot run \"wizard\""));
    assert_eq!(manifest.exit_code, Some(127));
}

#[test]
fn run_without_a_source_seals_the_trace() {
    let pod = Pod::at("git://127.0.0.1:1/repo", "main").with_arg("--patience-seconds", "1");
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert!(termination.message.unwrap().contains("source.json"));
}

/// A pod whose source is fetched, and whose executor then hangs: the git that it calls is `script`.
fn hanging(server: &Server, budget_seconds: u32, script: &str) -> Pod {
    let pod = Pod::new(server, "main").with_time_budget_seconds(budget_seconds);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    pod.with_script(&format!("{script}\ntouch \"$HOME/started\"\nexec sleep 1000"))
}

fn wait_for(path: &Path) {
    for _ in 0..6000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} does not appear", path.display());
}

fn is_running(id: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", id.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn sigterm_during_the_run_ends_everything_and_seals_the_trace() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "setsid sleep 1000 &\necho $! > \"$HOME/escaped\"\necho $$ > \"$HOME/child\"");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    let (termination, manifest) = running.terminate();
    pod.verify(&termination, &manifest);
    assert_eq!((termination.reason, manifest.exit_code), (Some(FailureReason::Evicted), None));
    for name in ["escaped", "child"] {
        assert!(!is_running(&fs::read_to_string(pod.work().join("home").join(name)).unwrap()), "{name}");
    }
}

/// An image can name another signal for its container: the supervisor hears of the end all the same.
#[test]
fn the_recorder_ends_an_executor_whose_supervisor_gets_no_signal() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo $$ > \"$HOME/child\"; echo kept > \"$JCT_OUT/kept\"");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    signal(&running.recorder, nix::sys::signal::Signal::SIGTERM);
    let (termination, manifest) = running.end();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::Evicted));
    let ended = pod.events().into_iter().find(|event| event.event == "executor_ended").unwrap();
    assert_eq!(ended.fields["end"], "interrupted", "the supervisor gave its account");
    assert!(!is_running(&fs::read_to_string(pod.work().join("home/child")).unwrap()));
    assert!(pod.trace().join("artifacts/kept").is_file(), "what was left when it had ended");
}

#[test]
fn outputs_are_not_taken_while_the_executor_may_run() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo early > \"$JCT_OUT/early\"");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    signal(&running.supervisor, nix::sys::signal::Signal::SIGSTOP);
    signal(&running.recorder, nix::sys::signal::Signal::SIGTERM);
    let mut running = running;
    running.recorder.wait().unwrap();
    signal(&running.supervisor, nix::sys::signal::Signal::SIGKILL);
    running.supervisor.wait().unwrap();
    assert_eq!(pod.manifest().reason, Some(FailureReason::Evicted));
    assert!(pod.events().iter().any(|event| event.event == "outputs_not_taken"));
    assert!(!pod.trace().join("artifacts/early").exists());
}

#[test]
fn the_sandbox_knows_every_thread_of_the_supervisor() {
    let repository = greeting();
    let server = Server::start(&repository);
    // By ids that it is told, for the kernel may be one that does not keep signals within the sandbox: no more may come.
    let script = "sleep 1.5; ls /proc/$PPID/task | wc -l >$JCT_OUT/threads";
    let pod = Pod::new(&server, "main").with_script(script);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, _) = pod.run();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    let threads = fs::read_to_string(pod.trace().join("artifacts/threads")).unwrap();
    assert_eq!(threads.trim(), "2", "one that waits, and the watch on the disk, which is there before the executor");
}

#[test]
fn what_an_executor_says_is_not_how_it_ended() {
    let repository = greeting();
    let server = Server::start(&repository);
    let script = r#"echo 'memory allocation of 1048576 bytes failed' >&2
        echo '{"summary": "no", "reason": "ChangeNotAllowed"}' >"$JCT_RESULT_FILE""#;
    for (end, said) in [("kill -ABRT $$", "signal 6"), ("exit 3", "no")] {
        let pod = Pod::new(&server, "main").with_script(&format!("{script}\n{end}"));
        assert_eq!(pod.source().outcome, Outcome::Succeeded);
        let (termination, _) = pod.run();
        assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed), "{termination:?}");
        assert!(termination.message.unwrap().contains(said), "{end}");
    }
}

#[test]
fn an_executor_that_overruns_its_budget_is_ended() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    let commit = repository.commit("first");
    let server = Server::start(&repository);
    let pod = hanging(&server, 1, "trap '' TERM; echo before");
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::TimeBudgetExceeded));
    assert_eq!(manifest.source.unwrap().commit, commit);
    assert_eq!(fs::read_to_string(pod.trace().join("stdout.log")).unwrap(), "before\n");
}

#[test]
fn what_the_executor_prints_is_redacted_and_what_it_leaves_is_swept() {
    let repository = Repository::new();
    repository.write("a", "1\n");
    repository.commit("first");
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let script = "echo 'fatal: https://me:CanaryCanary@host/x' >&2; ln -s /etc/passwd $JCT_OUT/passwd; ln -s / $JCT_OUT/root; \
                  echo x >$JCT_OUT/../stranger; echo kept >$JCT_OUT/kept.txt; exit 128";
    let pod = pod.with_script(script);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    let text = pod.trace_text();
    assert!(!text.contains("CanaryCanary") && text.contains("https://[redacted]@host/x"), "{text}");
    assert_eq!(termination.reason, Some(FailureReason::ExecutorFailed));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names[0], "artifacts/kept.txt");
    assert!(!names.iter().any(|name| name.contains("passwd") || name.contains("root") || name.contains("stranger")));
}

#[test]
fn a_second_pod_of_the_attempt_writes_nothing() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let before = pod.trace_text();
    let pod = pod.with_arg("--pod-uid", "another").with_arg("--pod-name", "t-late");
    let termination = pod.source();
    assert_eq!(termination.claimed_by.as_deref(), Some("pod t-pod"));
    assert_eq!(pod.trace_text(), before);
    let pod = pod.with_arg("--pod-uid", "6e1f");
    assert_eq!(pod.run().0.outcome, Outcome::Succeeded, "the first one goes on");
}

#[test]
fn a_cancelled_task_says_so_in_its_trace_and_keeps_what_there_was() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo so far; echo half >$JCT_OUT/half.txt");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    fs::write(pod.trace().join("cancel.json"), "").unwrap();
    let began = std::time::Instant::now();
    let (termination, manifest) = running.terminate();
    assert!(began.elapsed() < Duration::from_secs(10));
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::Cancelled));
    assert_eq!(fs::read_to_string(pod.trace().join("stdout.log")).unwrap(), "so far\n");
    assert_eq!(fs::read_to_string(pod.trace().join("artifacts/half.txt")).unwrap(), "half\n");
}

#[test]
fn a_supervisor_that_is_killed_leaves_a_sealed_trace() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = hanging(&server, 300, "echo so far");
    let running = pod.start_run();
    wait_for(&pod.work().join("home/started"));
    support::signal(&running.supervisor, nix::sys::signal::Signal::SIGKILL);
    let (termination, manifest) = running.end();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::WorkerFailed));
    assert_eq!(fs::read_to_string(pod.trace().join("stdout.log")).unwrap(), "so far\n");
}

#[test]
fn too_many_processes_are_ended() {
    let repository = greeting();
    let server = Server::start(&repository);
    // A true bomb is for a pod, where the supervisor is the first process: here it would be faster than we are.
    let mut many = scripted("for n in $(seq 60); do sleep 600 & done; wait");
    many.limits.max_processes = 40;
    let pod = Pod::new(&server, "main").with_executor(&many);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!(termination.reason, Some(FailureReason::LimitExceeded), "{termination:?}");
}

#[test]
fn the_dead_that_nobody_waits_for_count_no_longer() {
    let repository = greeting();
    let server = Server::start(&repository);
    // Their parents are gone: they are the supervisor's to reap, while the executor goes on.
    let mut many = scripted("for n in $(seq 300); do (true &); done; sleep 1; echo done >\"$JCT_OUT/done\"");
    many.limits.max_processes = 40;
    let pod = Pod::new(&server, "main").with_executor(&many);
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let (termination, manifest) = pod.run();
    pod.verify(&termination, &manifest);
    assert_eq!((termination.outcome, termination.reason), (Outcome::Succeeded, None), "{termination:?}");
}

/// What the image of an executor may set: settings of ours as they were called once, and what libraries read.
const HOSTILE_ENVIRONMENT: [(&str, &str); 12] = [
    ("JCT_PARENT", "1"),
    ("JCT_RECORDER_PATIENCE_SECONDS", "0"),
    ("JCT_SANDBOX_NO_UNIX_SOCKETS", "true"),
    ("JCT_SANDBOX_READS", "/"),
    ("JCT_TMP_DIR", "/"),
    ("JCT_WORK_DIR", "/"),
    ("LD_PRELOAD", "/nowhere.so"),
    ("MIMALLOC_VERBOSE", "1"),
    ("MIMALLOC_SHOW_STATS", "1"),
    ("RUST_LOG", "trace"),
    ("SECRET_OF_THE_NODE", "x"),
    ("TMPDIR", "/nowhere"),
];

#[test]
fn what_an_image_sets_widens_nothing() {
    let repository = greeting();
    let server = Server::start(&repository);
    // Without a list of what may be read, as in a pod: all of the image, and nothing of ours. The control is a file that may be.
    let script = "cat ../in/task.json >$JCT_OUT/task; cat ../private/source.json >$JCT_OUT/source; true";
    let pod = Pod::new(&server, "main").with_script(script).without_arg("--read");
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    let pod = HOSTILE_ENVIRONMENT.iter().fold(pod, |pod, (name, value)| pod.with_env(name, value));
    let running = pod.start_run();
    let mut looks = 0..20_000;
    let environment = loop {
        assert!(looks.next().is_some(), "it does not start anew");
        // Gone once it has started anew.
        let own = fs::read(format!("/proc/{}/cmdline", running.supervisor.id())).unwrap();
        if String::from_utf8_lossy(&own).contains("--path=") {
            break fs::read(format!("/proc/{}/environ", running.supervisor.id()));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    let (termination, _) = running.end();
    assert_eq!(termination.outcome, Outcome::Succeeded, "{termination:?}");
    match environment {
        Ok(left) => assert_eq!(String::from_utf8_lossy(&left), ""),
        Err(error) => assert!(!nix::unistd::geteuid().is_root(), "only others of the user may not look: {error}"),
    }
    let sizes = ["task", "source"].map(|name| fs::metadata(pod.trace().join("artifacts").join(name)).unwrap().len());
    assert!(sizes[0] > 0, "what may be read is read");
    assert_eq!(sizes[1], 0, "what is between our own steps is not");
}

#[test]
fn the_environment_is_made_from_nothing() {
    let repository = greeting();
    let server = Server::start(&repository);
    let pod = Pod::new(&server, "main").with_script("env | cut -d= -f1 | sort");
    let pod = HOSTILE_ENVIRONMENT.iter().fold(pod, |pod, (name, value)| pod.with_env(name, value));
    assert_eq!(pod.source().outcome, Outcome::Succeeded);
    assert_eq!(pod.run().0.outcome, Outcome::Succeeded);
    let shown = fs::read_to_string(pod.trace().join("stdout.log")).unwrap();
    let names: Vec<&str> = shown.lines().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(
        names,
        [
            "HOME",
            "JCT_ATTEMPT",
            "JCT_COMMIT",
            "JCT_OBJECTIVE",
            "JCT_OPERATION",
            "JCT_OUT",
            "JCT_RESULT_FILE",
            "JCT_TARGET_PATH",
            "JCT_TASK_FILE",
            "JCT_TASK_ID",
            "JCT_TASK_NAMESPACE",
            "JCT_TIME_BUDGET_SECONDS",
            "JCT_TRACE_ID",
            "JCT_WORKSPACE",
            "LANG",
            "LC_ALL",
            "PATH",
            "TMPDIR",
            "TZ"
        ]
    );
}
