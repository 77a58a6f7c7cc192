//! What the admission webhooks refuse, and how: 422 Invalid, the code first, a cause for each finding.

use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DynamicObject, GroupVersionKind};
use kube::core::ApiResource;
use kube::core::Status;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{RELEASE_NAMESPACE, World, audit, kubectl, run, setting, task, until};

/// Code and field of each cause.
fn causes(status: &Status) -> Vec<(&str, &str)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| (cause.reason.as_str(), cause.field.as_str())).collect()
}

fn is_a_denial(status: &Status, first_code: &str) -> bool {
    let prefix = "admission webhook \"mutate.tasks.jct.dev\" denied the request: ";
    let message = status.message.strip_prefix(prefix).unwrap_or_default();
    status.code == 422 && status.reason == "Invalid" && message.starts_with(&format!("{first_code}: "))
}

#[rstest]
#[case::version(json!({"version": "2.0"}), "INVALID_SPEC", "spec.version")]
#[case::blank_objective(json!({"objective": " \t\n      "}), "INVALID_SPEC", "spec.objective")]
#[case::no_objective(json!({"objective": null}), "INVALID_SPEC", "spec.objective")]
#[case::operation(json!({"operation": "deploy"}), "INVALID_OPERATION", "spec.operation")]
#[case::requester(json!({"requestedBy": {"kind": "robot"}}), "INVALID_SPEC", "spec.requestedBy.kind")]
#[case::budget_29(json!({"constraints": {"timeBudgetSeconds": 29}}), "TIME_BUDGET_TOO_LOW", "spec.constraints.timeBudgetSeconds")]
#[case::budget_negative(json!({"constraints": {"timeBudgetSeconds": -1}}), "TIME_BUDGET_TOO_LOW", "spec.constraints.timeBudgetSeconds")]
#[case::budget_86401(json!({"constraints": {"timeBudgetSeconds": 86_401}}), "TIME_BUDGET_TOO_HIGH", "spec.constraints.timeBudgetSeconds")]
#[case::budget_of_64_bits(json!({"constraints": {"timeBudgetSeconds": 1_u64 << 63}}), "TIME_BUDGET_TOO_HIGH", "spec.constraints.timeBudgetSeconds")]
#[case::network(json!({"constraints": {"allowNetwork": true}}), "NETWORK_ACCESS_DENIED", "spec.constraints.allowNetwork")]
#[case::secrets(json!({"constraints": {"allowSecrets": true}}), "SECRETS_ACCESS_DENIED", "spec.constraints.allowSecrets")]
#[case::other_owner(json!({"target": {"repo": "other/thing"}}), "REPO_NOT_ALLOWED", "spec.target.repo")]
#[case::owner_that_begins_alike(json!({"target": {"repo": "demolition/x"}}), "REPO_NOT_ALLOWED", "spec.target.repo")]
#[case::shorter_than_a_half_name(json!({"target": {"repo": "half/n"}}), "REPO_NOT_ALLOWED", "spec.target.repo")]
#[case::repo_upwards(json!({"target": {"repo": "../x"}}), "INVALID_SPEC", "spec.target.repo")]
#[case::repo_with_credentials(json!({"target": {"repo": "https://user:pw@host/x"}}), "INVALID_SPEC", "spec.target.repo")]
#[case::repo_of_three_parts(json!({"target": {"repo": "demo/b/c"}}), "INVALID_SPEC", "spec.target.repo")]
#[case::no_repo(json!({"target": {"repo": null}}), "INVALID_SPEC", "spec.target.repo")]
#[case::option_as_ref(json!({"target": {"ref": "--upload-pack=touch /tmp/x"}}), "INVALID_SPEC", "spec.target.ref")]
#[case::path_upwards(json!({"target": {"path": "../../etc"}}), "INVALID_SPEC", "spec.target.path")]
#[case::attempts(json!({"maxAttempts": 11}), "INVALID_SPEC", "spec.maxAttempts")]
#[case::a_mebibyte_of_inputs(json!({"inputs": {"text": "x".repeat(1 << 20)}}), "INVALID_SPEC", "spec.inputs")]
#[tokio::test]
async fn a_bad_task_is_denied_with_its_code(#[case] change: Value, #[case] code: &str, #[case] field: &str) {
    let world = World::shared("door").await;
    let status = world.denied(&task("bad", change)).await;
    assert!(is_a_denial(&status, code), "{status:?}");
    assert_eq!(causes(&status), [(code, field)]);
    let message = &status.details.as_ref().unwrap().causes[0].message;
    assert!(message.starts_with(&format!("{code}: ")), "{message}");
    assert!(!format!("{status:?}").contains("user:pw"), "credentials are repeated: {status:?}");
    assert!(world.tasks().get_opt("bad").await.unwrap().is_none());
}

