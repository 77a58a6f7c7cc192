//! A Task from its declaration to its trace.

use rstest::rstest;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{
    NORMAL, RELEASE_NAMESPACE, Trace, World, audit, condition, id, kubectl, phase, query, run, task, verify_audit,
};

#[tokio::test]
async fn a_task_is_gated_recorded_run_and_traced() {
    let world = World::shared("happy").await;
    world.create(task("first", json!({"target": {"ref": "v1.0.0"}}))).await;
    let task = world.wait_for("first", "Completed").await;

    let status = task.status.clone().unwrap();
    assert_eq!(status.observed_generation, task.metadata.generation);
    assert_eq!((status.reason.as_deref(), status.attempt), (Some("Completed"), Some(1)));
    assert!(status.queued_at <= status.started_at && status.started_at <= status.completed_at, "{status:?}");
    for (type_, reason) in [
        ("Accepted", "PolicyPassed"),
        ("Recorded", "Recorded"),
        ("Succeeded", "Completed"),
        ("TraceCaptured", "DigestsMatch"),
    ] {
        assert_eq!(condition(&task, type_), ("True".into(), reason.into()), "{type_}");
    }

    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
    let manifest = trace.json("manifest.json");
    assert_eq!((&manifest["outcome"], &manifest["source"]["ref"]), (&json!("succeeded"), &json!("v1.0.0")));
    assert_eq!(manifest["source"]["commit"], json!(status.commit));
    assert!(trace.text("artifacts/report.md").contains("# "));
    assert_eq!(trace.json("artifacts/report.json")["repo"], NORMAL);
    let events: Vec<Value> =
        trace.text("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["trace_id"] == json!(status.trace_id)), "{events:?}");
    assert!(events.iter().map(|event| event["seq"].as_u64().unwrap()).is_sorted(), "{events:?}");

    let rows = query(&world, "SELECT status, manifest_sha256, trace_id FROM tasks WHERE id = $1", &id(&task)).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<String, _>(0), "completed");
    assert_eq!(Some(rows[0].get::<String, _>(1)), status.trace.unwrap().manifest_sha256);
    assert_eq!(Some(rows[0].get::<String, _>(2)), status.trace_id);
    let files = query(&world, "SELECT checksum FROM artifacts WHERE task_id = $1 ORDER BY uri", &id(&task)).await;
    let recorded: Vec<String> = files.iter().map(|row| row.get(0)).collect();
    let mut bound: Vec<&Value> = manifest["files"].as_array().unwrap().iter().collect();
    bound.sort_by_key(|file| file["path"].as_str());
    assert_eq!(recorded, bound.iter().map(|file| file["sha256"].as_str().unwrap()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_audit_log_tells_it_in_order_and_by_whom() {
    let world = World::shared("audit").await;
    world.allow("grace@example.org").await;
    let grace = world.client_of("grace@example.org").await;
    world.try_create(&grace, &task("hers", json!({"createCwom": false})), "").await.unwrap();
    let task = world.wait_for("hers", "Completed").await;

    let status = task.status.as_ref().unwrap();
    assert_eq!(status.submitted_by.as_deref(), Some("grace@example.org"));
    let entries = audit(&["--trace", status.trace_id.as_deref().unwrap()]).await;
    let story: Vec<[&str; 4]> = entries
        .iter()
        .map(|entry| {
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            [text("/entity_kind"), text("/action"), text("/after/status"), text("/actor_id")]
        })
        .collect();
    assert_eq!(
        story,
        [
            ["Task", "created", "queued", "grace@example.org"],
            ["Task", "updated", "", "jct-controller"],
            ["Job", "created", "pending", "jct-controller"],
            ["Task", "status_changed", "running", "jct-controller"],
            ["Job", "status_changed", "running", "jct-controller"],
            ["Trace", "created", "", "jct-controller"],
            ["Job", "status_changed", "completed", "jct-controller"],
            ["Task", "status_changed", "completed", "jct-controller"],
            ["EvidencePack", "created", "", "jct-controller"],
        ]
    );
    assert_eq!(entries[0]["actor_kind"], "human");
    assert_eq!(entries[0]["after"]["requested_by"]["id"], "ada");
    verify_audit().await;
}

#[tokio::test]
async fn kubectl_shows_tasks() {
    let world = World::shared("kubectl").await;
    world.create(task("shown", json!({}))).await;
    world.wait_for("shown", "Completed").await;

    let path = format!("/apis/jct.dev/v1/namespaces/{}/tasks", world.namespace);
    let table: Value = world.get_raw(&path, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let expected = ["Name", "Phase", "Reason", "Operation", "Repo", "Executor", "Duration", "Requester", "Age"];
    assert_eq!(columns, expected);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..6], ["shown", "Completed", "Completed", "analysis", NORMAL, "analysis"].map(|cell| json!(cell)));
    assert!(cells[6].as_str().unwrap().ends_with('s') && cells[7] == "ada", "{cells:?}");

    for name in ["jtask", "jct", "tasks.jct.dev"] {
        let listed = kubectl(&["get", name, "--namespace", &world.namespace, "--output=name"]).await;
        assert_eq!(listed.trim(), "task.jct.dev/shown", "kubectl get {name}");
    }
    for condition in ["Succeeded", "Finished", "Ready"] {
        let condition = format!("--for=condition={condition}");
        kubectl(&["wait", &condition, "task/shown", "--namespace", &world.namespace, "--timeout=5s"]).await;
    }
    let described = kubectl(&["describe", "task", "shown", "--namespace", &world.namespace]).await;
    assert!(described.contains("every file has the digest"), "{described}");
    let selector = format!("jct.dev/task-namespace={},jct.dev/task-name=shown", world.namespace);
    let jobs =
        kubectl(&["get", "jobs", "--namespace", RELEASE_NAMESPACE, "--selector", &selector, "--output=name"]).await;
    assert!(jobs.contains("/t-"), "{jobs}");
    let explained = kubectl(&["explain", "task.spec.objective"]).await;
    assert!(explained.contains("What is to be done"), "{explained}");
}

#[tokio::test]
async fn applying_again_changes_nothing() {
    let world = World::shared("gitops").await;
    let manifest = task("same", json!({"type": "analysis", "operation": null})).to_string();
    let namespace = format!("--namespace={}", world.namespace);
    let client_side = ["apply", &namespace, "--filename=-"];
    let server_side = ["apply", &namespace, "--filename=-", "--server-side", "--force-conflicts"];
    run("kubectl", &client_side, &manifest).await.unwrap();
    world.wait_for("same", "Completed").await;
    for args in [&client_side[..], &server_side, &server_side] {
        run("kubectl", args, &manifest).await.unwrap();
        let diff = [&["diff"], &args[1..]].concat();
        assert_eq!(run("kubectl", &diff, &manifest).await, Ok(String::new()), "{args:?}");
    }
    assert_eq!(world.get("same").await.metadata.generation, Some(1));
}

#[rstest]
#[case::of_60_characters(60)]
#[case::of_253_characters(253)]
#[tokio::test]
async fn long_names_are_no_trouble(#[case] length: usize) {
    let world = World::shared("names").await;
    let name: String = "long-name.".chars().cycle().take(length - 1).chain(['z']).collect();
    world.create(task(&name, json!({}))).await;
    let task = world.wait_for(&name, "Completed").await;
    Trace::of(&world, &task).await.check(&task).unwrap();
}

#[tokio::test]
async fn aliases_and_spelling_are_resolved_and_the_object_is_left_alone() {
    let world = World::shared("aliases").await;
    let spec = json!({
        "operation": null, "type": "analysis", "payload": {"depth": 2},
        "target": {"repo": null, "repository": " Demo/NORMAL.git ", "ref": ""}, "objective": "  Look around \n",
    });
    let created = world.create(task("aliased", spec)).await;
    let conflict = json!({
        "operation": "analysis", "type": "docs", "inputs": {"from": "inputs"}, "payload": {"from": "payload"},
        "target": {"repo": NORMAL, "repository": "demo/absent"},
    });
    world.create(task("both", conflict)).await;

    let task = world.wait_for("aliased", "Completed").await;
    assert_eq!(task.spec, created.spec);
    let ran = Trace::of(&world, &task).await.json("task.json");
    assert_eq!(ran["operation"], "analysis");
    assert_eq!(ran["inputs"], json!({"depth": 2}));
    assert_eq!(ran["objective"], "Look around");
    assert_eq!((&ran["target"]["repo"], &ran["target"]["ref"]), (&json!(NORMAL), &json!("main")));
    let row = query(&world, "SELECT target_repo, operation FROM tasks WHERE id = $1", &id(&task)).await;
    assert_eq!((row[0].get::<String, _>(0), row[0].get::<String, _>(1)), (NORMAL.into(), "analysis".into()));

    let task = world.wait_for("both", "Completed").await;
    let ran = Trace::of(&world, &task).await.json("task.json");
    assert_eq!((&ran["operation"], &ran["inputs"]["from"]), (&json!("analysis"), &json!("inputs")));
    assert_eq!(ran["target"]["repo"], NORMAL);
}

#[tokio::test]
async fn a_trace_that_was_changed_afterwards_is_noticed() {
    let world = World::shared("tamper").await;
    world.create(task("changed", json!({}))).await;
    let task = world.wait_for("changed", "Completed").await;
    assert_eq!(phase(&task), "Completed");
    let trace = Trace::of(&world, &task).await;
    trace.check(&task).unwrap();
    let report = trace.folder.join("artifacts/report.md");
    let mode = std::fs::metadata(&report).unwrap().permissions();
    assert!(mode.readonly(), "the trace is not sealed: {mode:?}");

    let text = trace.text("artifacts/report.md").replacen('a', "b", 1);
    std::fs::write(&report, text).unwrap();
    assert!(trace.check(&task).unwrap_err().contains("report.md"));
    let mut manifest = trace.read("manifest.json");
    manifest.push(b'\n');
    std::fs::write(trace.folder.join("manifest.json"), manifest).unwrap();
    assert!(trace.check(&task).unwrap_err().contains("manifest.json"));
}
