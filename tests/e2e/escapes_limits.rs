//! An executor that takes too much, or does not end.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::support::reason;

#[rstest]
#[case::huge("huge files", "8388608 bytes", &["small", "sparse-1t"], 2)]
#[case::many("many files", "100 artifacts", &[], 200)]
#[tokio::test]
async fn outputs_beyond_the_limits_are_not_kept(
    #[case] escape: &str,
    #[case] limit: &str,
    #[case] kept: &[&str],
    #[case] left_out: u64,
) {
    let attempt = Attempt::ended("Failed", "hostile", &[escape]).await;
    attempt.reason("ExecutorFailed").reported(limit);
    assert_eq!(attempt.event("artifacts_over_limit")["fields"]["count"], left_out);
    let artifacts = attempt.artifacts();
    assert_eq!(if kept.is_empty() { &artifacts[..0] } else { &artifacts }, kept);
    assert!(artifacts.len() <= 100);
    let bytes: u64 = artifacts.iter().map(|name| attempt.trace.read(&format!("artifacts/{name}")).len() as u64).sum();
    assert!(bytes <= 8_388_608);
}

#[rstest]
#[case::fork_bomb("fork bomb", "limits.maxProcesses", "too_many_processes")]
#[case::disk("disk", "limits.maxDiskBytes", "too_much_disk")]
#[case::files_without_names("disk by files without names", "limits.maxDiskBytes", "too_much_disk")]
#[case::empty_files("disk by empty files", "limits.maxDiskBytes", "too_much_disk")]
#[case::blinded_watch("disk behind a blinded watch", "limits.maxDiskBytes", "too_much_disk")]
#[case::without_its_first_thread("disk by a process without its first thread", "limits.maxDiskBytes", "too_much_disk")]
#[case::closed_folder("disk below a folder that is closed again and again", "limits.maxDiskBytes", "too_much_disk")]
#[case::unreadable("disk by a process that cannot be read", "could not be seen", "unwatched")]
#[case::hidden_folder("disk below a hidden folder", "limits.maxDiskBytes", "too_much_disk")]
#[case::long_path("disk below a long path", "limits.maxDiskBytes", "too_much_disk")]
#[tokio::test]
async fn who_takes_too_much_is_ended(#[case] escape: &str, #[case] limit: &str, #[case] end: &str) {
    let attempt = Attempt::ended("Failed", "hostile", &[escape]).await;
    attempt.reason("LimitExceeded").reported(limit);
    assert_eq!(attempt.event("executor_ended")["fields"]["end"], end);
    attempt.gives_disk_back().await;
}

#[tokio::test]
async fn a_process_that_wants_too_much_memory_is_refused_it() {
    let attempt = Attempt::ended("Failed", "hostile", &["memory"]).await;
    attempt.reason("OOMKilled");
    assert_eq!(attempt.event("executor_ended")["fields"]["end"], json!({"signalled": 6}));
}

/// Memory that belongs to no process: the kernel ends whom it likes, the supervisor too.
#[tokio::test]
async fn memory_in_files_counts_for_the_container() {
    let attempt = Attempt::ended("Failed", "hostile", &["memory in files"]).await;
    assert_eq!(reason(&attempt.task), "OOMKilled", "{:?}", attempt.task.status);
}

#[rstest]
#[case::lines("output", 0)]
#[case::steps("steps", 1000)]
#[tokio::test]
async fn output_without_end_is_cut(#[case] escape: &str, #[case] steps: usize) {
    let attempt = Attempt::ended("Failed", "hostile-brief", &[escape]).await;
    attempt.reason("TimeBudgetExceeded");
    let ended = attempt.event("executor_ended");
    assert_eq!(ended["fields"]["stdout_truncated"], true);
    assert!(ended["fields"]["stdout_bytes"].as_u64().unwrap() > 1 << 20, "{ended}");
    let log = attempt.trace.text("stdout.log");
    assert!(log.ends_with("… truncated\n") && log.len() < 70_000, "{}", log.len());
    let reported = attempt.events().filter(|event| event["event"] == "executor_step").count();
    assert_eq!((reported, ended["fields"]["steps_left_out"].as_u64().unwrap() > 0), (steps, steps > 0));
}

#[rstest]
#[case::minds_no_signal("hostile-brief", "stubborn", "TimeBudgetExceeded", json!("over_budget"))]
#[case::stops_itself("hostile-brief", "stopped", "TimeBudgetExceeded", json!("over_budget"))]
#[case::kills_its_group("hostile", "its own group", "ExecutorFailed", json!({"signalled": 9}))]
#[tokio::test]
async fn signals_do_not_keep_it_alive(
    #[case] executor: &str,
    #[case] escape: &str,
    #[case] wanted: &str,
    #[case] end: Value,
) {
    let attempt = Attempt::ended("Failed", executor, &[escape]).await;
    attempt.reason(wanted);
    assert_eq!(attempt.event("executor_ended")["fields"]["end"], end);
}

#[tokio::test]
async fn a_daemon_is_dead_before_the_outputs_are_taken() {
    let attempt = Attempt::ended("Completed", "hostile", &["daemon"]).await;
    let last: i64 = attempt.trace.text("artifacts/heartbeat").parse().unwrap();
    let ended = attempt.event("executor_ended");
    let ended: jiff::Timestamp = ended["ts"].as_str().unwrap().parse().unwrap();
    assert!(last <= ended.as_millisecond(), "it wrote {last}, after {ended}");
}