#[tokio::test]
async fn all_findings_are_told_in_the_contracts_order() {
    let world = World::shared("door").await;
    let bad = json!({
        "operation": "deploy", "target": {"repo": "other/thing"},
        "constraints": {"timeBudgetSeconds": 5, "allowNetwork": true, "allowSecrets": true},
    });
    let status = world.denied(&task("bad", bad)).await;
    assert!(is_a_denial(&status, "INVALID_OPERATION"), "{status:?}");
    assert_eq!(
        causes(&status),
        [
            ("INVALID_OPERATION", "spec.operation"),
            ("REPO_NOT_ALLOWED", "spec.target.repo"),
            ("TIME_BUDGET_TOO_LOW", "spec.constraints.timeBudgetSeconds"),
            ("NETWORK_ACCESS_DENIED", "spec.constraints.allowNetwork"),
            ("SECRETS_ACCESS_DENIED", "spec.constraints.allowSecrets"),
        ]
    );
}

#[rstest]
#[case::least_budget(json!({"constraints": {"timeBudgetSeconds": 30}}))]
#[case::greatest_budget(json!({"constraints": {"timeBudgetSeconds": 86_400}}))]
#[case::no_budget(json!({"constraints": {"timeBudgetSeconds": null}}))]
#[case::spelling_of_repo(json!({"target": {"repo": "Demo/Normal.git"}}))]
#[case::prefix_of_half_a_name(json!({"target": {"repo": "half/name"}}))]
#[case::aliases(json!({"operation": null, "type": "docs", "target": {"repo": null, "repository": "demo/normal"}}))]
#[tokio::test]
async fn what_is_just_good_is_admitted(#[case] change: Value) {
    let world = World::shared("door").await;
    world.try_create(&world.client, &task("good", change), "dryRun=All").await.unwrap();
}

#[tokio::test]
async fn an_unknown_field_is_an_error_as_kubectl_sends_it() {
    let world = World::shared("door").await;
    let manifest = task("typo", json!({"timeBudgetSeconds": 60}));
    let status = world.denied(&manifest).await;
    assert_eq!((status.code, status.reason.as_str()), (400, "BadRequest"));
    assert!(status.message.contains("unknown field \"spec.timeBudgetSeconds\""), "{}", status.message);

    let args = ["apply", "--namespace", &world.namespace, "--filename=-"];
    let error = run("kubectl", &args, &manifest.to_string()).await.unwrap_err();
    assert!(error.contains("unknown field \"spec.timeBudgetSeconds\""), "{error}");
}

#[tokio::test]
async fn kubectl_shows_the_code_to_people() {
    let world = World::shared("door").await;
    let manifest = task("bad", json!({"target": {"repo": "other/thing"}, "constraints": {"allowNetwork": true}}));
    let args = ["apply", "--namespace", &world.namespace, "--filename=-"];
    let error = run("kubectl", &args, &manifest.to_string()).await.unwrap_err();
    for expected in ["REPO_NOT_ALLOWED", "spec.target.repo", "NETWORK_ACCESS_DENIED", "spec.constraints.allowNetwork"] {
        assert!(error.contains(expected), "{expected} is missing: {error}");
    }
}

