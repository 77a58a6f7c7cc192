//! The operator's own pods: found, waited for, killed, and the release changed under them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use super::{RELEASE_NAMESPACE, World, helm, kubectl, run, setting, until};

const SELECTOR: &str = "app.kubernetes.io/component=operator,app.kubernetes.io/name=jct";

/// The operator's pods that there are now, those that are ending too.
pub async fn operators(world: &World) -> Vec<Pod> {
    world.pods().list(&ListParams::default().labels(SELECTOR)).await.unwrap().items
}

/// Ends every operator as a lost node would: at once, without a word. The uids of the pods that there were.
pub async fn kill_operator(world: &World) -> BTreeSet<String> {
    let uids = operators(world).await.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
    let selector = format!("--selector={SELECTOR}");
    kubectl(&["delete", "pod", "--namespace", RELEASE_NAMESPACE, &selector, "--force", "--grace-period=0"]).await;
    uids
}

/// Waits for an operator that is ready and none of those `before`: what the Deployment says may be of the old ones.
pub async fn operator_besides(world: &World, before: &BTreeSet<String>) -> Pod {
    until("a new operator to be ready", async || {
        let pods = operators(world).await;
        let reported: Vec<String> = pods.iter().map(describe).collect();
        let new = pods.into_iter().find(|pod| {
            let is_new = pod.metadata.uid.as_ref().is_some_and(|uid| !before.contains(uid));
            is_new && pod.metadata.deletion_timestamp.is_none() && is_ready(pod)
        });
        new.ok_or_else(|| format!("{reported:?}"))
    })
    .await
}

/// Fails if an operator was restarted in its pod: nobody did that, so it ended by itself or by its probes.
pub async fn no_operator_restarted(world: &World) {
    for pod in operators(world).await {
        if restarts(&pod) == 0 {
            continue;
        }
        let name = pod.name_any();
        let previous = ["logs", &name, "--namespace", RELEASE_NAMESPACE, "--previous", "--tail=20"];
        let said = run("kubectl", &previous, "").await.unwrap_or_else(|error| error);
        panic!("the operator restarted by itself: {}; its last words:\n{said}", describe(&pod));
    }
}

/// A configuration that the operator reads again when it changes, as it is: of executors, or of retention.
pub async fn configuration(world: &World, of: &str) -> String {
    let found = maps(world).get(&format!("jct-{of}")).await.unwrap();
    found.data.unwrap()[&format!("{of}.yaml")].clone()
}

/// Writes such a configuration, and has the kubelet bring it with a change of the pod, not within its minute.
pub async fn configure(world: &World, of: &str, yaml: &str) {
    let patch = Patch::Merge(json!({"data": {format!("{of}.yaml"): yaml}}));
    maps(world).patch(&format!("jct-{of}"), &PatchParams::default(), &patch).await.unwrap();
    for pod in operators(world).await {
        let note = json!({"metadata": {"annotations": {format!("jct.dev/e2e-{of}"): yaml.len().to_string()}}});
        let _ = world.pods().patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(note)).await;
    }
}

fn maps(world: &World) -> Api<ConfigMap> {
    Api::namespaced(world.client.clone(), RELEASE_NAMESPACE)
}

/// Upgrades the release to its own values with some set otherwise, and waits until it is ready.
pub async fn upgrade(sets: &[&str]) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/jct");
    let values = setting("JCT_E2E_VALUES");
    let mut args = vec!["upgrade", "jct", chart, "--namespace", RELEASE_NAMESPACE, "--values", &values];
    for set in sets {
        args.extend(["--set", set]);
    }
    args.extend(["--wait", "--timeout", "100s"]);
    helm(&args).await;
}

/// Renders the chart with its own values and `sets`, which must fail; what helm says.
pub async fn helm_fails(sets: &[&str]) -> String {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/jct");
    let mut args = vec!["template", "jct", chart, "--kube-version", "1.35.0"];
    for set in sets {
        args.extend(["--set", set]);
    }
    run("helm", &args, "").await.expect_err("helm took it")
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

pub fn restarts(pod: &Pod) -> i32 {
    container(pod).map_or(0, |status| status.restart_count)
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn describe(pod: &Pod) -> String {
    let ending = if pod.metadata.deletion_timestamp.is_some() { ", ending" } else { "" };
    let state = container(pod).map(|status| (&status.state, &status.last_state));
    format!("{} ready={} restarts={}{ending} {state:?}", pod.name_any(), is_ready(pod), restarts(pod))
}
