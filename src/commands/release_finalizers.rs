//! `jct release-finalizers`: lets go of every Task, so that none hangs once the operator is uninstalled.

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use crate::crd::Task;
use crate::crd::names::FINALIZER;

/// Takes our finalizer off every Task in the cluster. Records and traces stay.
///
/// # Errors
/// If the API server does not answer or refuses.
pub async fn run() -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    let all: Api<Task> = Api::all(client.clone());
    let mut page = ListParams::default().limit(500);
    let mut released = 0;
    loop {
        let tasks = match all.list_metadata(&page).await {
            Err(kube::Error::Api(status)) if status.code == 404 => break,
            tasks => tasks.context("cannot list Tasks")?,
        };
        let held = tasks.items.iter().filter(|task| task.finalizers().iter().any(|name| name == FINALIZER));
        let results: Vec<anyhow::Result<()>> = futures::stream::iter(held.cloned())
            .map(|task| release(client.clone(), task))
            .buffer_unordered(16)
            .collect()
            .await;
        released += results.len();
        results.into_iter().collect::<anyhow::Result<()>>()?;
        match tasks.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    info!(released, "Tasks are let go");
    Ok(())
}

async fn release(client: Client, task: PartialObjectMeta<Task>) -> anyhow::Result<()> {
    let (namespace, name) = (task.namespace().unwrap_or_default(), task.name_any());
    let kept: Vec<&String> = task.finalizers().iter().filter(|name| *name != FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": task.metadata.resource_version, "finalizers": kept}});
    let api: Api<Task> = Api::namespaced(client, &namespace);
    match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot release Task {namespace}/{name}")),
    }
}
