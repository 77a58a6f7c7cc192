use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::{Value, json};

use super::observe::{Limits, Observation, observe};
use crate::crd::status::Reason;
use crate::domain::FailureReason;
use crate::reconcile::troubles::Trouble;

const LIMITS: Limits = Limits { start_timeout: Duration::from_secs(60), run_timeout: Duration::from_secs(600) };

fn at(seconds: i64) -> Timestamp {
    "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

fn job(status: Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": "t-1", "creationTimestamp": at(0).to_string()}, "status": status,
    }))
    .unwrap()
}

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "t-1-x", "creationTimestamp": at(0).to_string()}, "status": status,
    }))
    .unwrap()
}

fn see(job: Option<Job>, pod: Option<Pod>, seconds: i64) -> Observation {
    let pods: Vec<&Pod> = pod.iter().collect();
    observe(job.as_ref(), &pods, LIMITS, at(seconds))
}

fn container(name: &str, state: Value) -> Value {
    json!({"name": name, "state": state, "ready": false, "restartCount": 0, "image": "", "imageID": ""})
}

fn terminated(exit_code: i32, more: Value) -> Value {
    let mut end = json!({"exitCode": exit_code, "startedAt": at(1).to_string(), "finishedAt": at(9).to_string()});
    json_patch::merge(&mut end, &more);
    json!({"terminated": end})
}

/// Why a pod with this status has failed.
fn failure(status: Value) -> FailureReason {
    match see(Some(job(json!({}))), Some(pod(status)), 10) {
        Observation::Ended(ended) => ended.failure.unwrap().0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_job_and_no_pod_is_missing_and_a_pod_without_a_job_is_ending() {
    assert_eq!(see(None, None, 0), Observation::Missing);
    assert_eq!(see(None, Some(pod(json!({"phase": "Running"}))), 0), Observation::Ending);
}

#[test]
fn a_job_without_a_pod_waits() {
    assert!(matches!(see(Some(job(json!({}))), None, 999), Observation::Waiting(Reason::JobCreated, _)));
}

#[test]
fn what_keeps_a_job_or_a_pod_from_starting_is_said_in_the_words_of_the_cluster() {
    let quota = Trouble { reason: Reason::WaitingForQuota, words: "exceeded quota: tight".into() };
    let explained = |observation: Observation| observation.explained(Some(quota.clone()));
    let waiting = Observation::Waiting(Reason::WaitingForQuota, "exceeded quota: tight".into());
    assert_eq!(explained(see(Some(job(json!({}))), None, 999)), waiting);
    let late = explained(see(Some(job(json!({}))), Some(pod(json!({"phase": "Pending"}))), 61));
    let Observation::Stuck(FailureReason::StartFailed, message) = late else { panic!("{late:?}") };
    assert!(message.ends_with("has not started within 60 s: exceeded quota: tight"), "{message}");
    // What is on its way is not held up by what was before.
    let running = json!({"phase": "Running", "containerStatuses": [
        container("worker", json!({"running": {"startedAt": at(2).to_string()}}))]});
    assert!(matches!(explained(see(Some(job(json!({}))), Some(pod(running)), 10)), Observation::Running { .. }));
}

#[test]
fn a_pod_in_line_waits_for_ever() {
    let status = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]});
    let seen = see(Some(job(json!({}))), Some(pod(status)), 99_999);
    assert_eq!(seen, Observation::Waiting(Reason::WaitingForScheduling, "0/1 nodes".into()));
}

