//! An executor that tries to escape (`tests/hostile`): every try is refused or contained, and the record says so.
//! docs/executors.md has the table of what stops each.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    RELEASE_NAMESPACE, Task, Trace, World, condition, kubectl, no_operator_restarted, reason, run, setting, task,
    until, verified,
};
use k8s_openapi::api::core::v1::Pod;

#[path = "escapes_limits.rs"]
mod limits;

/// An attempt that has ended.
struct Attempt {
    world: World,
    task: Task,
    pod: Pod,
    trace: Trace,
}

impl Attempt {
    /// Lets an executor try `escapes`, until the Task ends as `phase`. Whatever they were: the trace holds against the status
    /// and its signature, nothing of the pod runs any more, and the operator is well.
    async fn ended(phase: &str, executor: &str, escapes: &[&str]) -> Self {
        Self::ended_with(phase, executor, json!({"escapes": escapes})).await
    }

    /// The same, with evidence of what it got: an artifact, in which nothing is redacted.
    async fn with_evidence(escapes: &[&str]) -> Self {
        Self::ended_with("Completed", "hostile", json!({"escapes": escapes, "evidence": true})).await
    }

    async fn ended_with(phase: &str, executor: &str, inputs: Value) -> Self {
        let world = World::shared("escapes").await;
        world.create(task("hostile", json!({"executor": executor, "inputs": inputs}))).await;
        Self::of(world, phase).await
    }

    async fn of(world: World, phase: &str) -> Self {
        let task = world.wait_for("hostile", phase).await;
        assert_eq!(condition(&task, "TraceCaptured"), ("True".into(), "DigestsMatch".into()), "{:?}", task.status);
        let pods = world.pods_of(&task).await;
        let [pod] = pods.as_slice() else { panic!("{} pods", pods.len()) };
        let trace = Trace::of(&world, &task).await;
        trace.check(&task).unwrap();
        let verified = verified(&trace).await;
        assert!(verified.is_ok(), "{verified:?}");
        let attempt = Self { pod: pod.clone(), task, trace, world };
        until("all processes of the pod to be gone", async || match attempt.processes().as_slice() {
            [] => Ok(()),
            left => Err(format!("{left:?}")),
        })
        .await;
        no_operator_restarted(&attempt.world).await;
        attempt
    }

    /// Fails unless it ended for `wanted`, in the status and in the trace.
    fn reason(&self, wanted: &str) -> &Self {
        assert_eq!(reason(&self.task), wanted, "{:?}", self.task.status);
        let manifest = self.trace.json("manifest.json");
        assert_eq!((&manifest["outcome"], &manifest["reason"]), (&json!("failed"), &json!(wanted)));
        self
    }

    /// Fails unless `wanted` is in the message.
    fn reported(&self, wanted: &str) -> &Self {
        let message = self.task.status.as_ref().unwrap().message.clone().unwrap_or_default();
        assert!(message.contains(wanted), "{message}");
        self
    }

    /// What it tried, and what it got, as it left it. The log has the same, but for what was redacted.
    fn tries(&self) -> BTreeMap<String, String> {
        let evidence = self.trace.text("artifacts/tries");
        assert!(!evidence.contains("[redacted]"), "{evidence}");
        let lines = self.trace.text("stdout.log").lines().count();
        assert_eq!(evidence.lines().count(), lines, "the log tells of as many");
        let tries = evidence.lines().filter_map(|line| line.rsplit_once(": "));
        tries.map(|(what, got)| (what.to_owned(), got.to_owned())).collect()
    }

    /// The fields of the one event of this name.
    fn event(&self, name: &str) -> Value {
        let events: Vec<Value> = self.events().filter(|event| event["event"] == name).collect();
        let [event] = events.as_slice() else { panic!("{} events {name}", events.len()) };
        event.clone()
    }

    fn events(&self) -> impl Iterator<Item = Value> {
        let text = self.trace.text("events.jsonl");
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.into_iter()
    }

