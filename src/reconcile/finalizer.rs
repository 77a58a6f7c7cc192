//! Our finalizer: added to what came past the webhooks, taken off once a deletion is recorded.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Error;
use crate::crd::names::FINALIZER;

/// Adds the finalizer to the object of this name and uid, if it has none. API server.
///
/// # Errors
/// [`Error::Api`] if the API server refuses, also where the name has passed to another object.
pub async fn add<K>(api: &Api<K>, name: &str, uid: &str) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let object = api.get_metadata(name).await.map_err(Error::api("read finalizers"))?;
    let mut finalizers = object.metadata.finalizers.unwrap_or_default();
    if finalizers.iter().any(|name| name == FINALIZER) {
        return Ok(());
    }
    finalizers.push(FINALIZER.into());
    let version = object.metadata.resource_version;
    let patch = json!({"metadata": {"uid": uid, "resourceVersion": version, "finalizers": finalizers}});
    let added = api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    added.map(|_| ()).map_err(Error::api("add the finalizer"))
}

/// Takes our finalizer off the object of this name and uid, and no other. API server.
///
/// # Errors
/// [`Error::Api`] if the API server refuses. An object that is gone is no error.
pub async fn remove<K>(api: &Api<K>, name: &str, uid: &str) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let Some(object) = Error::unless_gone("read finalizers", api.get_metadata(name).await)? else { return Ok(()) };
    let mut finalizers = object.metadata.finalizers.unwrap_or_default();
    if object.metadata.uid.as_deref() != Some(uid) || !finalizers.iter().any(|name| name == FINALIZER) {
        return Ok(());
    }
    finalizers.retain(|name| name != FINALIZER);
    let patch = json!({"metadata": {"resourceVersion": object.metadata.resource_version, "finalizers": finalizers}});
    let removed = api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    Error::unless_gone("remove the finalizer", removed).map(drop)
}
