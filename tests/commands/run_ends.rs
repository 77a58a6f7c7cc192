//! `jct run`: its ends, by whomever: signals, a terminal that goes, a crash, and what the next run makes up for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use jct::domain::trace::{CANCEL_FILE, Manifest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::machine::{Machine, log_of, manifest_in, outcome, until};

#[test]
fn an_interrupt_cancels_and_seals() {
    let machine = Machine::new();
    let child = machine.start_script("echo begun; sleep 60");
    until("the executor", || log_of(&machine).contains("begun"));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let (code, reported, log) = outcome(child.wait_with_output().unwrap());
    assert_eq!((code, &reported["status"]), (130, &json!("cancelled")), "{log}");
    let manifest = manifest_in(&reported);
    assert_eq!(manifest.reason.unwrap().as_str(), "Cancelled");
    assert_eq!(fs::read_to_string(machine.trace().join("stdout.log")).unwrap(), "begun\n");
    machine.check();
}

#[test]
fn what_is_ignored_at_the_start_stays_ignored_and_a_termination_counts() {
    let machine = Machine::new();
    let mut command = Command::new("/usr/bin/env");
    // As nohup does, and a shell with what it starts in the background.
    command.args(["--ignore-signal=HUP,INT,QUIT", "--default-signal=TERM"]).arg(env!("CARGO_BIN_EXE_jct"));
    let script = "grep SigIgn /proc/self/status >\"$JCT_OUT/ignored\"; echo begun; sleep 60";
    command.args(machine.command(&json!({})).get_args().skip(2)).arg("--").arg(machine.script(script));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the executor", || log_of(&machine).contains("begun"));
    let id = Pid::from_raw(child.id().try_into().unwrap());
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        kill(id, signal).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!machine.trace().join("manifest.json").exists(), "it goes on");
    kill(id, Signal::SIGTERM).unwrap();
    let (code, reported, log) = outcome(child.wait_with_output().unwrap());
    assert_eq!((code, &reported["status"]), (130, &json!("cancelled")), "{log}");
    // The executor has none ignored of these: what nohup means is meant for us.
    let ignored = fs::read_to_string(machine.trace().join("artifacts/ignored")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim().rsplit('\t').next().unwrap(), 16).unwrap();
    let of = |signal: Signal| 1_u64 << (signal as i32 - 1);
    assert_eq!(ignored & (of(Signal::SIGHUP) | of(Signal::SIGINT) | of(Signal::SIGQUIT)), 0, "{ignored:x}");
    machine.check();
}

#[test]
fn a_run_that_is_killed_is_sealed_and_closed_by_the_next() {
    let machine = Machine::new();
    let mut child = machine.start_script("echo begun; (trap '' TERM; sleep 60)");
    until("the executor", || log_of(&machine).contains("begun"));
    let trace = machine.trace();
    child.kill().unwrap();
    child.wait().unwrap();
    until("the trace to be sealed", || trace.join("manifest.json").is_file());
    // The steps have the Task until they end.
    let running = machine.path("state/running");
    until("the steps to end", || {
        let held: Vec<_> = fs::read_dir(&running).unwrap().map(|entry| entry.unwrap().path()).collect();
        held.iter().all(|path| fs::File::open(path).unwrap().try_lock().is_ok())
    });
    let (code, _, log) = outcome(machine.command(&json!({})).output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("1 Tasks of runs that were killed are closed"), "{log}");
    let manifest: Manifest = serde_json::from_slice(&fs::read(trace.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest.reason.unwrap().as_str(), "Evicted");
    assert_eq!(fs::read_dir(&running).unwrap().count(), 0);
    machine.check();
}

#[test]
fn who_stops_reading_changes_nothing() {
    let machine = Machine::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = machine.command(&json!({}));
    let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    machine.check();
}

#[test]
fn a_terminal_that_goes_cancels_and_seals() {
    let machine = Machine::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let script = machine.script("echo begun; sleep 60");
    let mut command = machine.command(&json!({}));
    command.stdout(writer.try_clone().unwrap()).stderr(writer).arg("--").arg(script);
    let mut child = command.spawn().unwrap();
    until("the executor", || log_of(&machine).contains("begun"));
    drop(reader);
    for _ in 0..2 {
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let manifest: Manifest = serde_json::from_slice(&fs::read(machine.trace().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest.reason.unwrap().as_str(), "Cancelled");
    machine.check();
}

#[test]
fn cancelled_twice_is_cancelled() {
    let machine = Machine::new();
    let child = machine.start_script("echo begun; trap '' TERM; sleep 60; sleep 60");
    until("the executor", || log_of(&machine).contains("begun"));
    let id = Pid::from_raw(child.id().try_into().unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    until("the word that it is cancelled", || machine.trace().join(CANCEL_FILE).exists());
    kill(id, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    let running = fs::read_dir(machine.path("state/running")).unwrap().next().unwrap().unwrap().path();
    until("the steps to end", || fs::File::open(&running).unwrap().try_lock().is_ok());
    let (_, _, log) = outcome(machine.command(&json!({})).output().unwrap());
    assert!(log.contains("1 Tasks of runs that were killed are closed"), "{log}");
    let ended = machine.audit().into_iter().filter(|entry| entry["entity_kind"] == "Task");
    assert!(ended.into_iter().any(|entry| entry["after"]["status"] == "cancelled"), "{:?}", machine.audit());
    machine.check();
}

#[test]
fn what_a_run_left_undone_after_its_outcome_is_made_up_for() {
    let machine = Machine::new();
    let (_, reported, _) = outcome(machine.command(&json!({})).output().unwrap());
    let (id, trace) = (reported["id"].as_str().unwrap(), machine.trace());
    // As if it had been killed once the outcome was recorded.
    fs::set_permissions(&trace, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(trace.join("provenance.dsse.json")).unwrap();
    fs::write(machine.path("state/running").join(id), "").unwrap();
    let work = machine.path("state/work").join(format!("{id}-1"));
    fs::create_dir_all(work.join("source/closed/in")).unwrap();
    fs::set_permissions(work.join("source/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let (code, _, log) = outcome(machine.command(&json!({"objective": "Look once more"})).output().unwrap());
    assert_eq!(code, 0, "{log}");
    assert!(trace.join("provenance.dsse.json").is_file());
    assert_eq!(fs::metadata(&trace).unwrap().permissions().mode() & 0o777, 0o555);
    assert_eq!(fs::read_dir(machine.path("state/running")).unwrap().count(), 0);
    machine.check();
}

#[test]
fn what_cannot_be_closed_is_in_nobodys_way() {
    let machine = Machine::new();
    let mut child = machine.start_script("echo begun; sleep 60");
    until("the executor", || log_of(&machine).contains("begun"));
    let trace = machine.trace();
    child.kill().unwrap();
    child.wait().unwrap();
    until("the trace to be sealed", || trace.join("manifest.json").is_file());
    let running = fs::read_dir(machine.path("state/running")).unwrap().next().unwrap().unwrap().path();
    until("the steps to end", || fs::File::open(&running).unwrap().try_lock().is_ok());
    let aside = machine.path("aside");
    fs::rename(&trace, &aside).unwrap();
    fs::write(&trace, "no folder").unwrap();
    let (code, _, log) = outcome(machine.command(&json!({})).output().unwrap());
    assert!(code == 0 && log.contains("the next run tries again"), "{log}");
    fs::remove_file(&trace).unwrap();
    fs::rename(&aside, &trace).unwrap();
    let (_, _, log) = outcome(machine.command(&json!({})).output().unwrap());
    assert!(log.contains("1 Tasks of runs that were killed are closed"), "{log}");
    machine.check();
}
