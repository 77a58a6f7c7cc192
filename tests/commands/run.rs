//! `jct run`: the program itself, as people start it, without a cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use jct::domain::trace::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use serde_json::{Value, json};

use crate::machine::{Machine, environments_with, log_of, manifest_in, outcome, until};

#[test]
fn a_task_takes_the_whole_way() {
    let machine = Machine::new();
    let (code, reported, log) = outcome(machine.command(&json!({})).output().unwrap());
    assert_eq!((code, &reported["status"]), (0, &json!("completed")), "{log}");
    assert!(reported["submitted_by"].as_str().unwrap().starts_with("local:"));
    assert!(log.contains("source_fetched") && log.contains("executor_confined"), "{log}");
    let manifest = manifest_in(&reported);
    assert_eq!(manifest.outcome, Outcome::Succeeded);
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert!(names.contains(&"artifacts/report.md"), "{names:?}");
    machine.check();
    let actions: Vec<Value> = machine.audit().into_iter().filter(|entry| entry["entity_kind"] == "Task").collect();
    assert!(actions.len() >= 4, "{actions:?}");
}

#[test]
fn people_are_told_in_lines() {
    let machine = Machine::new();
    let output = machine.command(&json!({})).args(["-o", "human"]).output().unwrap();
    let reported = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "-o twice: {reported}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
    command.arg("run").arg("-f").arg(machine.manifest(&json!({}))).arg("--repo").arg(machine.path("repo"));
    let output = command.arg("--state").arg(machine.path("state")).output().unwrap();
    let reported = String::from_utf8(output.stdout).unwrap();
    for part in
        ["(analysis of octo/hello) is completed", "summary ", "report.md (", "Check it: jct trace verify --keys"]
    {
        assert!(reported.contains(part), "{part}: {reported}");
    }
}

#[test]
fn a_command_is_an_executor() {
    let machine = Machine::new();
    let script = "printf 'fn main() {}\\n' > main.rs; echo out > \"$JCT_OUT/note.txt\"\n\
                  printf '{\"summary\": \"one file\", \"cost\": {\"usd\": 0.5}}' > \"$JCT_RESULT_FILE\"";
    let (code, reported, log) = machine.run_script(&json!({"operation": "code_change"}), script);
    assert_eq!(code, 0, "{log}");
    let manifest = manifest_in(&reported);
    assert_eq!(manifest.executor, "command");
    assert_eq!(manifest.change.unwrap().files_changed, 1);
    assert_eq!(manifest.result.unwrap().summary.as_deref(), Some("one file"));
    machine.check();
}

#[test]
fn a_configured_executor_runs_without_its_image() {
    let machine = Machine::new();
    let file = machine.path("executors.yaml");
    let yaml = "executors: [{name: lister, operations: [analysis], image: 'registry.example/x:1', command: [ls]}]";
    fs::write(&file, yaml).unwrap();
    let mut command = machine.command(&json!({"executor": "lister"}));
    let (code, reported, log) = outcome(command.arg("--executors").arg(&file).output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("image registry.example/x:1 is not used"), "{log}");
    let manifest = manifest_in(&reported);
    assert_eq!((manifest.executor.as_str(), manifest.image), ("lister", None));
}

#[test]
fn a_failure_is_tried_again_as_often_as_asked_and_told() {
    let machine = Machine::new();
    let (code, reported, log) = machine.run_script(&json!({"maxAttempts": 2}), "echo no >&2; exit 3");
    assert_eq!((code, &reported["error"]["reason"]), (1, &json!("ExecutorFailed")), "{log}");
    assert!(reported["trace_path"].as_str().unwrap().ends_with("/2"));
    machine.check();
}

#[rstest]
#[case::policy(json!({"constraints": {"allowNetwork": true}}), "NETWORK_ACCESS_DENIED")]
#[case::schema(json!({"objective": "x"}), "INVALID_SPEC")]
fn the_gate_refuses_and_the_record_has_it(#[case] fields: Value, #[case] code: &str) {
    let machine = Machine::new();
    let (exit, reported, _) = outcome(machine.command(&fields).output().unwrap());
    assert_eq!((exit, &reported["violations"][0]["code"]), (3, &json!(code)), "{reported}");
    assert!(machine.audit().iter().any(|entry| entry.to_string().contains(code)), "{:?}", machine.audit());
    machine.check();
}

#[test]
fn the_installations_prefixes_count_where_they_are_given() {
    let machine = Machine::new();
    let mut command = machine.command(&json!({}));
    let (exit, reported, _) = outcome(command.args(["--allowed-repo-prefixes", "other/"]).output().unwrap());
    assert_eq!((exit, &reported["violations"][0]["code"]), (3, &json!("REPO_NOT_ALLOWED")));
}

#[test]
fn the_same_key_is_the_same_task() {
    let machine = Machine::new();
    let fields = json!({"idempotencyKey": "once"});
    let (_, first, _) = outcome(machine.command(&fields).output().unwrap());
    let (code, second, log) = outcome(machine.command(&fields).output().unwrap());
    assert_eq!((code, &second["id"]), (0, &first["id"]), "{log}");
    assert!(log.contains("nothing is run"), "{log}");
    assert_eq!(machine.trace().file_name().unwrap(), "1");
}

