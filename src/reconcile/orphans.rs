//! Tasks whose object went without our seeing it: the finalizer was taken off by hand, or the cluster was restored from an
//! older backup. Their Jobs are ended and their record is closed; nothing runs on for nobody.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::task::{Object, close};
use super::{Context, Error};
use crate::store::OpenTask;

/// How often the record is held against the objects.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks for orphans until `shutdown`.
pub async fn watch(context: Arc<Context>, objects: Store<Object>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = sweep(&context, &objects).await {
            warn!(%error, category = error.category(), "orphans could not be looked for");
        }
    }
}

async fn sweep(context: &Context, objects: &Store<Object>) -> Result<(), Error> {
    let lost: BTreeSet<String> =
        objects.state().iter().filter(|object| object.is_lost()).filter_map(|object| object.uid()).collect();
    context.metrics.records_lost.set(lost.len() as i64);
    context.lost.set(lost);
    let mut after = None;
    loop {
        let page = context.store.unfinished(after).await.map_err(Error::store("list Tasks that have not ended"))?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for task in &page {
            if is_orphan(context, objects, task).await? {
                info!(task_id = %task.id, namespace = task.namespace, name = task.name, "Task without an object is closed");
                close(context, task.id, task.is_second).await?;
            }
        }
    }
}

async fn is_orphan(context: &Context, objects: &Store<Object>, task: &OpenTask) -> Result<bool, Error> {
    let api: Api<Object> = Api::namespaced(context.client.clone(), &task.namespace);
    if task.is_second {
        // The object has its record; this one only goes on for nobody.
        return Ok(true);
    }
    let reference = ObjectRef::new(&task.name).within(&task.namespace);
    is_gone(&api, objects, &reference, &task.uid).await
}

/// Whether the object of this uid is no longer there. The cache may lag: that it is gone is confirmed at the API server.
///
/// # Errors
/// [`Error::Api`] if the API server does not answer.
pub async fn is_gone<K>(api: &Api<K>, objects: &Store<K>, reference: &ObjectRef<K>, uid: &str) -> Result<bool, Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
    K::DynamicType: Eq + Hash + Clone,
{
    if objects.get(reference).is_some_and(|object| object.uid().as_deref() == Some(uid)) {
        return Ok(false);
    }
    let found = api.get_metadata_opt(&reference.name).await.map_err(Error::api("look for an object"))?;
    Ok(found.is_none_or(|object| object.uid().as_deref() != Some(uid)))
}
