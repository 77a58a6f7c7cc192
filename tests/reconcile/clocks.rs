//! Clocks that are wrong: the operator's by an hour, or that of whoever noted the end of an attempt.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use jct::domain::{FailureReason, Phase};
use jct::reconcile::task::reconcile;
use jct::shared::Clock;
use jct::webhook::{Keeper, KeeperSettings, WebhookMetrics};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tower::Layer as _;

use crate::api::{Answer, Call, call};
use crate::fixture::{World, job, pod, running, seen, succeeded};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";

fn status() -> Call {
    call("PATCH", STATUS, Answer::Echo)
}

/// What the API server's clock shows while this machine's is ahead by so many seconds, and it knows of that or not.
async fn world(ahead: i64, is_known: bool) -> (World, Timestamp) {
    let mut world = World::new().await;
    let now = Timestamp::now() - SignedDuration::from_secs(ahead);
    world.clock = Clock::default();
    if is_known {
        world.clock.note(now);
    }
    (world, now)
}

fn condition<'s>(status: &'s Value, type_: &str) -> &'s Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == type_).unwrap()
}

/// A worker that runs, by the API server's and its node's clock, since this moment.
fn running_since(at: Timestamp) -> (Value, Value) {
    let (mut job, mut pod) = (job(1, json!({})), pod(1, running()));
    job["metadata"]["creationTimestamp"] = json!(at.to_string());
    pod["metadata"]["creationTimestamp"] = json!(at.to_string());
    pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = json!(at.to_string());
    (job, pod)
}

#[rstest]
#[case::an_operator_an_hour_ahead(3600, true, true)]
#[case::an_operator_an_hour_behind(-3600, true, true)]
#[case::one_that_is_right(0, true, true)]
#[case::the_control_by_its_own_clock(3600, false, false)]
#[tokio::test]
async fn running_work_is_not_given_up_for_the_operators_clock(
    #[case] ahead: i64,
    #[case] is_known: bool,
    #[case] goes_on: bool,
) {
    let (world, now) = world(ahead, is_known).await;
    let task = world.task(json!({"spec": {"maxAttempts": 2, "constraints": {"timeBudgetSeconds": 60}}}));
    world.pass(&task, vec![call("POST", JOBS, Answer::Echo), status()]).await.result.unwrap();
    let (job, pod) = running_since(now - SignedDuration::from_secs(5));
    let script = match goes_on {
        true => vec![status()],
        false => vec![call("DELETE", JOBS, Answer::Object(job.clone())), status()],
    };
    let pass = world
        .pass_with(&task, script, |context| {
            context.workers.jobs.put(serde_json::from_value(job).unwrap());
            context.workers.pods.put(serde_json::from_value(pod).unwrap());
        })
        .await;
    pass.result.as_ref().unwrap();
    let row = world.row().await;
    assert_eq!((row.attempt, row.attempt_is_open()), (1, goes_on));
    if goes_on {
        assert_eq!(row.phase, Phase::Running);
        // What is wrong is told where people look.
        let reason = if ahead == 0 { "Recorded" } else { "ClockSkewed" };
        let recorded = condition(pass.status(), "Recorded");
        assert_eq!((&recorded["status"], &recorded["reason"]), (&json!("True"), &json!(reason)));
    }
}

/// The first thing that an operator does: it has had one answer of the API server so far.
#[rstest]
#[case::an_operator_that_is_days_ahead(-30 * 24)]
#[case::one_that_is_days_behind(30 * 24)]
#[case::one_that_is_right(0)]
#[tokio::test]
async fn the_first_certificate_is_valid_by_the_api_servers_clock(#[case] hours: i64) {
    let there = move || Timestamp::now() + SignedDuration::from_hours(hours);
    let server = tower::service_fn(move |request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        let date = there().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let (status, body) = match head.method {
            Method::POST => (201, body),
            _ => {
                let none = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "none"});
                (404, Body::from(none.to_string().into_bytes()))
            }
        };
        Ok::<_, tower::BoxError>(Response::builder().status(status).header("date", date).body(body).unwrap())
    });
    let clock = Clock::default();
    let client = Client::new(clock.layer().layer(server), "default");
    let life = Duration::from_secs(10 * 3600);
    let settings = KeeperSettings {
        namespace: "jct-system".into(),
        secret: "jct-webhook".into(),
        service: "jct-webhook".into(),
        model_service: None,
        configuration: "jct".into(),
        life,
    };
    let (identity, _trust) = Keeper::new(client, settings, WebhookMetrics::default(), clock).begin().await.unwrap();
    let made_at = Timestamp::try_from(identity.expires_at().unwrap() - life).unwrap();
    let off = made_at.duration_since(there()).abs();
    assert!(off < SignedDuration::from_mins(10), "{off}");
}

#[tokio::test]
async fn a_retry_does_not_wait_for_a_clock_that_was_ahead() {
    let (world, _) = world(0, true).await;
    let task = world.task(json!({"spec": {"maxAttempts": 2}}));
    world.pass(&task, vec![call("POST", JOBS, Answer::Echo), status()]).await.result.unwrap();
    world.leave_trace(1, Some(FailureReason::ExecutorFailed));
    // By its node's clock the first attempt ends an hour from now.
    let later = Timestamp::now() + SignedDuration::from_secs(3600);
    let mut ended = succeeded();
    ended["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!(later.to_string());
    let script = vec![status(), call("POST", JOBS, Answer::Echo), status()];
    let object: jct::reconcile::task::Object = serde_json::from_value(task.clone()).unwrap();
    let pass = world
        .passes_over(Some(&task), script, async |context| {
            seen(&context, 1, json!({}), ended);
            let object = Arc::new(object);
            reconcile(object.clone(), context.clone()).await?;
            tokio::time::sleep(Duration::from_millis(3100)).await;
            reconcile(object, context).await
        })
        .await;
    pass.result.unwrap();
    let row = world.row().await;
    assert_eq!((row.attempt, row.phase), (2, Phase::Queued));
    assert!(row.attempt_ended_at.is_none() || row.attempt_is_open());
}
