//! `jct release-finalizers`: lets go of every Task and work object, so that none hangs once the operator is uninstalled.

use anyhow::Context as _;
use clap::Args;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use crate::crd::Task;
use crate::crd::cwom::api_resource;
use crate::crd::names::FINALIZER;
use crate::domain::cwom::Kind;

/// Arguments of `jct release-finalizers`.
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// Do nothing while this Deployment, an operator's, is there: the Job of an uninstall that was applied by mistake
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub unless_installed: Option<String>,
}

/// Takes our finalizer off every Task and every work object in the cluster. Records and traces stay.
///
/// # Errors
/// If the API server does not answer or refuses.
pub async fn run(args: ReleaseArgs) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot find the Kubernetes API server")?;
    if let Some(deployment) = &args.unless_installed
        && is_installed(&client, deployment).await?
    {
        info!(deployment, "the operator is installed and releases what is deleted itself: nothing is let go");
        return Ok(());
    }
    let kinds = Kind::ALL.iter().map(|kind| api_resource(*kind));
    // Tasks first: a Run that is let go of may take its Task with it.
    for resource in [ApiResource::erase::<Task>(&())].into_iter().chain(kinds) {
        let released = release_all(&client, &resource).await?;
        info!(released, kind = resource.kind, "objects are let go");
    }
    Ok(())
}

/// Whether the Deployment `namespace/name` is there, and not on its way out.
async fn is_installed(client: &Client, deployment: &str) -> anyhow::Result<bool> {
    let (namespace, name) = deployment.split_once('/').context("--unless-installed: must be NAMESPACE/NAME")?;
    let resource = ApiResource::erase::<Deployment>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let found = api.get_metadata_opt(name).await.with_context(|| format!("cannot look for Deployment {deployment}"))?;
    Ok(found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()))
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

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// A client of an API server that has this Deployment, or none.
    fn cluster(deployment: Option<serde_json::Value>) -> Client {
        let answer = deployment.map_or_else(
            || (404, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"})),
            |metadata| (200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})),
        );
        let service = tower::service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri().path(), "/apis/apps/v1/namespaces/jct-system/deployments/jct");
            let (status, body) = answer.clone();
            let response = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            async move { response }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn nothing_is_released_while_an_operator_is_installed() {
        let is_installed = async |deployment| is_installed(&cluster(deployment), "jct-system/jct").await.unwrap();
        assert!(is_installed(Some(json!({"name": "jct"}))).await);
        assert!(!is_installed(Some(json!({"name": "jct", "deletionTimestamp": "2026-03-01T12:00:00Z"}))).await);
        assert!(!is_installed(None).await);
    }
}
