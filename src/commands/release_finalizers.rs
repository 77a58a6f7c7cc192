//! `jct release-finalizers`: lets go of every Task and work object, so that none hangs once the operator is uninstalled.

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use crate::crd::Task;
use crate::crd::cwom::api_resource;
use crate::crd::names::FINALIZER;
use crate::domain::cwom::Kind;

/// Takes our finalizer off every Task and every work object in the cluster. Records and traces stay.
///
/// # Errors
/// If the API server does not answer or refuses.
pub async fn run() -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    let kinds = Kind::ALL.iter().map(|kind| api_resource(*kind));
    // Tasks first: a Run that is let go of may take its Task with it.
    for resource in [ApiResource::erase::<Task>(&())].into_iter().chain(kinds) {
        let released = release_all(&client, &resource).await?;
        info!(released, kind = resource.kind, "objects are let go");
    }
    Ok(())
}

async fn release_all(client: &Client, resource: &ApiResource) -> anyhow::Result<usize> {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let mut page = ListParams::default().limit(500);
    let mut released = 0;
    loop {
        let objects = match all.list_metadata(&page).await {
            Err(kube::Error::Api(status)) if status.code == 404 => break,
            objects => objects.with_context(|| format!("cannot list {}", resource.plural))?,
        };
        let held = objects.items.iter().filter(|object| object.finalizers().iter().any(|name| name == FINALIZER));
        let results: Vec<anyhow::Result<()>> = futures::stream::iter(held.cloned())
            .map(|object| release(client.clone(), resource, object))
            .buffer_unordered(16)
            .collect()
            .await;
        released += results.len();
        results.into_iter().collect::<anyhow::Result<()>>()?;
        match objects.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    Ok(released)
}

async fn release(
    client: Client,
    resource: &ApiResource,
    object: PartialObjectMeta<DynamicObject>,
) -> anyhow::Result<()> {
    let (namespace, name) = (object.metadata.namespace.unwrap_or_default(), object.metadata.name.unwrap_or_default());
    let finalizers = object.metadata.finalizers.unwrap_or_default();
    let kept: Vec<&String> = finalizers.iter().filter(|name| *name != FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": object.metadata.resource_version, "finalizers": kept}});
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, resource);
    match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot release {} {namespace}/{name}", resource.kind)),
    }
}
