//! The Secret by which an attempt reads a private repository: when it is made, what is in it, and when it is gone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jct::domain::forge::Forges;
use jct::reconcile::Context;
use jct::reconcile::task::reconcile_in_line;
use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::api::{Answer, Call, call};
use crate::fixture::{World, job_name, seen};

const JOBS: &str = "/apis/batch/v1/namespaces/workers/jobs";
const STATUS: &str = "/apis/jct.dev/v1/namespaces/team/tasks/look/status";
const OURS: &str = "/api/v1/namespaces/jct-system/secrets/own-read";
const THEIRS: &str = "/api/v1/namespaces/workers/secrets";
const FORGES: &str = r#"
- {name: own, kind: gitea, repos: [octo/], git: "https://git.example/{repo}.git", api: "https://git.example/api/v1",
   ca_bundle: "-----BEGIN CERTIFICATE-----", read: {secret: own-read}, grants: [{namespaces: [team], repos: [octo/], read: true}]}
"#;

async fn world(forges: &str) -> World {
    let mut world = World::new().await;
    world.forges = Forges::read(forges).unwrap();
    world
}

fn secret(data: &[(&str, &str)]) -> Answer {
    let data: Map<_, _> = data.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value)))).collect();
    Answer::Object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own-read"}, "data": data}))
}

/// A moment so many seconds ago.
fn ago(seconds: i64) -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds)).to_string()
}

/// A pod that has a node since then, and how far its source is.
fn scheduled(seconds: i64, source: Value) -> Value {
    json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(seconds)}],
        "initContainerStatuses":
            [{"name": "source", "state": source, "ready": false, "restartCount": 0, "image": "", "imageID": ""}],
    })
}

fn waiting() -> Value {
    json!({"waiting": {"reason": "PodInitializing"}})
}

fn ended() -> Value {
    json!({"terminated": {"exitCode": 0, "startedAt": ago(5), "finishedAt": ago(1)}})
}

/// Brings a Task to its first Job; gives the pod's spec.
async fn started(world: &World) -> Value {
    let script = vec![call("POST", JOBS, Answer::Echo), call("PATCH", STATUS, Answer::Echo)];
    let pass = world.pass(&world.task(json!({})), script).await;
    pass.result.as_ref().unwrap();
    pass.calls[0].2["spec"]["template"]["spec"].clone()
}

/// What was made in the worker namespace.
fn decoded(secret: &Value) -> Map<String, Value> {
    let text = |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    data.iter().map(|(key, value)| (key.clone(), json!(text(value)))).collect()
}

/// The calls of Secrets that a pass over this pod makes; it writes the status too.
async fn pass(world: &World, secrets: Vec<Call>, pod: Value) -> Vec<(String, String, Value)> {
    let script = secrets.into_iter().chain([call("PATCH", STATUS, Answer::Echo)]).collect();
    let pass = world.pass_with(&world.task(json!({})), script, |context| seen(context, 1, json!({}), pod)).await;
    pass.result.as_ref().unwrap();
    pass.calls
}

#[tokio::test]
async fn it_is_there_from_when_the_pod_has_a_node_until_the_source_is_fetched() {
    let world = world(FORGES).await;
    let pod = started(&world).await;
    let name = format!("{}-read", job_name(1));
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "forge-credential").unwrap();
    assert_eq!(volume["secret"], json!({"secretName": name, "defaultMode": 0o444, "optional": false}));
    let source = &pod["initContainers"][0];
    assert!(source["env"].to_string().contains("https://git.example/octo/hello.git"), "{source}");

    // Without a node nothing is asked, not even for the operator's own Secret.
    let unscheduled =
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]});
    assert_eq!(pass(&world, vec![], unscheduled).await.len(), 1);

    let script = vec![call("GET", OURS, secret(&[("token", "c4nary")])), call("POST", THEIRS, Answer::Echo)];
    let calls = pass(&world, script, scheduled(0, waiting())).await;
    let made = &calls[1].2;
    assert_eq!(made["metadata"]["name"], json!(name));
    assert_eq!(
        made["metadata"]["ownerReferences"],
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": job_name(1), "uid": "uid-of-the-job"}])
    );
    assert_eq!(json!(decoded(made)), json!({"username": "jct", "token": "c4nary"}));
    // It is nowhere else that a pass writes to.
    let elsewhere = format!("{pod}{}", calls[2].2);
    assert!(!elsewhere.contains("c4nary") && !elsewhere.contains(&STANDARD.encode("c4nary")));

    let gone = call("DELETE", format!("{THEIRS}/{name}"), Answer::Failure(404));
    assert_eq!(pass(&world, vec![gone], scheduled(5, ended())).await[0].0, "DELETE");
}

