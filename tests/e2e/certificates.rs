//! The webhook's certificates: lost or replaced under the operator, they come back by themselves.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Api, ListParams, Patch, PatchParams};
use rstest::rstest;
use serde_json::json;

use crate::support::{RELEASE_NAMESPACE, World, run, setting, task, until};

/// What the API server trusts, by both configurations.
pub async fn bundles(world: &World) -> Vec<String> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(world.client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
    let mutating = mutating.get("jct").await.unwrap().webhooks.unwrap_or_default();
    let validating = validating.get("jct").await.unwrap().webhooks.unwrap_or_default();
    let bundles = mutating.into_iter().map(|hook| hook.client_config.ca_bundle);
    let bundles = bundles.chain(validating.into_iter().map(|hook| hook.client_config.ca_bundle));
    bundles.map(|bundle| String::from_utf8(bundle.map(|bytes| bytes.0).unwrap_or_default()).unwrap()).collect()
}

/// The certificate that the webhook serves, as openssl shows it.
async fn served(world: &World) -> String {
    let services: Api<Service> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    let address = services.get("jct-webhook").await.unwrap().spec.unwrap().cluster_ip.unwrap();
    let exec = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cluster/exec.sh");
    let target = format!("{address}:443");
    let cluster = setting("JCT_E2E_CLUSTER");
    let name = "jct-webhook.jct-system.svc";
    let args = [&cluster, "openssl", "s_client", "-connect", &target, "-servername", name];
    let session = run(exec, &args, "").await.unwrap();
    let begin = session.find("-----BEGIN CERTIFICATE-----").unwrap();
    let end = session.find("-----END CERTIFICATE-----").unwrap();
    session[begin..end].trim().to_owned()
}

async fn operator_pods(world: &World) -> Vec<(String, i32)> {
    let pods = ListParams::default().labels("app.kubernetes.io/component=operator");
    let pods = world.pods().list(&pods).await.unwrap().items;
    let restarts = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).map(|c| c.restart_count).sum()
    };
    pods.iter().map(|pod| (pod.metadata.uid.clone().unwrap(), restarts(pod))).collect()
}

#[rstest]
#[case::certificate(&["tls.crt", "tls.key"], false)]
#[case::all_but_the_stamp_key(&["ca.crt", "ca.key", "tls.crt", "tls.key"], true)]
#[tokio::test]
async fn lost_certificates_come_back(#[case] lost: &[&str], #[case] ca_too: bool) {
    let world = World::alone("certificates").await;
    let before = (served(&world).await, bundles(&world).await, operator_pods(&world).await);
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), RELEASE_NAMESPACE);
    let blank: serde_json::Map<_, _> = lost.iter().map(|name| (name.to_string(), json!(""))).collect();
    secrets.patch("jct-webhook", &PatchParams::default(), &Patch::Merge(json!({"data": blank}))).await.unwrap();

    let secret = until("the Secret to be filled again", async || {
        let data = secrets.get("jct-webhook").await.unwrap().data.unwrap_or_default();
        let text = |name: &str| String::from_utf8(data[name].0.clone()).unwrap();
        if lost.iter().all(|name| !text(name).is_empty()) {
            Ok((text("tls.crt"), text("ca.crt")))
        } else {
            Err(String::new())
        }
    })
    .await;
    until("the new certificate to be served", async || {
        let now = served(&world).await;
        if now != before.0 && secret.0.contains(&now) { Ok(()) } else { Err(now) }
    })
    .await;
    until("the configurations to trust the CA", async || {
        let now = bundles(&world).await;
        if now.iter().all(|bundle| bundle.contains(secret.1.trim())) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    until("Tasks to be admitted", async || {
        let answer = world.try_create(&world.client, &task("dry", json!({})), "dryRun=All").await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(bundles(&world).await != before.1, ca_too);
    assert_eq!(operator_pods(&world).await, before.2, "the operator was restarted");
    world.create(task("runs", json!({}))).await;
    world.wait_for("runs", "Completed").await;
}

#[tokio::test]
async fn the_expiry_is_a_metric() {
    let world = World::shared("expiry").await;
    let page = world.metrics().await;
    let expiry = page.lines().find_map(|line| line.strip_prefix("jct_webhook_certificate_expiry_timestamp_seconds "));
    let expiry: f64 = expiry.unwrap_or_else(|| panic!("{page}")).parse().unwrap();
    let days = (expiry - jiff::Timestamp::now().as_second() as f64) / 86_400.0;
    assert!((1.0..=90.1).contains(&days), "ends in {days} days");
}