#[rstest]
#[case("ImagePullBackOff", 10, None)]
#[case("ImagePullBackOff", 61, Some(FailureReason::ImagePullFailed))]
#[case("ErrImageNeverPull", 1, Some(FailureReason::ImagePullFailed))]
#[case("CreateContainerConfigError", 10, None)]
#[case("CreateContainerConfigError", 61, Some(FailureReason::StartFailed))]
#[case("PodInitializing", 61, Some(FailureReason::StartFailed))]
fn a_start_that_fails_is_given_its_time(
    #[case] waiting: &str,
    #[case] seconds: i64,
    #[case] stuck: Option<FailureReason>,
) {
    let status = json!({"phase": "Pending", "initContainerStatuses": [
        container("source", json!({"waiting": {"reason": waiting, "message": "m"}}))]});
    match (see(Some(job(json!({}))), Some(pod(status)), seconds), stuck) {
        (Observation::Stuck(reason, _), Some(expected)) => assert_eq!(reason, expected),
        (Observation::Waiting(Reason::WaitingForStart, reported), None) => {
            assert_eq!(reported, format!("container source of pod t-1-x: {waiting}: m"));
        }
        (Observation::Waiting(reason, _), None) => assert_eq!(reason, Reason::WaitingForImage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_source_is_a_running_worker_until_all_limits_are_passed() {
    let status = json!({"phase": "Pending", "initContainerStatuses": [
        container("source", json!({"running": {"startedAt": at(2).to_string()}}))]});
    let running = Observation::Running { pod: "t-1-x".into(), since: at(2) };
    assert_eq!(see(Some(job(json!({}))), Some(pod(status.clone())), 500), running);
    let stuck = see(Some(job(json!({}))), Some(pod(status)), 603);
    assert!(matches!(stuck, Observation::Stuck(FailureReason::NodeLost, _)));
}

#[test]
fn success_is_the_pods_word() {
    let status = json!({"phase": "Succeeded", "containerStatuses": [
        container("worker", terminated(0, json!({"message": r#"{"outcome":"succeeded","reason":null,"message":null,"manifest_sha256":"ab"}"#})))]});
    let Observation::Ended(ended) = see(Some(job(json!({}))), Some(pod(status)), 10) else { panic!() };
    assert_eq!(ended.failure, None);
    assert_eq!(ended.termination.unwrap().manifest_sha256.as_deref(), Some("ab"));
    assert_eq!((ended.exit_code, ended.started_at, ended.ended_at), (Some(0), Some(at(1)), Some(at(9))));
}

#[rstest]
// The worker's own word.
#[case(json!({"phase": "Failed", "initContainerStatuses": [container("source", terminated(1, json!(
    {"message": r#"{"outcome":"failed","reason":"RefNotFound","message":"no","manifest_sha256":null}"#})))]}),
    FailureReason::RefNotFound)]
// It was told to stop; the pod knows by whom.
#[case(json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": [container("worker", terminated(1, json!(
    {"message": r#"{"outcome":"failed","reason":"Evicted","message":"SIGTERM","manifest_sha256":null}"#})))]}),
    FailureReason::Evicted)]
#[case(json!({"phase": "Failed", "containerStatuses": [container("worker", terminated(1, json!(
    {"message": r#"{"outcome":"failed","reason":"Evicted","message":"SIGTERM","manifest_sha256":null}"#})))]}),
    FailureReason::Evicted)]
#[case(json!({"phase": "Failed", "containerStatuses": [container("worker", terminated(137, json!({"reason": "OOMKilled"})))]}),
    FailureReason::OomKilled)]
#[case(json!({"phase": "Failed", "reason": "DeadlineExceeded"}), FailureReason::TimeBudgetExceeded)]
#[case(json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}),
    FailureReason::Evicted)]
#[case(json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]}),
    FailureReason::NodeLost)]
#[case(json!({"phase": "Failed", "containerStatuses": [container("worker", terminated(128, json!({"reason": "StartError"})))]}),
    FailureReason::StartFailed)]
#[case(json!({"phase": "Failed", "containerStatuses": [container("worker", terminated(2, json!({"message": "not json"})))]}),
    FailureReason::WorkerFailed)]
