//! The seven CWOM kinds as custom resources, from the manifests to the record.

use http::Request;
use jct::crd::cwom::api_resource;
use jct::domain::cwom::Kind;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use rstest::rstest;
use serde::Deserialize as _;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{
    NORMAL, OPERATOR, RELEASE_NAMESPACE, World, audit, kubectl, query, run, spec_in, until, verify_audit, writes,
};

pub const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cwom.yaml");
const CHAIN: &str = include_str!("../../examples/cwom.yaml");

fn objects(world: &World, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(world.client.clone(), &world.namespace, &api_resource(kind))
}

/// Applies manifests as a person does.
async fn apply(world: &World, manifests: &[Value]) -> Result<String, String> {
    let documents: Vec<String> = manifests.iter().map(|manifest| serde_yaml::to_string(manifest).unwrap()).collect();
    let args = ["apply", "--namespace", &world.namespace, "--filename=-"];
    run("kubectl", &args, &documents.join("---\n")).await
}

fn manifest(kind: Kind, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "jct.dev/v1", "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec})
}

fn repo(name: &str, slug: &str) -> Value {
    manifest(Kind::Repo, name, json!({"name": name, "slug": slug, "source": {"system": "git"}}))
}

fn issue(name: &str, change: Value) -> Value {
    let mut spec =
        json!({"repo": {"kind": "Repo", "name": "hello"}, "title": "Tell what is there", "type": "research"});
    json_patch::merge(&mut spec, &change);
    manifest(Kind::Issue, name, spec)
}

fn packet(name: &str, issue: &str) -> Value {
    let spec = json!({"forIssue": {"kind": "Issue", "name": issue}, "version": "1", "summary": "What one has to know"});
    manifest(Kind::ContextPacket, name, spec)
}

fn agents_run(name: &str, issue: &str, repo: &str) -> Value {
    let spec = json!({
        "forIssue": {"kind": "Issue", "name": issue}, "repo": {"kind": "Repo", "name": repo}, "mode": "agent",
        "executor": {"actor": {"actorKind": "agent", "actorId": "writer-1"}},
    });
    manifest(Kind::Run, name, spec)
}

