//! Tasks whose object went without our seeing it: the finalizer was taken off by hand, or the cluster was restored from an
//! older backup. Their Jobs are ended and their record is closed; nothing runs on for nobody.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::api::Api;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::queue::cache::Tasks;
use super::queue::turns::TaskKey;
use super::task::{Object, close};
use super::{Context, Error};
use crate::store::OpenTask;

/// How often the record is held against the objects.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks for orphans until `shutdown`.
pub async fn watch(context: Arc<Context>, objects: Arc<Tasks>, shutdown: CancellationToken) {
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

/// Closes the record of every Task that has not ended and whose object is gone; what is remembered of objects that are gone is
/// forgotten.
///
/// # Errors
/// If database or API server do not answer.
pub async fn sweep(context: &Context, objects: &Tasks) -> Result<(), Error> {
    let lost = objects.lost();
    context.metrics.records_lost.set(i64::try_from(lost.len()).unwrap_or(i64::MAX));
    context.lost.set(lost);
    context.keep(&objects.uids());
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

async fn is_orphan(context: &Context, objects: &Tasks, task: &OpenTask) -> Result<bool, Error> {
    let api: Api<Object> = Api::namespaced(context.client.clone(), &task.namespace);
    if task.is_second {
        // The object has its record; this one only goes on for nobody.
        return Ok(true);
    }
    if objects.has(&TaskKey::new(&task.namespace, &task.name), &task.uid) {
        return Ok(false);
    }
    is_gone(&api, &task.name, &task.uid).await
}

/// Whether the object of this uid is no longer there, though a cache may lag. API server.
///
/// # Errors
/// [`Error::Api`] if the API server does not answer.
pub async fn is_gone<K>(api: &Api<K>, name: &str, uid: &str) -> Result<bool, Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let found = api.get_metadata_opt(name).await.map_err(Error::api("look for an object"))?;
    Ok(found.is_none_or(|object| object.metadata.uid.as_deref() != Some(uid)))
}