#[test]
fn several_at_once_share_a_record() {
    let machine = Machine::new();
    let mut commands: Vec<Command> = (0..4).map(|_| machine.command(&json!({}))).collect();
    let children: Vec<Child> = commands.iter_mut().map(|command| command.spawn().unwrap()).collect();
    for child in children {
        let (code, _, log) = outcome(child.wait_with_output().unwrap());
        assert_eq!(code, 0, "{log}");
    }
    machine.check();
}

#[test]
fn an_executor_finds_no_way_to_the_machine_of_its_user() {
    let machine = Machine::new();
    let secret = machine.path("secret");
    fs::write(&secret, "mine").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(machine.path("state")).unwrap();
    let socket = machine.path("server");
    let _server = UnixListener::bind(&socket).unwrap();
    let mut other = Command::new("sleep").arg("600").env("HAS", "an environment").spawn().unwrap();
    let script = format!(
        "tried read cat {secret}
         tried list sh -c 'ls {state} | grep -q signing.key'
         tried create touch {secret}.new
         tried overwrite sh -c 'echo theirs >{secret}.changed'
         tried environ grep -q environment /proc/{id}/environ
         tried signal kill -0 {id}
         tried see test -d /proc/{id}/fd
         tried unix /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{socket}\")'
         tried network /usr/bin/python3 -c 'import socket; socket.socket()'",
        secret = secret.display(),
        state = machine.path("state").display(),
        socket = socket.display(),
        id = other.id(),
    );
    let confined = machine.tries(&script, &[]);
    let left = [".new", ".changed"].map(|end| machine.path(&format!("secret{end}")).exists());
    let free = machine.tries_unconfined(&script);
    assert!(free.len() == 9 && free.values().all(|got| *got), "the user cannot do it either: {free:?}");
    assert_eq!(left, [false, false], "what it makes is not on the machine");
    // Where it finds /tmp, its own is: there it may write.
    let own = ["create", "overwrite"];
    let got: Vec<_> = confined.iter().filter(|(name, got)| **got && !own.contains(&name.as_str())).collect();
    assert!(confined.len() == 9 && got.is_empty(), "{confined:?}");
    // What makes these tries works in there.
    let usual =
        "tried python /usr/bin/python3 -c 'import socket'; tried see test -d /proc/$$/fd; tried signal kill -0 $$";
    assert!(machine.tries(usual, &[]).values().all(|got| *got));
    // What is given is there.
    let given =
        machine.tries(&format!("tried read grep -q mine {}", secret.display()), &["--read", secret.to_str().unwrap()]);
    assert!(given["read"]);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[rstest]
#[case::no_file(&["-f", "/nonexistent"], "cannot read /nonexistent")]
#[case::no_repository(&["--repo", "/usr"], "--repo /usr: this folder is no git repository")]
#[case::no_folder(&["--repo", "/nonexistent"], "no such folder, and no URL")]
#[case::no_executors(&["--executors", "/nonexistent"], "--executors /nonexistent")]
#[case::no_read(&["--read", "/nonexistent"], "--read /nonexistent")]
#[case::no_state(&["--state", "/proc/nonexistent"], "--state /proc/nonexistent")]
#[case::namespace(&["--namespace", "A b"], "metadata.namespace")]
#[case::scheme(&["--repo", "ssh://git.example/octo/hello"], "a URL must begin with one of https, http, git, file")]
fn what_cannot_be_run_names_the_argument(#[case] args: &[&str], #[case] message: &str) {
    let machine = Machine::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
    command.arg("run");
    let defaults =
        [("-f", machine.manifest(&json!({}))), ("--repo", machine.path("repo")), ("--state", machine.path("state"))];
    for (name, value) in defaults.iter().filter(|(name, _)| *name != args[0]) {
        command.arg(name).arg(value);
    }
    let output = command.args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains(message), "{output:?}");
    assert!(said.matches("os error").count() <= 1, "{said}");
}

#[rstest]
#[case::blank("a b")]
#[case::escapes("100%41")]
#[case::odd("#?&,'\"")]
fn a_repository_may_be_in_a_folder_of_any_name(#[case] name: &str) {
    let machine = Machine::new();
    fs::create_dir(machine.path("in")).unwrap();
    let folder = machine.path("in").join(name);
    fs::rename(machine.path("repo"), &folder).unwrap();
    std::os::unix::fs::symlink(&folder, machine.path("repo")).unwrap();
    let (code, reported, log) = outcome(machine.command(&json!({})).output().unwrap());
    assert_eq!(code, 0, "{reported} {log}");
}

#[test]
fn a_folder_that_nothing_can_be_fetched_from_is_refused_at_once() {
    let machine = Machine::new();
    fs::write(machine.path("repo/.git/shallow"), "").unwrap();
    let output = machine.command(&json!({})).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("git fetch --unshallow"), "{output:?}");
    let mut command = machine.command(&json!({}));
    let output = command.env("PATH", machine.path("nothing")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("git is not on the PATH"), "{output:?}");
    assert!(!machine.path("state").exists(), "nothing is recorded of what cannot be run");
}