/// Status and reason of a condition.
fn condition(object: &DynamicObject, type_: &str) -> (String, String) {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
    let text = |name| found.and_then(|found| found[name].as_str()).unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

fn id(object: &DynamicObject) -> String {
    object.data.pointer("/status/id").and_then(Value::as_str).expect("the status has no id").into()
}

/// Waits until a condition has this status and reason.
async fn wait_for(world: &World, kind: Kind, name: &str, type_: &str, wanted: (&str, &str)) -> DynamicObject {
    until(&format!("{kind} {name} to be {type_} {wanted:?}"), async || {
        let object = objects(world, kind).get(name).await.unwrap();
        let (status, reason) = condition(&object, type_);
        if (status.as_str(), reason.as_str()) == wanted { Ok(object) } else { Err(object.data["status"].to_string()) }
    })
    .await
}

async fn recorded(world: &World, kind: Kind, name: &str) -> DynamicObject {
    wait_for(world, kind, name, "Recorded", ("True", "Recorded")).await
}

async fn resolved(world: &World, kind: Kind, name: &str) -> DynamicObject {
    wait_for(world, kind, name, "Resolved", ("True", "AllFound")).await
}

async fn patch(world: &World, kind: Kind, name: &str, spec: Value) -> kube::Result<DynamicObject> {
    objects(world, kind).patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await
}

fn chain() -> Vec<Value> {
    serde_yaml::Deserializer::from_str(CHAIN).map(|document| Value::deserialize(document).unwrap()).collect()
}

#[tokio::test]
async fn a_chain_resolves_whatever_the_order_and_a_restart_writes_nothing() {
    let world = World::alone("chain").await;
    let mut manifests = chain();
    manifests.reverse();
    apply(&world, &manifests).await.unwrap();
    let mut ids = Vec::new();
    for manifest in &manifests {
        let kind = Kind::parse(manifest["kind"].as_str().unwrap()).unwrap();
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let object = resolved(&world, kind, name).await;
        assert_eq!(condition(&object, "Recorded"), ("True".into(), "Recorded".into()), "{kind}");
        assert_eq!(object.data["status"]["observedGeneration"], json!(object.metadata.generation));
        ids.push((kind, id(&object)));
    }
    let greet = objects(&world, Kind::Issue).get("greet").await.unwrap();
    let fields: Vec<&str> =
        greet.data["status"]["refs"].as_array().unwrap().iter().map(|found| found["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["repo", "doctrineRefs[0]", "constraints[0]", "contextPackets[0]"]);
    let shown = kubectl(&["get", "cwom", "--namespace", &world.namespace]).await;
    assert_eq!(shown.lines().filter(|line| line.contains("True")).count(), 7, "{shown}");

    let of = |wanted: Kind| ids.iter().find(|(kind, _)| *kind == wanted).unwrap().1.clone();
    let joins = [
        ("SELECT COUNT(*) FROM cwom_issue_context_packets WHERE issue_id = $1", Kind::Issue),
        ("SELECT COUNT(*) FROM cwom_issue_doctrine_refs WHERE issue_id = $1", Kind::Issue),
        ("SELECT COUNT(*) FROM cwom_issue_constraint_snapshots WHERE issue_id = $1", Kind::Issue),
        ("SELECT COUNT(*) FROM cwom_run_context_packets WHERE run_id = $1", Kind::Run),
        ("SELECT COUNT(*) FROM cwom_run_doctrine_refs WHERE run_id = $1", Kind::Run),
        ("SELECT COUNT(*) FROM cwom_artifacts WHERE id = $1 AND deleted_at IS NULL", Kind::Artifact),
    ];
    for (sql, kind) in joins {
        assert_eq!(query(&world, sql, &of(kind)).await[0].get::<i64, _>(0), 1, "{sql}");
    }

    // Another start of the operator: everything is as it is to be.
    let mine = || writes().into_iter().filter(|write| write.user == OPERATOR && write.namespace == world.namespace);
    let before = mine().count();
    assert!(before <= 2 * manifests.len() + 7, "{before} writes for {} objects", manifests.len());
    kubectl(&["rollout", "restart", "deployment/jct", "--namespace", RELEASE_NAMESPACE]).await;
    kubectl(&["rollout", "status", "deployment/jct", "--namespace", RELEASE_NAMESPACE, "--timeout=100s"]).await;
    until("another pass over all seven kinds", async || {
        let page = world.metrics().await;
        let passed = |kind: &Kind| page.contains(&format!("jct_reconciles_total{{kind=\"{kind}\",result=\"ok\"}}"));
        let missing: Vec<&Kind> = Kind::ALL.iter().filter(|kind| !passed(kind)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
    let after: Vec<_> = mine().skip(before).collect();
    println!("WRITES for {} work objects by the operator: {before}, after a restart {}", manifests.len(), after.len());
    assert!(after.is_empty(), "{after:?}");
    verify_audit().await;
}

#[tokio::test]
async fn what_is_missing_is_shown_and_found_when_it_comes() {
    let world = World::shared("waiting").await;
    apply(&world, &[packet("context", "greet"), issue("greet", json!({}))]).await.unwrap();
    let greet = wait_for(&world, Kind::Issue, "greet", "Resolved", ("False", "ReferenceMissing")).await;
    assert!(greet.data["status"].to_string().contains("there is no Repo hello"), "{}", greet.data["status"]);
    wait_for(&world, Kind::ContextPacket, "context", "Recorded", ("False", "ReferenceMissing")).await;
    let shown = kubectl(&["get", "issue.jct.dev", "greet", "--namespace", &world.namespace]).await;
    assert!(shown.lines().nth(1).unwrap().contains("False"), "{shown}");
    apply(&world, &[repo("hello", NORMAL)]).await.unwrap();
    resolved(&world, Kind::Issue, "greet").await;
    resolved(&world, Kind::ContextPacket, "context").await;
}

#[tokio::test]
async fn what_must_not_change_does_not() {
    let world = World::shared("fixed").await;
    let snapshot = json!({"scope": "run", "owner": {"actorKind": "human", "actorId": "ada"}});
    let snapshot = manifest(Kind::ConstraintSnapshot, "today", snapshot);
    let all = [repo("hello", NORMAL), issue("greet", json!({})), packet("context", "greet"), snapshot];
    apply(&world, &all).await.unwrap();
    for (kind, name, change, field) in [
        (Kind::ContextPacket, "context", json!({"summary": "Other"}), "spec.summary"),
        (Kind::ConstraintSnapshot, "today", json!({"scope": "org"}), "spec.scope"),
        (Kind::Repo, "hello", json!({"slug": "demo/other"}), "spec.slug"),
    ] {
        match patch(&world, kind, name, change.clone()).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {
                assert!(status.message.contains(&format!("INVALID_SPEC: {field}: ")), "{status:?}");
            }
            other => panic!("{kind}: {other:?}"),
        }
        let mut changed = all.iter().find(|manifest| manifest["metadata"]["name"] == name).unwrap().clone();
        json_patch::merge(&mut changed["spec"], &change);
        let error = apply(&world, &[changed]).await.unwrap_err();
        assert!(error.contains("INVALID_SPEC") && error.contains(field), "{error}");
    }
    // As `kubectl edit` sends it.
    let args = ["edit", "contextpacket/context", "--namespace", &world.namespace];
    let edited = [&["KUBE_EDITOR=sed -i s/summary:.*/summary:\\ other/", "kubectl"][..], &args[..]].concat();
    let error = run("env", &edited, "").await.unwrap_err();
    assert!(error.contains("contextpackets.jct.dev \"context\" is invalid"), "{error}");
    let kept = objects(&world, Kind::ContextPacket).get("context").await.unwrap();
    assert_eq!(kept.data["spec"]["summary"], "What one has to know");

    let wrong = issue("wrong", json!({"repo": {"kind": "Issue", "name": "greet"}}));
    let error = apply(&world, &[wrong]).await.unwrap_err();
    assert!(error.contains("INVALID_SPEC") && error.contains("spec.repo.kind"), "{error}");
}

#[tokio::test]
async fn issues_that_block_each_other_are_told() {
    let world = World::shared("circle").await;
    let blocks = |other: &str| json!({"relationships": {"blocks": [{"kind": "Issue", "name": other}]}});
    apply(&world, &[repo("hello", NORMAL), issue("a", blocks("b")), issue("b", blocks("a"))]).await.unwrap();
    for name in ["a", "b"] {
        recorded(&world, Kind::Issue, name).await;
    }
    until("the circle to be noticed", async || {
        let mut reasons = Vec::new();
        for name in ["a", "b"] {
            reasons.push(condition(&objects(&world, Kind::Issue).get(name).await.unwrap(), "Resolved").1);
        }
        if reasons.contains(&"CircularReference".to_owned()) { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
    // One of them gives way.
    let free = json!({"relationships": null});
    for name in ["a", "b"] {
        patch(&world, Kind::Issue, name, free.clone()).await.unwrap();
        resolved(&world, Kind::Issue, name).await;
    }
}

#[tokio::test]
async fn a_deletion_is_recorded_and_the_record_stays() {
    let world = World::shared("deleted").await;
    world.allow("grace@example.org").await;
    apply(&world, &[repo("hello", NORMAL), repo("again", NORMAL)]).await.unwrap();
    let mut names = ["hello", "again"];
    // Both ask for the slug; one has it.
    let holder = until("a holder of the slug", async || {
        for name in names {
            let object = objects(&world, Kind::Repo).get(name).await.unwrap();
            if condition(&object, "Recorded").0 == "True" {
                return Ok(object);
            }
        }
        Err(String::new())
    })
    .await;
    if holder.metadata.name.as_deref() == Some("again") {
        names.reverse();
    }
    let loser = wait_for(&world, Kind::Repo, names[1], "Recorded", ("False", "SlugTaken")).await;
    assert!(loser.data["status"].to_string().contains(&id(&holder)), "{}", loser.data["status"]);

    let grace = world.client_of("grace@example.org").await;
    let hers: Api<DynamicObject> = Api::namespaced_with(grace, &world.namespace, &api_resource(Kind::Repo));
    let change = Patch::Merge(json!({"spec": {"visibility": "public"}}));
    hers.patch(names[0], &PatchParams::default(), &change).await.unwrap();
    until("the change to be recorded", async || {
        let entries = audit(&["--entity", &id(&holder)]).await;
        let last = entries.last().unwrap();
        if last["action"] == "updated" && last["actor_id"] == "grace@example.org" {
            Ok(())
        } else {
            Err(last.to_string())
        }
    })
    .await;
    objects(&world, Kind::Repo).delete(names[0], &DeleteParams::default()).await.unwrap();
    until("the Repo to be gone", async || match objects(&world, Kind::Repo).get_opt(names[0]).await.unwrap() {
        None => Ok(()),
        Some(object) => Err(format!("{:?}", object.metadata.finalizers)),
    })
    .await;
    let rows = query(&world, "SELECT deleted_at FROM cwom_repos WHERE id = $1", &id(&holder)).await;
    assert!(rows[0].get::<Option<i64>, _>(0).is_some());
    assert_eq!(audit(&["--entity", &id(&holder)]).await.last().unwrap()["action"], "deleted");
    recorded(&world, Kind::Repo, names[1]).await;
}

#[tokio::test]
async fn a_run_of_an_agent_is_carried_out_through_the_gate() {
    let world = World::shared("runs").await;
    world.allow("grace@example.org").await;
    let manifests = [
        agents_run("try", "greet", "hello"),
        issue("greet", json!({"description": "Tell what is there, and how much of it"})),
        repo("hello", NORMAL),
        repo("forbidden", "other/thing"),
        agents_run("forbidden", "greet", "forbidden"),
    ];
    let hers = ["apply", "--namespace", &world.namespace, "--as=grace@example.org", "--filename=-"];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
    run("kubectl", &hers, &list.to_string()).await.unwrap();

    let denied = wait_for(&world, Kind::Run, "forbidden", "Succeeded", ("False", "REPO_NOT_ALLOWED")).await;
    assert_eq!(denied.data["status"]["phase"], "failed");
    let row = query(&world, "SELECT spec FROM cwom_runs WHERE id = $1", &id(&denied)).await;
    let spec = spec_in(&row[0], 0);
    assert_eq!(spec["failure"]["category"], "policy");
    assert!(spec["failure"]["message"].as_str().unwrap().starts_with("REPO_NOT_ALLOWED: "), "{spec}");

    let done = wait_for(&world, Kind::Run, "try", "Succeeded", ("True", "Done")).await;
    assert_eq!(done.data["status"]["phase"], "done");
    let task = world.wait_for(done.data["status"]["taskName"].as_str().unwrap(), "Completed").await;
    assert_eq!(task.spec.0["objective"], "Tell what is there, and how much of it");
    let status = task.status.unwrap();
    assert_eq!(status.submitted_by.as_deref(), Some("grace@example.org"));
    assert_eq!(json!(status.trace_id), done.data["status"]["traceId"]);
    let artifacts = query(&world, "SELECT id, issue_id FROM cwom_artifacts WHERE run_id = $1", &id(&done)).await;
    assert!(!artifacts.is_empty());
    let greet = objects(&world, Kind::Issue).get("greet").await.unwrap();
    assert!(artifacts.iter().all(|row| row.get::<String, _>(1) == id(&greet)));
    let shown = kubectl(&["get", "runs.jct.dev", "--namespace", &world.namespace]).await;
    assert!(shown.contains("done") && shown.contains("failed"), "{shown}");

    // The Task goes with its Run.
    objects(&world, Kind::Run).delete("try", &DeleteParams::default()).await.unwrap();
    world.wait_until_gone(&task.metadata.name.unwrap()).await;
    verify_audit().await;
}

#[tokio::test]
async fn nobody_else_makes_a_task_that_carries_out_a_run() {
    let world = World::shared("forged").await;
    let mut claimed = crate::support::task("claimed", json!({"suspend": true}));
    claimed["metadata"]["annotations"] = json!({"jct.dev/run": "01KJMMA2G027CE4HT1RZKZBW4A"});
    let task = world.create(claimed).await;
    assert!(!task.metadata.annotations.unwrap().contains_key("jct.dev/run"));
    let added = world.patch("claimed", json!({"metadata": {"annotations": {"jct.dev/run": "x"}}})).await.unwrap();
    assert!(!added.metadata.annotations.unwrap().contains_key("jct.dev/run"));
}

#[rstest]
#[case::nul(json!({"title": "a\u{0}b"}), "spec.title")]
#[case::too_long(json!({"title": "x".repeat(513)}), "spec.title")]
#[case::two_targets(json!({"repo": {"id": "01KJMMA2G027CE4HT1RZKZBW4A"}}), "spec.repo")]
#[case::stuffed_meta(json!({"meta": {"text": "x".repeat(400 << 10)}}), "spec.meta")]
#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_place(#[case] change: Value, #[case] field: &str) {
    let world = World::shared("unfit").await;
    let api = objects(&world, Kind::Issue);
    let object: DynamicObject = serde_json::from_value(issue("bad", change)).unwrap();
    match api.create(&Default::default(), &object).await {
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 422, "{status:?}");
            assert!(status.message.contains(&format!("INVALID_SPEC: {field}")), "{}", status.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_field_is_an_error_as_kubectl_sends_it() {
    let world = World::shared("unknown").await;
    let error = apply(&world, &[issue("typo", json!({"contextPacket": []}))]).await.unwrap_err();
    assert!(error.contains("unknown field \"spec.contextPacket\""), "{error}");
}

#[tokio::test]
async fn what_is_nested_too_deep_is_refused_and_stalls_nothing() {
    let world = World::shared("deep").await;
    for depth in [200, 9_000, 20_000] {
        let meta = format!("{}{}", "{\"a\":".repeat(depth), "1".to_owned() + &"}".repeat(depth));
        let body = issue("deep", json!({"meta": "META"})).to_string().replace("\"META\"", &meta);
        let path = format!("/apis/jct.dev/v1/namespaces/{}/issues", world.namespace);
        let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
        let answer = world.client.request::<Value>(request.body(body.into_bytes()).unwrap()).await;
        assert!(matches!(&answer, Err(kube::Error::Api(status)) if status.code >= 400), "{depth}: {answer:?}");
    }
    apply(&world, &[repo("hello", NORMAL), issue("fine", json!({"meta": {"a": {"b": {"c": [1, null]}}}}))])
        .await
        .unwrap();
    resolved(&world, Kind::Issue, "fine").await;
}

/// What CEL and the controller hold while no webhook does; called by the test that has taken them away.
pub async fn held_without_webhooks(world: &World) {
    let all = [repo("hello", NORMAL), issue("greet", json!({})), packet("context", "greet")];
    apply(world, &all).await.unwrap();
    let object = resolved(world, Kind::ContextPacket, "context").await;
    assert_eq!(audit(&["--entity", &id(&object)]).await[0]["actor_id"], "unverified");
    for (kind, name, change, expected) in [
        (
            Kind::ContextPacket,
            "context",
            json!({"summary": "Other"}),
            "INVALID_SPEC: spec: a ContextPacket is immutable",
        ),
        (Kind::Repo, "hello", json!({"slug": "demo/other"}), "INVALID_SPEC: spec.slug: cannot change"),
        (Kind::Issue, "greet", json!({"repo": {"kind": "Run"}}), "INVALID_SPEC: spec.repo.kind: must be"),
    ] {
        match patch(world, kind, name, change).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {
                assert!(status.message.contains(expected), "{}", status.message);
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
    // What no static rule can decide.
    let stuffed = issue("stuffed", json!({"meta": {"text": "x".repeat(400 << 10)}}));
    let args = ["create", "--namespace", &world.namespace, "--filename=-"];
    run("kubectl", &args, &stuffed.to_string()).await.unwrap();
    wait_for(world, Kind::Issue, "stuffed", "Recorded", ("False", "InvalidSpec")).await;
}
