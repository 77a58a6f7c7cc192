//! `jct check` is the cluster's gate: what it says of odd manifests is what kubectl gets for an answer of a real API server.

use std::path::Path;

use futures::StreamExt as _;
use serde_json::json;

use crate::odd_manifests::{Odd, Verdict, corpus};
use crate::support::{World, kubectl, run, task, until, upgrade};

/// The manifests whose verdict is another one than `expected` has it.
async fn disagreements(folder: &Path, expected: impl Fn(&Odd) -> Verdict) -> Vec<String> {
    let asked = corpus().into_iter().enumerate().map(|(index, odd)| async move {
        let file = folder.join(index.to_string());
        std::fs::write(&file, &odd.bytes).unwrap();
        let file = file.to_str().unwrap();
        let arguments = ["create", "--dry-run=server", "--namespace=default", "--filename", file];
        (odd, run("kubectl", &arguments, "").await)
    });
    let answers = futures::stream::iter(asked).buffer_unordered(4);
    let wrong = answers.filter_map(|(odd, answer)| {
        let verdict = if answer.is_ok() { Verdict::Accepted } else { Verdict::Refused };
        let reported = format!("{}: {verdict:?}: {:.300}", odd.name, answer.unwrap_or_else(|error| error));
        std::future::ready((verdict != expected(&odd)).then_some(reported))
    });
    wrong.collect().await
}

#[tokio::test]
async fn odd_manifests_are_judged_as_the_offline_gate_has_it() {
    let world = World::alone("odd").await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = disagreements(folder.path(), |odd| odd.cluster).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    kubectl(&["delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "jct"]).await;
    let other = task("probe", json!({"target": {"repo": "other/thing"}}));
    until("the webhooks to be out of the way", async || {
        world.try_create(&world.client, &other, "dryRun=All").await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let wrong = disagreements(folder.path(), |odd| odd.without_webhooks).await;
    upgrade(&[]).await;
    until("the webhook to deny again", async || match world.try_create(&world.client, &other, "dryRun=All").await {
        Err(kube::Error::Api(status)) if status.message.contains("REPO_NOT_ALLOWED") => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
    assert!(wrong.is_empty(), "without webhooks: {}", wrong.join("\n"));
}
