//! Signed traces on a real cluster: of every outcome, checked by the program that people have, through all a key goes through.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{RELEASE_NAMESPACE, Rest, Task, Trace, World, jct, reason, setting, task, until};

const SECRET: &str = "jct-signing";

/// The public keys, as anybody gets them.
async fn keys() -> Value {
    let rest = Rest::open().await;
    let (status, body) = rest.call("GET", "/keys", "", "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn ids(keys: &Value) -> Vec<String> {
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Exit code and output of `jct trace verify`, offline.
fn verify(folder: &Path, keys: &Value) -> (i32, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), keys.to_string()).unwrap();
    let mut command = Command::new(setting("JCT_E2E_BINARY"));
    let output = command.args(["trace", "verify", "--keys"]).arg(file.path()).arg(folder).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The trace, once it is signed.
async fn signed(world: &World, task: &Task) -> Trace {
    let trace = Trace::of(world, task).await;
    until("the provenance", async || {
        if trace.folder.join("provenance.dsse.json").is_file() { Ok(()) } else { Err("not signed".into()) }
    })
    .await;
    trace
}

fn statement(trace: &Trace) -> Value {
    let envelope = trace.json("provenance.dsse.json");
    serde_json::from_slice(&STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()).unwrap()
}

fn signed_by(trace: &Trace) -> String {
    trace.json("provenance.dsse.json")["signatures"][0]["keyid"].as_str().unwrap().to_owned()
}

#[rstest]
#[case::completed("analysis", "Completed", "Completed")]
#[case::failed("failing", "Failed", "ExecutorFailed")]
#[case::out_of_memory("glutton", "Failed", "OOMKilled")]
#[case::out_of_time("hasty", "Failed", "TimeBudgetExceeded")]
#[tokio::test]
async fn every_outcome_is_signed_with_what_it_ran_on(#[case] executor: &str, #[case] phase: &str, #[case] why: &str) {
    let world = World::shared("signed").await;
    world.create(task("signed", json!({"executor": executor}))).await;
    let task = world.wait_for("signed", phase).await;
    assert_eq!(reason(&task), why, "{:?}", task.status);
    let trace = signed(&world, &task).await;
    let keys = keys().await;
    let (code, reported) = verify(&trace.folder, &keys);
    assert_eq!(code, 0, "{reported}");

    let statement = statement(&trace);
    let subject = &statement["subject"][0];
    assert_eq!(
        json!(task.status.as_ref().unwrap().trace.as_ref().unwrap().manifest_sha256),
        subject["digest"]["sha256"]
    );
    let build = &statement["predicate"]["buildDefinition"];
    assert_eq!(build["externalParameters"]["objective"], "Tell what is there");
    let dependencies = build["resolvedDependencies"].as_array().unwrap();
    let commit = &trace.json("manifest.json")["source"]["commit"];
    assert!(dependencies.iter().any(|found| found["digest"]["gitCommit"] == *commit), "{dependencies:#?}");
    for container in ["source", "executor", "worker"] {
        let image = dependencies.iter().find(|found| found["name"] == container);
        let digest = image.map(|image| image["digest"]["sha256"].as_str().unwrap_or_default().len());
        assert_eq!(digest, Some(64), "{container}: {dependencies:#?}");
    }

    // On a copy: the operator's own stays as it is.
    let copy = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-r").arg(&trace.folder).arg(copy.path().join("1")).status().unwrap();
    assert!(status.success());
    let log = copy.path().join("1/trace.log");
    let changed = String::from_utf8(std::fs::read(&log).unwrap()).unwrap().replacen('Z', "z", 1);
    Command::new("chmod").args(["-R", "u+w"]).arg(copy.path()).status().unwrap();
    std::fs::write(&log, changed).unwrap();
    let (code, reported) = verify(copy.path(), &keys);
    assert!(code == 1 && reported.contains("trace.log"), "{code}: {reported}");
}

#[tokio::test]
async fn keys_are_changed_and_lost_and_what_was_signed_still_verifies() {
    let world = World::shared("keys").await;
    world.create(task("before", json!({}))).await;
    let before = signed(&world, &world.wait_for("before", "Completed").await).await;
    let first = keys().await;
    let shown: Value = serde_json::from_str(&jct(&["keys", "show"], "").await).unwrap();
    assert_eq!(shown, first, "without a token, the same as within");
    assert_eq!(signed_by(&before), ids(&first)[0]);

    let reported = jct(&["keys", "rotate"], "").await;
    let second = until("the operator to take the new key up", async || {
        let keys = keys().await;
        if reported.contains(&ids(&keys)[0]) { Ok(keys) } else { Err(keys.to_string()) }
    })
    .await;
    assert_eq!(ids(&second)[1..], ids(&first), "the one before stays known");
    world.create(task("after", json!({}))).await;
    let after = signed(&world, &world.wait_for("after", "Completed").await).await;
    assert_eq!(signed_by(&after), ids(&second)[0]);
    for trace in [&before, &after] {
        assert_eq!(verify(&trace.folder, &second).0, 0, "{}", verify(&trace.folder, &second).1);
    }
    assert_eq!(verify(&after.folder, &first).0, 1, "a key that is not among those that one trusts");

    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    until("the Secret to be made again", async || match secrets.get_opt(SECRET).await.unwrap() {
        Some(secret) if secret.data.as_ref().is_some_and(|data| data.contains_key("signing.key")) => Ok(()),
        other => Err(format!("{:?}", other.map(|secret| secret.metadata.resource_version))),
    })
    .await;
    let third = until("the new key to be in use", async || {
        let keys = keys().await;
        if ids(&keys).len() == ids(&second).len() + 1 { Ok(keys) } else { Err(keys.to_string()) }
    })
    .await;
    assert_eq!(ids(&third)[1..], ids(&second), "no public key is lost");
    for trace in [&before, &after] {
        assert_eq!(verify(&trace.folder, &third).0, 0);
    }
}