// The recorder lost the supervisor; its container knows why.
#[case(json!({"phase": "Failed", "containerStatuses": [
    container("executor", terminated(137, json!({"reason": "OOMKilled"}))),
    container("worker", terminated(1, json!(
        {"message": r#"{"outcome":"failed","reason":"WorkerFailed","message":"killed","manifest_sha256":"ab"}"#})))]}),
    FailureReason::OomKilled)]
// The recorder's account stands, though the supervisor ended badly.
#[case(json!({"phase": "Failed", "containerStatuses": [
    container("executor", terminated(1, json!({}))),
    container("worker", terminated(1, json!(
        {"message": r#"{"outcome":"failed","reason":"ExecutorFailed","message":"no","manifest_sha256":"ab"}"#})))]}),
    FailureReason::ExecutorFailed)]
fn failures_have_names(#[case] status: Value, #[case] expected: FailureReason) {
    assert_eq!(failure(status), expected);
}

#[test]
fn a_pod_whose_container_still_runs_has_not_ended() {
    let status = json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": [
        container("worker", json!({"running": {"startedAt": at(2).to_string()}}))]});
    assert!(!matches!(see(Some(job(json!({}))), Some(pod(status)), 10), Observation::Ended(_)));
}

#[test]
fn a_finished_job_whose_pod_is_gone_has_ended() {
    let failed = job(json!({"conditions": [{"type": "Failed", "status": "True"}]}));
    let Observation::Ended(ended) = see(Some(failed), None, 10) else { panic!() };
    assert_eq!(ended.failure.unwrap().0, FailureReason::Interrupted);
    let complete = job(json!({"conditions": [{"type": "Complete", "status": "True"}]}));
    let Observation::Ended(ended) = see(Some(complete), None, 10) else { panic!() };
    assert_eq!(ended.failure, None);
}

#[test]
fn an_image_that_is_missing_is_seen_though_the_recorder_runs() {
    let status = |reason: &str| {
        json!({"phase": "Pending",
        "initContainerStatuses": [container("source", terminated(0, json!({})))],
        "containerStatuses": [
            container("executor", json!({"waiting": {"reason": reason, "message": "no such image"}})),
            container("worker", json!({"running": {"startedAt": at(10).to_string()}}))]})
    };
    let seen = |reason, seconds| see(Some(job(json!({}))), Some(pod(status(reason))), seconds);
    assert!(matches!(seen("ImagePullBackOff", 60), Observation::Waiting(Reason::WaitingForImage, _)));
    // Counted from the source's end at 9, not from the Job's creation.
    assert!(matches!(seen("ImagePullBackOff", 68), Observation::Waiting(Reason::WaitingForImage, _)));
    assert!(matches!(seen("ImagePullBackOff", 70), Observation::Stuck(FailureReason::ImagePullFailed, _)));
    assert!(matches!(seen("InvalidImageName", 20), Observation::Stuck(FailureReason::ImagePullFailed, _)));
    assert!(matches!(seen("ContainerCreating", 20), Observation::Running { .. }));
}

#[test]
fn a_pod_that_found_another_one_there_tells_nothing() {
    let mut second = pod(json!({"phase": "Failed", "initContainerStatuses": [container("source", terminated(1, json!(
        {"message": r#"{"outcome":"failed","reason":"WorkerFailed","message":"no","manifest_sha256":null,"claimed_by":"pod t-1-x"}"#})))]}));
    second.metadata.name = Some("t-1-y".into());
    second.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(30)));
    let first = pod(json!({"phase": "Running", "containerStatuses": [
        container("worker", json!({"running": {"startedAt": at(2).to_string()}}))]}));
    let seen = observe(Some(&job(json!({}))), &[&second, &first], LIMITS, at(40));
    assert_eq!(seen, Observation::Running { pod: "t-1-x".into(), since: at(2) });
}

/// A worker that runs on a node whose clock is off by so many seconds, looked at after ten.
fn on_a_node_ahead_by(seconds: i64, state: Value) -> Option<Pod> {
    let status = json!({
        "phase": "Running", "startTime": at(1 + seconds).to_string(),
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(0).to_string()}],
        "containerStatuses": [container("worker", state)],
    });
    Some(pod(status))
}

#[rstest]
#[case::right(0)]
#[case::an_hour_behind(-3600)]
#[case::an_hour_ahead(3600)]
fn no_work_is_given_up_for_the_clock_of_its_node(#[case] off: i64) {
    let running = || on_a_node_ahead_by(off, json!({"running": {"startedAt": at(2 + off).to_string()}}));
    let Observation::Running { since, .. } = see(Some(job(json!({}))), running(), 10) else { panic!("{off}") };
    assert!(off > 0 || (at(1)..=at(2)).contains(&since), "{since}");
    // The control: with a clock that is right, or behind, what outlives its budget is given up.
    let late = see(Some(job(json!({}))), running(), 700);
    assert_eq!(matches!(late, Observation::Stuck(FailureReason::NodeLost, _)), off <= 0, "{late:?}");
    // Neither is a start: the image is waited for since the source was there, and not for an hour already.
    let mut waits = on_a_node_ahead_by(off, json!({"waiting": {"reason": "ErrImagePull"}})).unwrap();
    let source = container("source", json!({"terminated": {"exitCode": 0, "finishedAt": at(5 + off).to_string()}}));
    waits.status.as_mut().unwrap().init_container_statuses = Some(vec![serde_json::from_value(source).unwrap()]);
    assert!(matches!(see(Some(job(json!({}))), Some(waits), 10), Observation::Waiting(Reason::WaitingForImage, _)));
}