    /// Names of the artifacts, as the manifest has them.
    fn artifacts(&self) -> Vec<String> {
        let manifest = self.trace.json("manifest.json");
        let paths = manifest["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned());
        paths.filter_map(|path| path.strip_prefix("artifacts/").map(str::to_owned)).collect()
    }

    fn pod_uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap()
    }

    /// The processes on the node that are in a cgroup of the pod.
    fn processes(&self) -> Vec<String> {
        let of_pod = |id: &String| {
            fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|groups| groups.contains(self.pod_uid()))
        };
        let ids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).filter(of_pod).collect()
    }

    /// What the pod had on the node's disk has to be gone, with the pod itself still there.
    async fn gives_disk_back(&self) {
        let pod = PathBuf::from(setting("JCT_E2E_STATE")).join("kubelet/pods").join(self.pod_uid());
        assert!(pod.exists(), "{}", pod.display());
        until("the pod's volumes to be gone", async || {
            let volumes = fs::read_dir(pod.join("volumes/kubernetes.io~empty-dir")).into_iter().flatten().flatten();
            let left: Vec<_> = volumes.map(|volume| volume.file_name()).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

/// What each of [`what_needs_a_right_is_refused`]'s tries gets.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "EPERM",
        &[
            // Sockets of all kinds but local ones.
            "socket AF_INET",
            "socket AF_INET datagrams",
            "socket AF_INET raw",
            "socket AF_INET6",
            "socket AF_NETLINK",
            "socket AF_VSOCK",
            "socket AF_PACKET",
            "socket AF_ALG",
            "socket AF_BLUETOOTH",
            "socketpair AF_INET",
            // The supervisor, and others of its user.
            "process_vm_readv",
            "process_vm_writev",
            "ptrace attach",
            "ptrace seize",
            "ptrace of itself",
            "kcmp",
            "pidfd_open",
            "pidfd_getfd",
            "kill the supervisor",
            "stop the supervisor",
            "end the supervisor",
            "kill the parent",
            "kill everybody",
            "kill a thread of the supervisor",
            "tkill",
            "tgkill",
            "rt_sigqueueinfo",
            "setpriority of the supervisor",
            "setpriority of the user",
            "ioprio_set of the supervisor",
            "ioprio_set of the user",
            "sched_setaffinity",
            "sched_setscheduler",
            "prlimit",
            "join the supervisor's group",
            "hide from others of the user",
            // Privileges.
            "setuid 0",
            "setgid 0",
            "setresuid 0",
            "setgroups",
            "capset",
            "chroot",
            "give it to root",
            // Files by other ways than their paths.
            "name_to_handle_at",
            "open_by_handle_at",
            "chmod /work",
            // Clocks.
            "clock_settime",
            "settimeofday",
            "adjtimex",
            "clock_adjtime",
            "unshare of time",
            // The kernel.
            "mount",
            "umount",
            "move_mount",
            "open_tree",
            "fsopen",
            "mount_setattr",
            "pivot_root",
            "setns",
            "unshare of users",
            "unshare of mounts",
            "unshare of the network",
            "unshare of processes",
            "clone of users",
            "bpf",
            "perf_event_open",
            "keyctl",
            "add_key",
            "request_key",
            "io_uring_setup",
            "userfaultfd",
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "syslog",
            "acct",
            "swapon",
            "quotactl",
            "fanotify_init",
            "sethostname",
            "type into a terminal",
            "reboot",
        ],
    ),
    (
        "EACCES",
        &[
            "/proc/1/environ",
            "/proc/1/mem",
            "/proc/1/maps",
            "/proc/1/fd",
            "/proc/1/fdinfo/0",
            "/proc/1/io",
            "/proc/1/stack",
            "/proc/1/syscall",
            "/proc/1/auxv",
            "/proc/1/root/etc",
            "/proc/1/cwd/.",
            "/proc/1/exe",
            "write /proc/1/oom_score_adj",
            "write /proc/1/mem",
            "write /proc/self/oom_score_adj",
            "list /work/private",
            "read /work/private/source.json",
            "write /work/stranger",
            "write /dev/termination-log",
            "write /dev/shm/stranger",
            "rename /work/out",
            "mknod of a device",
            "mknod of a character device",
            "open /dev/ptmx",
        ],
    ),
    (
        "EROFS",
        &[
            "write /stranger",
            "write /hostile",
            "write /jct/jct",
            "write /jct/stranger",
            "write /etc/resolv.conf",
            "write /proc/sys/kernel/core_pattern",
            "chmod /jct/jct",
            "touch /jct/jct",
            "chmod /work/in/task.json",
            "touch /work/in/task.json",
            "chmod /work/repo.git",
            "touch /work/repo.git",
            "chmod /work/private",
            "touch /work/private",
        ],
    ),
    ("ENOENT", &["connect /work/private/door", "list /trace", "find a mount of the trace volume", "find a manifest"]),
    ("ENOSYS", &["clone3", "socket AF_INET by x32"]),
    ("EHOSTUNREACH", &["resolve a name"]),
    ("ECONNREFUSED", &["connect to any socket that there is"]),
    ("EINVAL", &["give up no_new_privs"]),
    ("EXDEV", &["link out of /work/in", "link out of /etc"]),
];

#[tokio::test]
async fn what_needs_a_right_is_refused() {
    let escapes =
        ["network", "unix sockets", "supervisor", "files", "trace", "privileges", "signals", "clocks", "kernel"];
    let attempt = Attempt::with_evidence(&escapes).await;
    let tries = attempt.tries();
    for (error, refused) in REFUSED {
        for what in *refused {
            assert_eq!(tries.get(*what).map(String::as_str), Some(*error), "{what}");
        }
    }
    // Its own file, and the time of a folder in which anybody in the pod may make one: no harm.
    let harmless = [
        "connect to a socket of its own", // The controls of the looks that find nothing.
        "copy itself",
        "find a mount of the work volume",
        "find the Task",
        "touch /work",
    ];
    let got: Vec<_> = tries.iter().filter(|(_, got)| *got == "SUCCEEDED").map(|(what, _)| what.as_str()).collect();
    assert_eq!(got, harmless);
    assert_eq!((tries["NoNewPrivs"].as_str(), tries["Seccomp"].as_str()), ("1", "2"));
    assert!(["CapEff", "CapBnd", "CapAmb"].iter().all(|set| tries[*set] == "0000000000000000"), "{tries:?}");
    let confined = attempt.event("executor_confined");
    assert_eq!((&confined["fields"]["seccomp"], &confined["fields"]["missing"]), (&json!(true), &json!([])));
}

/// What takes the id of a thread or process: the supervisor's other threads have ids of their own.
#[tokio::test]
async fn no_thread_of_the_supervisor_is_reached() {
    let attempt = Attempt::with_evidence(&["threads", "owners", "left behind", "newer calls"]).await;
    let tries = attempt.tries();
    let got = |what: &str| tries.get(what).map(String::as_str);
    assert_eq!(got("threads of the supervisor"), Some("2"), "there is more than one to reach");
    assert_eq!(got("the supervisor is as it was"), Some("true"), "{tries:?}");
    let reaches = [
        "limit of files",
        "sched_setaffinity",
        "sched_setscheduler",
        "sched_setattr",
        "sched_setparam",
        "setpriority",
        "ioprio_set",
        "get_robust_list",
    ];
    for reach in reaches {
        assert_eq!(got(&format!("{reach} of itself")), Some("SUCCEEDED"), "{reach}: programs need it");
        for thread in ["thread 0", "thread 1"] {
            assert_eq!(got(&format!("{reach} of {thread}")), Some("EPERM"), "{reach} of {thread}");
        }
    }
    // Container runtimes refuse this one even of oneself, by their own default filter.
    for whom in ["itself", "thread 0", "thread 1"] {
        assert_eq!(got(&format!("move_pages of {whom}")), Some("EPERM"), "{whom}");
    }
    assert_eq!(got("read limits of the supervisor"), Some("SUCCEEDED"));
    for thread in ["thread 0", "thread 1"] {
        for way in ["kill", "tkill", "tgkill", "rt_sigqueueinfo", "pidfd_open", "no files for", "no time for"] {
            assert_eq!(got(&format!("{way} {thread}")), Some("EPERM"), "{way} {thread}");
        }
        assert_eq!(got(&format!("own a descriptor as {thread}")), Some("EPERM"));
        assert_eq!(got(&format!("priority of {thread}")), Some("0"));
    }
    for what in [
        "own a descriptor as the supervisor's group",
        "own a descriptor by a thread",
        "FIOSETOWN",
        "SIOCSPGRP",
        "signal by a folder of /proc",
        "shmget",
        "semget",
        "msgget",
        "mq_open",
        "memfd_secret",
        "process_mrelease",
        "migrate_pages",
        "share a core",
        "descriptors of its own",
        "descriptors of its own by closing",
        "open_tree_attr",
        "file_setattr",
    ] {
        assert_eq!(got(what), Some("EPERM"), "{what}");
    }
    for what in ["own a descriptor", "close descriptors"] {
        assert_eq!(got(what), Some("SUCCEEDED"), "{what}");
    }
    for number in [470, 471, 500, 1000] {
        assert_eq!(got(&format!("call {number}")), Some("ENOSYS"), "{number}");
    }
}

/// Its image sets variables, names a signal and has links that would open what is ours: tests/e2e.sh makes it so.
#[tokio::test]
async fn an_image_widens_nothing() {
    let attempt = Attempt::with_evidence(&["image", "descriptors"]).await;
    let tries = attempt.tries();
    let got = |what: &str| tries.get(what).map(String::as_str);
    assert_eq!(got("PATH"), Some("/of/the/image"), "what the image sets has come as far as the supervisor");
    let variables = got("variables").unwrap();
    for name in ["JCT_SANDBOX_READS", "JCT_PARENT", "LD_PRELOAD", "RUST_LOG", "MIMALLOC_VERBOSE"] {
        assert!(!variables.split(' ').any(|variable| variable == name), "{name}: {variables}");
    }
    assert_eq!(got("read the Task by a link of the image"), Some("SUCCEEDED"), "the links are there");
    for what in [
        "read what is ours by a link of the image",
        "list what is ours by a link of the image",
        "read what is ours by a link to the root",
    ] {
        assert_eq!(got(what), Some("EACCES"), "{what}");
    }
    assert_eq!(got("descriptors"), Some("[0, 1, 2]"));
    assert_eq!(got("descriptors and one more"), Some("[0, 1, 2, 3]"), "one that is open is seen");
}

/// The image names SIGUSR1, which the supervisor does not know: it is told to end all the same.
#[tokio::test]
async fn a_cancellation_reaches_whatever_signal_the_image_names() {
    let world = World::shared("escapes").await;
    world.create(task("hostile", json!({"executor": "hostile", "inputs": {"escapes": ["stubborn"]}}))).await;
    let task = world.wait_for("hostile", "Running").await;
    until("the executor to run", async || {
        let pods = world.pods_of(&task).await;
        let name = pods.first().and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
        // Its containers may not have begun: then there is no log yet.
        let log = run("kubectl", &["logs", "--namespace", RELEASE_NAMESPACE, &name], "").await?;
        if log.contains("minds nothing") { Ok(()) } else { Err(log) }
    })
    .await;
    world.set("hostile", "cancel", true).await;
    let attempt = Attempt::of(world, "Cancelled").await;
    assert_eq!(attempt.event("executor_ended")["fields"]["end"], "interrupted");
}

#[tokio::test]
async fn outputs_are_regular_files_under_plain_names() {
    let attempt = Attempt::ended("Completed", "hostile", &["links", "special files", "names", "times"]).await;
    let refused = attempt.event("artifacts_refused");
    let deep = format!("deep{}", "/d".repeat(31));
    let names = [
        &deep,
        "fifo",
        "hard-link",
        "socket",
        "symlink-dangling",
        "symlink-environ",
        "symlink-etc",
        "symlink-folder",
        "symlink-itself",
        "symlink-supervisor",
        "symlink-trace",
        "unreadable",
    ];
    assert_eq!(refused["fields"], json!({"count": names.len(), "names": names}));
    assert_eq!(attempt.event("artifacts_renamed")["fields"]["count"], 8);
    let artifacts = attempt.artifacts();
    for name in ["%1B[2Jclear", "%E2%80%AEgnp.exe", "%FF%FE", "new%0Aline", "..;", "..%2f..%2fetc", "-rf"] {
        assert!(artifacts.iter().any(|artifact| artifact == name), "{name}: {artifacts:?}");
    }
    assert!(artifacts.iter().all(|name| !name.contains('/') && !name.chars().any(char::is_control)), "{artifacts:?}");
    assert!(artifacts.iter().any(|name| *name == "x".repeat(255)), "{artifacts:?}");
    for name in ["from-1970", "from-2100", "from-2400"] {
        let file = fs::metadata(attempt.trace.folder.join("artifacts").join(name)).unwrap();
        let age = file.modified().unwrap().elapsed().unwrap();
        assert!(age < Duration::from_secs(600), "{name} has the time of the executor: {age:?}");
    }
}

#[tokio::test]
async fn what_an_executor_forges_is_its_own_output() {
    let attempt = Attempt::ended("Failed", "hostile", &["forgeries"]).await;
    attempt.reason("ExecutorFailed").reported("all is well");
    let manifest = attempt.trace.json("manifest.json");
    assert_eq!(manifest["exit_code"], 3, "a frame on standard output is output");
    assert_eq!(manifest["result"]["cost"], json!({}), "a cost below nothing is none");
    assert_eq!(attempt.event("executor_ended")["fields"]["end"], json!({"exited": 3}));
    let claim = attempt.trace.json("claim.json");
    assert_eq!(claim["pod_uid"], attempt.pod_uid());
    let forged =
        ["cancel", "claim", "incomplete", "manifest", "provenance.dsse", "result"].map(|name| format!("{name}.json"));
    let mut artifacts = attempt.artifacts();
    artifacts.retain(|name| name != "events.jsonl");
    assert_eq!(artifacts, forged);
    assert!(
        !attempt.trace.folder.join("incomplete.json").exists() && !attempt.trace.folder.join("cancel.json").exists()
    );
}

#[tokio::test]
async fn what_it_prints_rules_no_terminal_and_tells_no_secret() {
    let attempt = Attempt::ended("Completed", "hostile", &["terminal"]).await;
    let name = attempt.pod.metadata.name.as_deref().unwrap();
    let followed = kubectl(&["logs", "--namespace", RELEASE_NAMESPACE, name]).await;
    for (what, text) in [("kubectl logs", followed), ("trace.log", attempt.trace.text("trace.log"))] {
        let odd = text.chars().find(|c| *c != '\n' && (c.is_control() || *c == '\u{202e}'));
        assert_eq!(odd, None, "{what}: {text:?}");
        assert!(text.contains("[redacted]") && !text.contains("CanaryCanary"), "{what}: {text:?}");
    }
    let stdout = attempt.trace.text("stdout.log");
    assert!(stdout.starts_with("\u{1b}]0;owned\u{7}"), "the log has what was printed");
    assert!(!stdout.contains("CanaryCanary") && !attempt.trace.text("stderr.log").contains("CanaryCanary"));
}
