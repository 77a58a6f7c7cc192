//! Executors of any image: chosen, run, seen at work, ended before their time, configured anew.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{EvictParams, PostParams};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{
    Entry, RELEASE_NAMESPACE, Repository, Task, Trace, World, begun, condition, configuration, configure, helm_fails,
    no_operator_restarted, reason, run, task, until,
};

/// The messages of a trace's events of one kind.
fn messages(trace: &Trace, event: &str) -> Vec<String> {
    let events = trace.text("events.jsonl");
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|found| found["event"] == event)
        .map(|found| found["fields"]["message"].as_str().unwrap().into())
        .collect()
}

#[tokio::test]
async fn an_agent_of_a_foreign_image_works_step_by_step() {
    let world = World::shared("agent").await;
    let repository = Repository::new("demo/untidy");
    let entries = [
        Entry::file("docs/a.md", "# A  \ntext\t\n"),
        Entry::file("docs/b.txt", "b \n"),
        Entry::file("docs/tidy.md", "tidy\n"),
        Entry::file("elsewhere.md", "left alone \n"),
    ];
    let commit = repository.commit("main", "Begin", &entries);
    let spec = json!({
        "operation": "code_change", "executor": "scripted-agent", "target": {"repo": "demo/untidy", "path": "docs"},
        "requestedBy": {"kind": "human", "id": "ada"},
    });
    world.create(task("tidy", spec)).await;
    let task = world.wait_for("tidy", "Completed").await;

    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
    let steps = messages(&trace, "executor_step");
    let expected = [
        "Reading the objective",
        "Looking for text files with blanks at line ends",
        "Editing ./a.md",
        "Editing ./b.txt",
        "Checking the result",
    ];
    assert_eq!(steps, expected);
    let patch = trace.text("artifacts/change.patch");
    assert!(patch.contains("docs/a.md") && patch.contains("docs/b.txt"), "{patch}");
    assert!(!patch.contains("tidy.md") && !patch.contains("elsewhere.md"), "{patch}");

    let manifest = trace.json("manifest.json");
    assert!(manifest["image"].as_str().unwrap().contains("/scripted-agent:"), "{manifest}");
    assert_eq!(manifest["result"]["summary"], "tidied 2 files");
    assert_eq!(manifest["change"]["base_commit"], json!(commit));
    // Whoever has the repository can take the change over, with who asked for it and where its trace is.
    let bundle = trace.folder.join("artifacts/change.bundle");
    repository.git(&["fetch", "--quiet", bundle.to_str().unwrap(), "+refs/heads/*:refs/jct/*"], b"");
    let message = repository.git(&["log", "-1", "--format=%B", manifest["change"]["commit"].as_str().unwrap()], b"");
    let trailer = task.status.as_ref().unwrap().trace_id.as_ref().unwrap().to_string();
    assert!(message.contains("Co-authored-by: ada") && message.contains(&trailer), "{message}");
}

#[rstest]
#[case::of_another_namespace("elsewhere")]
#[case::of_another_operation("scripted-agent")]
#[case::not_there("nobody-knows")]
#[tokio::test]
async fn an_executor_that_may_not_be_used_is_named_with_those_that_may(#[case] executor: &str) {
    let world = World::shared("choice").await;
    world.create(task("choice", json!({"executor": executor}))).await;
    let task = world.wait_for("choice", "Failed").await;
    assert_eq!(reason(&task), "ExecutorNotConfigured");
    let reported = task.status.as_ref().unwrap().message.clone().unwrap();
    assert!(
        reported.contains(&format!("{executor:?}")) && reported.contains("analysis") && reported.contains("endless"),
        "{reported}"
    );
    assert!(world.jobs_of(&task).await.is_empty(), "nothing is started");
}

/// What was there before the end is in the trace, and the trace says why it ended.
fn sealed_with(trace: &Trace, reason: &str) {
    let manifest = trace.json("manifest.json");
    assert_eq!((&manifest["reason"], &manifest["outcome"]), (&json!(reason), &json!("failed")), "{manifest}");
    assert_eq!(trace.text("stdout.log"), "begun\n");
    assert_eq!(trace.text("artifacts/kept.txt"), "kept\n");
}

fn is_captured(task: &Task) -> bool {
    condition(task, "TraceCaptured") == ("True".into(), "DigestsMatch".into())
}

#[tokio::test]
async fn at_the_end_of_its_time_an_executor_ends_and_what_it_left_is_kept() {
    let world = World::shared("time").await;
    world.create(task("time", json!({"executor": "hasty"}))).await;
    let task = world.wait_for("time", "Failed").await;
    assert_eq!(reason(&task), "TimeBudgetExceeded");
    assert!(is_captured(&task), "{:?}", task.status);
    sealed_with(&Trace::of(&world, &task).await, "TimeBudgetExceeded");
}

#[tokio::test]
async fn a_cancelled_executor_leaves_what_it_had() {
    let world = World::shared("cancel").await;
    world.create(task("cancel", json!({"executor": "endless"}))).await;
    begun(&world, "cancel", 1).await;
    world.set("cancel", "cancel", true).await;
    let task = world.wait_for("cancel", "Cancelled").await;
    assert!(is_captured(&task), "{:?}", task.status);
    sealed_with(&Trace::of(&world, &task).await, "Cancelled");
}

