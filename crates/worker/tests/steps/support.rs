//! Stand-ins for what a worker has around it: a pod's environment and volumes, a repository, a git server.

#![allow(clippy::unwrap_used, clippy::panic)] // test code that is not in a #[test]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jct_domain::executor::{Builtin, Executor, Executors};
use jct_domain::id::sha256_hex;
use jct_domain::trace::{Event, Expected, Manifest, Outcome, Termination};
use jct_domain::{FailureReason, Id, Task, TraceId};
use serde_json::json;
use tempfile::TempDir;

/// A repository to be fetched from.
pub struct Repository {
    dir: TempDir,
}

impl Repository {
    pub fn new() -> Self {
        let repository = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(repository.path()).unwrap();
        repository.git(&["init", "-q", "-b", "main", "."]);
        repository
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub fn write(&self, name: impl AsRef<OsStr>, text: &str) {
        let path = self.path().join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).trim().into()
    }

    pub fn git(&self, args: &[&str]) -> String {
        self.git_with_input(args, b"")
    }

    pub fn git_with_input(&self, args: &[&str], input: &[u8]) -> String {
        run_git(&self.path(), args, input)
    }
}

pub fn run_git(dir: &Path, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
        .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `git daemon` for one repository, on a free port of the loopback.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    pub fn start(repository: &Repository) -> Self {
        for _ in 0..20 {
            // Another process may take the port in between; then the daemon ends and the next port is tried.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Command::new("git")
                .args(["daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1"])
                .args([format!("--port={port}"), format!("--base-path={}", repository.dir.path().display())])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, url: format!("git://127.0.0.1:{port}/repo") };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("git daemon does not start");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, not SIGKILL: git's wrapper passes it on to the daemon.
        signal(&self.child, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// What each step takes, beside what all do.
const OF_A_STEP: [(&str, &[&str]); 4] = [
    ("source", &["--protocols", "--tools-dir", "--max-files", "--max-bytes", "--timeout-seconds"]),
    ("source", &["--forge", "--credential", "--authorities"]),
    ("run", &["--tmp-dir", "--read", "--no-unix-sockets", "--patience-seconds"]),
    ("source record", &["--task-sha256", "--pod-uid", "--pod-name", "--trace-dir", "--termination-log"]),
];

/// The volumes, arguments and environment of one attempt.
pub struct Pod {
    volumes: TempDir,
    args: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Pod {
    pub fn new(server: &Server, git_ref: &str) -> Self {
        Self::at(&server.url, git_ref)
    }

    pub fn at(url: &str, git_ref: &str) -> Self {
        let volumes = tempfile::tempdir().unwrap();
        let [trace, work, termination] = ["trace", "work", "termination"].map(|name| volumes.path().join(name));
        fs::create_dir(&trace).unwrap();
        fs::create_dir(&work).unwrap();
        let task = json!({
            "version": "1.0",
            "idempotency_key": null,
            "requested_by": {"kind": "human", "id": "ada", "label": null},
            "objective": "Find out what is in there",
            "operation": "analysis",
            "target": {"repo": "octo/repo", "ref": git_ref, "path": ""},
            "constraints": {"time_budget_seconds": 300, "allow_network": false, "allow_secrets": false},
            "inputs": {},
            "metadata": {},
            "acceptance_criteria": [],
            "evidence_requirements": [],
        });
        let args = [
            ("--task-id", task_id().to_string()),
            ("--trace-id", TraceId::derive("uid").to_string()),
            ("--namespace", "team".into()),
            ("--attempt", "1".into()),
            ("--executor", serde_json::to_string(&Executor::builtin(Builtin::Analysis)).unwrap()),
            ("--pod-uid", "6e1f".into()),
            ("--pod-name", "t-pod".into()),
            ("--patience-seconds", "20".into()),
            ("--read", format!("/usr,/bin,/lib,/lib64,/etc,/proc,{}/bin", volumes.path().display())),
            ("--trace-dir", trace.display().to_string()),
            ("--work-dir", work.display().to_string()),
            ("--termination-log", termination.display().to_string()),
            ("--protocols", "https,http,git".into()),
        ];
        let args = args.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let env = BTreeMap::from([("JCT_SOURCE_URL".to_owned(), url.to_owned())]);
        Self { volumes, args, env }.with_task(&serde_json::from_value(task).unwrap())
    }

    /// Another `task.json`, with the digest that goes with it.
    pub fn with_task(self, task: &Task) -> Self {
        let bytes = serde_json::to_vec(task).unwrap();
        fs::write(self.trace().join("task.json"), &bytes).unwrap();
        self.with_arg("--task-sha256", &sha256_hex(&bytes))
    }

    pub fn with_path(self, path: &str) -> Self {
        let mut task = self.task();
        task.target.path = path.into();
        self.with_task(&task)
    }

    pub fn with_arg(mut self, name: &str, value: &str) -> Self {
        self.args.insert(name.into(), value.into());
        self
    }

    pub fn without_arg(mut self, name: &str) -> Self {
        self.args.remove(name);
        self
    }

    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Another executor.
    pub fn with_executor(self, executor: &Executor) -> Self {
        let json = serde_json::to_string(executor).unwrap();
        self.with_arg("--executor", &json)
    }

    /// An executor that is this script.
    pub fn with_script(self, script: &str) -> Self {
        self.with_executor(&scripted(script))
    }

    /// A `git` that is this script, for all that a step starts.
    pub fn with_git(self, script: &str) -> Self {
        let bin = self.volumes.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("git"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        self.with_env("PATH", &path)
    }

    pub fn with_time_budget_seconds(self, seconds: u32) -> Self {
        let mut task = self.task();
        task.constraints.time_budget_seconds = seconds;
        self.with_task(&task)
    }

    pub fn task(&self) -> Task {
        serde_json::from_slice(&fs::read(self.trace().join("task.json")).unwrap()).unwrap()
    }

    pub fn trace(&self) -> PathBuf {
        self.volumes.path().join("trace")
    }

    pub fn work(&self) -> PathBuf {
        self.volumes.path().join("work")
    }

    /// Starts a step of the worker, as a container would.
    pub fn start(&self, step: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_jct-worker"))
            .args(["worker", step])
            .args(self.args.iter().filter(|(name, _)| takes(step, name)).map(|(name, value)| format!("{name}={value}")))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(&self.env)
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The init container.
    pub fn source(&self) -> Termination {
        self.ended(self.start("source"))
    }

    /// The init container, which fails and seals the trace.
    pub fn source_fails(&self, reason: FailureReason, message: &str) {
        let termination = self.source();
        assert_eq!(termination.reason, Some(reason), "{termination:?}");
        assert!(termination.message.as_ref().unwrap().contains(message), "{termination:?}");
        self.verify(&termination, &self.manifest());
    }

    /// The containers of the executor and of the recorder, to their end.
    pub fn run(&self) -> (Termination, Manifest) {
        self.start_run().end()
    }

    /// The same, under way.
    pub fn start_run(&self) -> Running<'_> {
        Running { pod: self, recorder: self.start("record"), supervisor: self.start("run") }
    }

    /// SIGTERM to the init container, as when its pod is deleted.
    pub fn terminate(&self, worker: Child) -> (Termination, Manifest) {
        signal(&worker, nix::sys::signal::Signal::SIGTERM);
        (self.ended(worker), self.manifest())
    }

    fn ended(&self, mut worker: Child) -> Termination {
        let status = worker.wait().unwrap();
        let message = fs::read(self.volumes.path().join("termination")).unwrap();
        assert!(message.len() <= 4096);
        let termination: Termination = serde_json::from_slice(&message).unwrap();
        let code = if termination.outcome == Outcome::Succeeded { 0 } else { 1 };
        assert_eq!(status.code(), Some(code), "{termination:?}");
        termination
    }

    pub fn manifest(&self) -> Manifest {
        serde_json::from_slice(&fs::read(self.trace().join("manifest.json")).unwrap()).unwrap()
    }

    /// Does what the operator does: the manifest is of this attempt, and covers every file with its digest.
    pub fn verify(&self, termination: &Termination, manifest: &Manifest) {
        let trace_id = TraceId::derive("uid");
        let expected = Expected {
            task_id: task_id(),
            trace_id: &trace_id,
            namespace: "team",
            attempt: 1,
            task_sha256: &self.args["--task-sha256"],
        };
        manifest.check(&expected).unwrap();
        assert_eq!((manifest.outcome, manifest.reason), (termination.outcome, termination.reason));
        let bytes = fs::read(self.trace().join("manifest.json")).unwrap();
        assert_eq!(termination.manifest_sha256, Some(sha256_hex(&bytes)));
        for file in &manifest.files {
            let bytes = fs::read(self.trace().join(&file.path)).unwrap();
            assert_eq!((sha256_hex(&bytes), bytes.len() as u64), (file.sha256.clone(), file.size_bytes), "{file:?}");
        }
        let mut covered: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        covered.push("manifest.json");
        covered.sort_unstable();
        assert_eq!(files_below(&self.trace(), ""), covered);
        let mut no_problem = |checked: jct_trace::Checked| assert_eq!(checked.problems, Vec::<String>::new());
        jct_trace::verify(&self.trace(), None, &mut no_problem).unwrap();
    }

    pub fn events(&self) -> Vec<Event> {
        let text = fs::read_to_string(self.trace().join("events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything that the trace says in words.
    pub fn trace_text(&self) -> String {
        let files = files_below(&self.trace(), "");
        files
            .iter()
            .map(|name| String::from_utf8_lossy(&fs::read(self.trace().join(name)).unwrap()).into_owned())
            .collect()
    }

    pub fn report(&self) -> String {
        fs::read_to_string(self.trace().join("artifacts/report.md")).unwrap()
    }

    pub fn report_json(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.trace().join("artifacts/report.json")).unwrap()).unwrap()
    }

    pub fn git_in_checkout(&self, args: &[&str]) -> String {
        run_git(&self.work().join("source"), args, b"")
    }

    pub fn checked_out(&self) -> String {
        self.git_in_checkout(&["rev-parse", "HEAD"]).trim().into()
    }
}

fn takes(step: &str, name: &str) -> bool {
    let mut of = OF_A_STEP.iter().filter(|(_, names)| names.contains(&name));
    of.next().is_none_or(|(steps, _)| steps.split(' ').any(|taker| taker == step))
}

/// The two containers of a pod that run side by side.
pub struct Running<'a> {
    pod: &'a Pod,
    pub recorder: Child,
    pub supervisor: Child,
}

impl Running<'_> {
    /// SIGTERM to both, as when the pod is deleted; their end.
    pub fn terminate(self) -> (Termination, Manifest) {
        signal(&self.recorder, nix::sys::signal::Signal::SIGTERM);
        signal(&self.supervisor, nix::sys::signal::Signal::SIGTERM);
        self.end()
    }

    /// Waits for the end.
    pub fn end(mut self) -> (Termination, Manifest) {
        let termination = self.pod.ended(self.recorder);
        self.supervisor.wait().unwrap();
        (termination, self.pod.manifest())
    }
}

/// An executor that is a script, for every operation.
pub fn scripted(script: &str) -> Executor {
    let yaml = "executors: [{name: scripted, operations: [code_change, docs, analysis, ops], image: any, command: [sh, -c, x]}]";
    let executors = Executors::read(yaml).unwrap();
    let mut executor = executors.iter().find(|executor| executor.name == "scripted").unwrap().clone();
    executor.command[2] = script.into();
    executor
}

pub fn signal(worker: &Child, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(worker.id().try_into().unwrap());
    nix::sys::signal::kill(id, signal).unwrap();
}

fn task_id() -> Id {
    Id::derive("2026-03-01T12:00:00Z".parse().unwrap(), "uid")
}

fn files_below(root: &Path, name: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(name)).unwrap() {
        let entry = entry.unwrap();
        let name = if name.is_empty() { String::new() } else { format!("{name}/") };
        let name = name + entry.file_name().to_str().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(root, &name));
        } else {
            files.push(name);
        }
    }
    files.sort();
    files
}