#[tokio::test]
async fn one_controller_makes_it_once_and_deletes_it_once() {
    let world = world(FORGES).await;
    started(&world).await;
    let name = format!("{}-read", job_name(1));
    let deleted = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let script = vec![
        call("GET", OURS, secret(&[("token", "t"), ("username", "bot")])),
        // One that a controller before this one has left is replaced: its token may have ended.
        call("POST", THEIRS, Answer::Failure(409)),
        call("PUT", format!("{THEIRS}/{name}"), Answer::Echo),
        call("PATCH", STATUS, Answer::Echo),
        call("DELETE", format!("{THEIRS}/{name}"), Answer::Object(deleted)),
        call("PATCH", STATUS, Answer::Echo),
    ];
    let task = world.task(json!({}));
    let passes = async |context: std::sync::Arc<Context>| {
        let mut last = None;
        for pod in [scheduled(0, waiting()), scheduled(0, waiting()), scheduled(5, ended()), scheduled(5, ended())] {
            seen(&context, 1, json!({}), pod);
            let object = serde_json::from_value(task.clone()).unwrap();
            last = Some(reconcile_in_line(std::sync::Arc::new(object), context.clone()).await);
        }
        last.unwrap()
    };
    let pass = world.passes_over(Some(&task), script, passes).await;
    pass.result.unwrap();
    assert_eq!(decoded(&pass.calls[2].2)["username"], "bot");
}

#[rstest]
#[case::no_token(secret(&[("password", "c4nary")]))]
#[case::newline(secret(&[("token", "c4nary\n")]))]
#[case::no_secret(Answer::Failure(404))]
#[case::no_right(Answer::Failure(403))]
#[tokio::test]
async fn a_credential_that_cannot_be_used_fails_the_attempt_with_words_for_who_asked(#[case] found: Answer) {
    let world = world(FORGES).await;
    started(&world).await;
    let script = vec![call("GET", OURS, found), call("POST", THEIRS, Answer::Echo)];
    let calls = pass(&world, script, scheduled(0, waiting())).await;
    let data = decoded(&calls[1].2);
    assert_eq!(data.keys().collect::<Vec<_>>(), ["trouble"]);
    let told = data["trouble"].as_str().unwrap();
    assert!(told.contains("the forge own can't be read"), "{told}");
    assert!(!told.contains("own-read") && !told.contains("c4nary"), "{told}");
}

#[tokio::test]
async fn an_api_server_that_is_slow_is_asked_again_and_not_for_ever() {
    let world = world(FORGES).await;
    started(&world).await;
    let script = vec![call("GET", OURS, Answer::Failure(500))];
    assert_eq!(pass(&world, script, scheduled(1, waiting())).await.len(), 2);
    let script = vec![call("GET", OURS, Answer::Failure(500)), call("POST", THEIRS, Answer::Echo)];
    let calls = pass(&world, script, scheduled(61, waiting())).await;
    assert!(decoded(&calls[1].2).contains_key("trouble"));
}

#[rstest]
#[case::look_alikes("namespaces: [team]", "namespaces: [tea, team-evil, 'teams*']")]
#[case::other_repository("repos: [octo/], read: true", "repos: [octo/hell], read: true")]
#[case::longer_prefix("read: true}", "read: true}, {namespaces: ['*'], repos: [octo/hello]}")]
#[case::not_read("read: true", "read: false")]
#[tokio::test]
async fn without_a_grant_there_is_none(#[case] good: &str, #[case] bad: &str) {
    let world = world(&FORGES.replacen(good, bad, 1)).await;
    let pod = started(&world).await;
    assert!(!pod.to_string().contains("forge-credential") && !pod.to_string().contains("jct-forge"), "{pod}");
    assert!(pod["initContainers"][0]["args"].to_string().contains("--forge=own"));
    // Neither is the operator's own one read, nor one made, nor one deleted.
    assert_eq!(pass(&world, vec![], scheduled(1, waiting())).await.len(), 1);
    assert_eq!(pass(&world, vec![], scheduled(5, ended())).await.len(), 1);
}

#[tokio::test]
async fn a_pod_that_waits_for_what_nobody_is_granted_any_more_gets_an_empty_one() {
    let mut world = world(FORGES).await;
    started(&world).await;
    world.forges = Forges::read(&FORGES.replace("read: true", "read: false")).unwrap();
    let script = vec![call("POST", THEIRS, Answer::Echo)];
    let calls = pass(&world, script, scheduled(11, waiting())).await;
    assert_eq!(decoded(&calls[0].2), Map::new());
}