#[tokio::test]
async fn a_drained_node_takes_an_attempt_and_not_its_trace() {
    let world = World::shared("drain").await;
    world.create(task("drain", json!({"executor": "endless"}))).await;
    let first = begun(&world, "drain", 1).await;
    let pod = world.pods_of(&world.get("drain").await).await.remove(0);
    let evicted = Instant::now();
    world.pods().evict(&pod.name_any(), &EvictParams::default()).await.unwrap();
    until("the trace to be sealed", async || {
        if first.folder.join("manifest.json").is_file() { Ok(()) } else { Err("no manifest".into()) }
    })
    .await;
    let took = evicted.elapsed();
    println!("sealed {took:.1?} after the eviction");
    sealed_with(&first, "Evicted");
    assert!(took < Duration::from_secs(20), "sealed only after {took:?}: the pod would have been killed soon after");
    // Not the Task's failure: it is tried again, in a folder of its own.
    begun(&world, "drain", 2).await;
    world.set("drain", "cancel", true).await;
    world.wait_for("drain", "Cancelled").await;
}

#[tokio::test]
async fn a_second_pod_for_an_attempt_writes_nothing_and_says_so() {
    let world = World::shared("twice").await;
    world.create(task("twice", json!({"executor": "endless"}))).await;
    let trace = begun(&world, "twice", 1).await;
    let first = world.pods_of(&world.get("twice").await).await.remove(0);
    let events = |trace: &Trace| trace.text("events.jsonl");
    let before = events(&trace);

    let mut spec = first.spec.clone().unwrap();
    spec.node_name = None;
    let mut second = Pod { spec: Some(spec), ..Pod::default() };
    second.metadata.generate_name = Some("again-".into());
    let second = world.pods().create(&PostParams::default(), &second).await.unwrap().name_any();
    let said = until("the second pod to end", async || {
        let status = world.pods().get(&second).await.unwrap().status.unwrap();
        let source = status.init_container_statuses.unwrap_or_default().into_iter().next();
        let ended = source.and_then(|source| source.state?.terminated);
        ended.map(|ended| (ended.exit_code, ended.message.unwrap_or_default())).ok_or("it runs".to_owned())
    })
    .await;
    assert_eq!(said.0, 1);
    let said: Value = serde_json::from_str(&said.1).unwrap();
    assert_eq!(said["claimed_by"], json!(format!("pod {}", first.name_any())), "{said}");
    assert_eq!(events(&trace), before, "the first one's trace is as it was");
    world.pods().delete(&second, &Default::default()).await.unwrap();

    world.set("twice", "cancel", true).await;
    let task = world.wait_for("twice", "Cancelled").await;
    assert!(is_captured(&task), "{:?}", task.status);
}

#[tokio::test]
async fn memory_beyond_its_limit_is_told_by_name() {
    let world = World::shared("memory").await;
    world.create(task("memory", json!({"executor": "glutton"}))).await;
    let task = world.wait_for("memory", "Failed").await;
    assert_eq!(reason(&task), "OOMKilled", "{:?}", task.status);
    assert!(is_captured(&task), "{:?}", task.status);
}

async fn wait_for_metric(world: &World, line: &str) {
    until(line, async || {
        let page = world.metrics().await;
        if page.lines().any(|found| found == line) { Ok(()) } else { Err("another value".into()) }
    })
    .await;
}

#[tokio::test]
async fn executors_are_configured_anew_without_a_restart_and_never_wrongly() {
    let world = World::shared("configure").await;
    let original = configuration(&world, "executors").await;

    // The broker is off in this version: no configuration turns it on.
    let mut broken: Value = serde_yaml::from_str(&original).unwrap();
    broken["modelBroker"] = json!({"enabled": true, "url": "https://broker.example"});
    configure(&world, "executors", &serde_yaml::to_string(&broken).unwrap()).await;
    wait_for_metric(&world, "jct_executors_configuration_valid 0").await;
    let logs = ["logs", "deployment/jct", "--namespace", RELEASE_NAMESPACE, "--since=3m"];
    let logs = run("kubectl", &logs, "").await.unwrap();
    assert!(logs.contains("modelBroker.enabled: must be false"), "the log says what is wrong");
    world.create(task("former", json!({"executor": "failing"}))).await;
    let former = world.wait_for("former", "Failed").await;
    assert_eq!(reason(&former), "ExecutorFailed", "the former executors are there");

    let mut more: Value = serde_yaml::from_str(&original).unwrap();
    let list = more["executors"].as_array_mut().unwrap();
    let mut new = list.iter().find(|executor| executor["name"] == "failing").unwrap().clone();
    new["name"] = json!("brand-new");
    new["command"] = json!(["sh", "-c", "echo new"]);
    list.push(new);
    configure(&world, "executors", &serde_yaml::to_string(&more).unwrap()).await;
    wait_for_metric(&world, "jct_executors_configuration_valid 1").await;
    world.create(task("new", json!({"executor": "brand-new"}))).await;
    let task = world.wait_for("new", "Completed").await;
    assert_eq!(Trace::of(&world, &task).await.text("stdout.log"), "new\n");
    no_operator_restarted(&world).await;
    configure(&world, "executors", &original).await;
}

#[tokio::test]
async fn the_chart_takes_no_executors_that_are_none() {
    let reported = helm_fails(&["executors.executors=nonsense"]).await;
    assert!(reported.contains("executors"), "{reported}");
}