#[test]
fn a_password_is_for_the_environment_and_nobody_else_learns_it() {
    let machine = Machine::new();
    let url = format!("file://me:hunter22@{}", machine.path("repo").display());
    let run = |script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
        command.arg("run").arg("-f").arg(machine.manifest(&json!({}))).arg("--state").arg(machine.path("state"));
        command.args(["-o", "json"]).env("JCT_REPO", &url).arg("--").arg(machine.script(script));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        until("the executor", || log_of(&machine).contains("begun"));
        assert_eq!(environments_with("hunter22"), [0; 0], "while the executor runs");
        child.wait_with_output().unwrap()
    };
    let look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >\"$JCT_OUT/seen\" 2>/dev/null; env >>\"$JCT_OUT/seen\"";
    let (code, reported, log) = outcome(run(&format!("{look}; echo begun; sleep 2")));
    assert_eq!(code, 0, "{log}");
    // An artifact is what it was: nothing in it is redacted.
    let seen = fs::read(machine.trace().join("artifacts/seen")).unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("JCT_OBJECTIVE") && !seen.contains("hunter22"), "{log}");
    assert!(!format!("{reported}{log}").contains("hunter22"), "{log}");
    for file in ["manifest.json", "provenance.dsse.json", "events.jsonl", "task.json"] {
        assert!(!fs::read_to_string(machine.trace().join(file)).unwrap().contains("hunter22"), "{file}");
    }
    // Whoever keeps it is found.
    let mut keeps = Command::new("sleep").arg("600").env("JCT_REPO", &url).spawn().unwrap();
    until("the environment", || environments_with("hunter22") == [keeps.id()]);
    keeps.kill().unwrap();
    keeps.wait().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_jct"))
        .args(["run", "-f", "task.yaml", "--repo", &url])
        .current_dir(machine.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("JCT_REPO") && !said.contains("hunter22"), "{output:?}");
}

#[rstest]
#[case::above("")]
#[case::itself("state")]
#[case::inside("state/traces")]
fn record_and_key_are_not_for_executors(#[case] path: &str) {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("state/traces")).unwrap();
    let output = machine.command(&json!({})).arg("--read").arg(machine.path(path)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("record and signing key"), "{output:?}");
}

#[rstest]
#[case::escapes(json!({"name": "a\u{1b}[31m\0"}), "metadata.name")]
#[case::path(json!({"name": "../../../etc"}), "metadata.name")]
#[case::prefix(json!({"generateName": "A_"}), "metadata.generateName")]
fn a_name_is_one_that_kubernetes_would_take(#[case] metadata: Value, #[case] field: &str) {
    let machine = Machine::new();
    let path = machine.manifest(&json!({}));
    let mut task: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    task["metadata"] = metadata;
    fs::write(&path, task.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
    command.arg("run").arg("-f").arg(path).arg("--repo").arg(machine.path("repo"));
    let output = command.arg("--state").arg(machine.path("state")).output().unwrap();
    let reported = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(3) && reported.contains(field), "{reported}");
    assert!(!reported.contains(['\u{1b}', '\0']), "{reported:?}");
}

#[test]
fn a_key_of_a_task_that_another_process_runs_is_told_so() {
    let machine = Machine::new();
    let script = machine.script("echo begun; sleep 60");
    let fields = json!({"idempotencyKey": "once"});
    let child = machine.command(&fields).arg("--").arg(script).spawn().unwrap();
    until("the executor", || log_of(&machine).contains("begun"));
    let (code, reported, log) = outcome(machine.command(&fields).output().unwrap());
    assert_eq!((code, &reported["status"]), (2, &json!("running")), "{log}");
    assert!(log.contains("another process is at it"), "{log}");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(outcome(child.wait_with_output().unwrap()).0, 130);
    assert_eq!(fs::read_dir(machine.path("state/running")).unwrap().count(), 0);
    machine.check();
}

#[rstest]
#[case::none("kind: Pod", "holds no Task")]
#[case::two("{T}\n---\n{T}", "holds 2 Tasks; give one at a time")]
#[case::no_yaml("a: [", "document 1")]
fn a_file_holds_one_task(#[case] text: &str, #[case] message: &str) {
    let machine = Machine::new();
    let task = fs::read_to_string(machine.manifest(&json!({}))).unwrap();
    fs::write(machine.path("task.yaml"), text.replace("{T}", &task)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
    command.arg("run").arg("-f").arg(machine.path("task.yaml")).arg("--repo").arg(machine.path("repo"));
    let output = command.arg("--state").arg(machine.path("state")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains(message), "{output:?}");
}

#[test]
fn a_folder_too_deep_for_a_socket_is_refused_at_once() {
    let machine = Machine::new();
    let deep = machine.path(&"d".repeat(90));
    let mut command = Command::new(env!("CARGO_BIN_EXE_jct"));
    command.arg("run").arg("-f").arg(machine.manifest(&json!({}))).arg("--repo").arg(machine.path("repo"));
    let output = command.arg("--state").arg(deep).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("too long for a socket"), "{output:?}");
}