#[tokio::test]
async fn a_denial_is_counted() {
    let world = World::shared("door").await;
    let counted = async || {
        let page = world.metrics().await;
        let line = r#"jct_admission_reviews_total{webhook="mutate",result="SECRETS_ACCESS_DENIED"} "#;
        page.lines().find_map(|found| found.strip_prefix(line)).map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let before = counted().await;
    world.denied(&task("bad", json!({"constraints": {"allowSecrets": true}}))).await;
    until("the denial to be counted", async || {
        let now = counted().await;
        if now > before { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_denial_is_in_the_audit_log_with_who_and_why() {
    let world = World::shared("door").await;
    let user = "ada@example.org";
    world.allow(user).await;
    let manifest = task("bad", json!({"target": {"repo": "other/thing"}, "inputs": {"text": "hunter2"}}));
    let apply = ["apply", "--namespace", &world.namespace, "--as", user, "--filename=-"];
    run("kubectl", &[&apply[..], &["--dry-run=server"]].concat(), &manifest.to_string()).await.unwrap_err();
    run("kubectl", &apply, &manifest.to_string()).await.unwrap_err();
    let namespace = json!(world.namespace);
    let denials = async || {
        let mut entries = audit(&["--kind=AdmissionDenial"]).await;
        entries.retain(|entry| entry["after"]["namespace"] == namespace && entry["after"]["user"] == user);
        entries
    };
    let entries = until("the denial to be written down", async || {
        let entries = denials().await;
        if entries.is_empty() { Err("no entry".into()) } else { Ok(entries) }
    })
    .await;
    let [entry] = entries.as_slice() else { panic!("once, and no dry run: {entries:?}") };
    let known = is_known_by_its_certificate();
    assert_eq!(entry["after"]["authenticated"], json!(known));
    let actor = if known { user } else { "jct-webhook" };
    assert_eq!((&entry["actor_id"], &entry["action"]), (&json!(actor), &json!("created")));
    let after = &entry["after"];
    assert_eq!(
        (&after["name"], &after["operation"], &after["door"]),
        (&json!("bad"), &json!("CREATE"), &json!("kubernetes"))
    );
    assert_eq!(after["codes"], json!(["REPO_NOT_ALLOWED"]));
    assert_eq!(after["findings"][0]["field"], json!("spec.target.repo"));
    assert!(!entry.to_string().contains("hunter2"), "the spec is in the log: {entry}");
}

#[tokio::test]
async fn other_kinds_are_none_of_its_business() {
    let world = World::shared("door").await;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    let maps: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    maps.create(&Default::default(), &DynamicObject::new("free", &resource)).await.unwrap();
}

/// Whether the API server of this cluster shows webhooks a certificate: one that was made by an older up.sh does not.
fn is_known_by_its_certificate() -> bool {
    std::path::Path::new(&setting("JCT_E2E_STATE")).join("webhook-client").exists()
}

#[tokio::test]
async fn a_stranger_at_the_webhook_is_not_answered() {
    if !is_known_by_its_certificate() {
        return eprintln!("this cluster is from before its API server had a certificate for webhooks");
    }
    let world = World::shared("door").await;
    let services: Api<Service> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    let address = services.get("jct-webhook").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    let forged = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "forged", "operation": "CREATE", "name": "t", "namespace": world.namespace,
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Task"},
            "resource": {"group": "jct.dev", "version": "v1", "resource": "tasks"},
            "userInfo": {"username": "ceo@example.org"},
            "object": {"metadata": {"name": "t"}, "spec": {"operation": "dance"}},
        },
    })
    .to_string();
    let length = forged.len();
    let head = format!("POST /mutate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let exec = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cluster/exec.sh");
    let target = format!("{address}:443");
    let cluster = setting("JCT_E2E_CLUSTER");
    let args = [&cluster, "openssl", "s_client", "-quiet", "-connect", &target];
    let answer = run(exec, &args, &(head + &forged)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    // The control: the API server is answered on the same port.
    let denied = world.denied(&task("bad", json!({"constraints": {"allowSecrets": true}}))).await;
    assert!(denied.message.contains("SECRETS_ACCESS_DENIED"), "{denied:?}");
    let forged = audit(&["--kind=AdmissionDenial"]).await;
    assert!(!forged.iter().any(|entry| entry["after"]["user"] == "ceo@example.org"));
}

#[tokio::test]
async fn a_denial_is_told_by_an_event_of_its_namespace_and_a_dry_run_by_none() {
    let world = World::shared("told").await;
    let refused = task("refused", json!({"target": {"repo": "other/thing"}}));
    let namespace = format!("--namespace={}", world.namespace);
    let dry_run = ["create", &namespace, "--dry-run=server", "--filename=-"];
    let only_tried = task("tried", json!({"target": {"repo": "other/thing"}, "objective": "Only a try"}));
    run("kubectl", &dry_run, &only_tried.to_string()).await.unwrap_err();
    world.denied(&refused).await;
    let events = async || kubectl(&["get", "events", &namespace, "--output=json"]).await;
    let of_task = |events: String| -> Option<Value> {
        let events: Value = serde_json::from_str(&events).unwrap();
        let mut all = events["items"].as_array().unwrap().iter();
        all.find(|event| event["involvedObject"]["name"] == "refused").cloned()
    };
    let reported =
        until("the Event of a denial", async || of_task(events().await).ok_or_else(|| "nothing".into())).await;
    assert_eq!((&reported["reason"], &reported["type"]), (&json!("REPO_NOT_ALLOWED"), &json!("Warning")));
    assert_eq!(reported["involvedObject"]["uid"], Value::Null);
    assert!(reported["message"].as_str().unwrap().contains("REPO_NOT_ALLOWED: spec.target.repo"), "{reported}");
    let shown = kubectl(&["events", &namespace, "--for=task.jct.dev/refused"]).await;
    assert!(shown.contains("REPO_NOT_ALLOWED"), "{shown}");
    assert!(!events().await.contains("tried"), "it came first, and a dry run leaves nothing");
}

#[tokio::test]
async fn a_task_too_large_for_client_side_apply_is_told_the_way_out_which_works() {
    let world = World::shared("large").await;
    let large = task("large", json!({"suspend": true, "inputs": {"text": "x".repeat(255 * 1024 + 900)}})).to_string();
    let namespace = format!("--namespace={}", world.namespace);
    let apply = ["apply", &namespace, "--filename=-"];
    let said = run("kubectl", &apply, &large).await.unwrap_err();
    assert!(said.contains("metadata.annotations: Too long: may not be more than 262144 bytes"), "{said}");
    assert!(said.contains("Warning: ") && said.contains("kubectl apply --server-side"), "{said}");
    run("kubectl", &[&apply[..], &["--server-side"]].concat(), &large).await.unwrap();
    world.wait_for_reason("large", "Suspended").await;
}
