//! A machine for `jct run`: what its user has on it, and what the tests ask of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jct::domain::trace::Manifest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A machine with a repository, a folder for the state, and manifests.
pub struct Machine {
    pub dir: TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.path("repo")).unwrap();
        fs::write(machine.path("repo/README.md"), "# Hello\n").unwrap();
        machine.git("repo", &["init", "-q", "-b", "main", "."]);
        machine.commit("Begin");
        machine
    }

    /// What git prints in a folder of the machine.
    pub fn git(&self, folder: &str, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]).args(args);
        git.current_dir(self.path(folder)).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = git.output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commits all that is in the repository's folder, ignored or not.
    pub fn commit(&self, message: &str) {
        self.git("repo", &["add", "-A", "-f"]);
        self.git("repo", &["commit", "-q", "-m", message]);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A manifest whose spec has these fields besides what every one needs.
    pub fn manifest(&self, fields: &Value) -> PathBuf {
        let mut spec = json!({
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
            "target": {"repo": "octo/hello"},
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let object = json!({"apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "look"}, "spec": spec});
        let path = self.path("task.yaml");
        fs::write(&path, object.to_string()).unwrap();
        path
    }

    /// `jct run` with these fields in its spec.
    pub fn command(&self, fields: &Value) -> Command {
        self.command_on(self.path("repo").to_str().unwrap(), fields)
    }

    /// The same on another repository.
    pub fn command_on(&self, repo: &str, fields: &Value) -> Command {
        let mut command = jct();
        command.arg("run").arg("-f").arg(self.manifest(fields)).arg("--repo").arg(repo);
        command.arg("--state").arg(self.path("state")).args(["-o", "json"]);
        for name in ["JCT_ALLOWED_REPO_PREFIXES", "JCT_EXECUTORS_FILE", "JCT_MODELS_FILE", "JCT_STATE", "JCT_REPO"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A script that does the work.
    pub fn script(&self, text: &str) -> PathBuf {
        let path = self.path("agent.sh");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn run_script(&self, fields: &Value, script: &str) -> (i32, Value, String) {
        let script = self.script(script);
        outcome(self.command(fields).arg("--").arg(script).output().unwrap())
    }

    pub fn start_script(&self, script: &str) -> Child {
        let script = self.script(script);
        self.command(&json!({})).arg("--").arg(script).spawn().unwrap()
    }

    /// The one trace that there is.
    pub fn trace(&self) -> PathBuf {
        let mut path = self.path("state/traces/default");
        for _ in 0..2 {
            let entries: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(entries.len(), 1, "{entries:?}");
            path = entries.into_iter().next().unwrap();
        }
        path
    }

    /// The commands for people find nothing wrong with what is there.
    pub fn check(&self) {
        let jct = |args: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_jct")).args(args).output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let (keys, traces) = (self.path("state/keys.json"), self.path("state/traces"));
        if fs::read_dir(&traces).unwrap().next().is_some() {
            jct(&["trace", "verify", "--keys", keys.to_str().unwrap(), traces.to_str().unwrap()]);
        }
        let record = format!("sqlite://{}", self.path("state/record.db").display());
        let traced = fs::read_dir(&traces).unwrap().next().is_some();
        let statements = traces.to_str().unwrap();
        let verified = jct(&["audit", "--verify", "--offline", "--statements", statements, "--database-url", &record]);
        assert!(!traced || verified.contains("anchored by the checkpoint of"), "{verified}");
        assert!(!traced || !verified.contains(": 0 checkpoints"), "each statement names one: {verified}");
        assert!(!verified.contains("NOT BELIEVED"), "{verified}");
        jct(&["db", "check", "--database-url", &record]);
        assert_eq!(fs::read_dir(self.path("state/work")).unwrap().count(), 0, "work is left behind");
    }

    /// What the audit log says of actions on Tasks.
    pub fn audit(&self) -> Vec<Value> {
        let record = format!("sqlite://{}", self.path("state/record.db").display());
        let output = Command::new(env!("CARGO_BIN_EXE_jct"))
            .args(["audit", "--database-url", &record, "-o", "json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The program, minding all signals, whoever started these tests: nohup and shells in the background have some ignored.
pub fn jct() -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(env!("CARGO_BIN_EXE_jct"));
    command
}

pub fn outcome(output: Output) -> (i32, Value, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains('\u{1b}'), "colours where nobody watches: {said}");
    let reported = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), reported, said)
}

pub fn manifest_in(reported: &Value) -> Manifest {
    let path = PathBuf::from(reported["trace_folder"].as_str().unwrap()).join("manifest.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Begins a script that tries things. `tried NAME COMMAND…` notes in a file, which nobody redacts, whether the command succeeds.
const TRIES: &str = "tried() { name=$1; shift; if \"$@\" >/dev/null 2>&1; then got=got; else got=refused; fi
  echo \"$name $got\" >>\"$JCT_OUT/tries\"; }";

/// What a script got: by the names that it gives to what it tries.
pub type Tries = BTreeMap<String, bool>;

impl Machine {
    /// What an executor gets that tries this, with these arguments to `jct run` besides.
    pub fn tries(&self, script: &str, args: &[&str]) -> Tries {
        let script = self.script(&format!("{TRIES}\n{script}"));
        let (code, reported, log) =
            outcome(self.command(&json!({})).args(args).arg("--").arg(script).output().unwrap());
        assert_eq!(code, 0, "{reported} {log}");
        read_tries(&PathBuf::from(reported["trace_folder"].as_str().unwrap()).join("artifacts/tries"))
    }

    /// What the user gets who tries the same without JCT: shows that the script would notice.
    pub fn tries_unconfined(&self, script: &str) -> Tries {
        let (script, out) = (self.script(&format!("{TRIES}\n{script}")), tempfile::tempdir().unwrap());
        let output = Command::new(script).env("JCT_OUT", out.path()).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        read_tries(&out.path().join("tries"))
    }

    /// An executor is refused all of what the script tries, and the user nothing.
    pub fn refuses(&self, script: &str) {
        let (confined, free) = (self.tries(script, &[]), self.tries_unconfined(script));
        assert!(!free.is_empty() && free.values().all(|got| *got), "the user cannot do it either: {free:?}");
        assert_eq!(confined.keys().collect::<Vec<_>>(), free.keys().collect::<Vec<_>>());
        assert!(confined.values().all(|got| !got), "{confined:?}");
    }
}

fn read_tries(path: &Path) -> Tries {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = |line: &str| line.rsplit_once(' ').map(|(name, got)| (name.to_owned(), got == "got"));
    text.lines().filter_map(line).collect()
}

/// The processes that have this in their command line.
pub fn processes_with(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_it = |id: &i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    };
    entries.filter(has_it).collect()
}

/// What the executor printed so far.
pub fn log_of(machine: &Machine) -> String {
    if !machine.path("state/traces/default").is_dir() {
        return String::new();
    }
    let traces = fs::read_dir(machine.path("state/traces/default")).unwrap();
    let logs = traces.map(|entry| fs::read_to_string(entry.unwrap().path().join("1/stdout.log")));
    logs.filter_map(Result::ok).collect()
}

/// The processes that this user may look into, and that began with this in their environment.
pub fn environments_with(text: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_it = |id: &u32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(text)
    };
    entries.filter(has_it).collect()
}
