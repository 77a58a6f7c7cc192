//! Objects whose custom resource went without our seeing it: the finalizer was taken off by hand, or while no operator ran.
//! Their record is closed, so that what is unique about them is free again.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{WorkObject, retire};
use crate::crd::cwom::api_resource;
use crate::domain::cwom::Kind;
use crate::reconcile::orphans::is_gone;
use crate::reconcile::{Context, Error};
use crate::store::PresentObject;

/// How often the record is held against the custom resources.
const INTERVAL: Duration = Duration::from_secs(600);

/// Looks for orphans of a kind at once, and then until `shutdown`. The cache has to be filled.
pub async fn watch(context: Arc<Context>, kind: Kind, objects: Store<WorkObject>, shutdown: CancellationToken) {
    loop {
        if let Err(error) = sweep(&context, kind, &objects).await {
            warn!(%kind, %error, category = error.category(), "orphans could not be looked for");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Closes the record of every object of the kind whose custom resource is gone; what is remembered of those that are gone is
/// forgotten.
///
/// # Errors
/// If database or API server do not answer.
pub async fn sweep(context: &Context, kind: Kind, objects: &Store<WorkObject>) -> Result<(), Error> {
    let there = objects.state();
    context.objects.notes(kind).keep(&there.iter().filter_map(|object| object.uid()).collect());
    let names = there.iter().filter_map(|object| Some((object.namespace()?, object.metadata.name.clone()?)));
    context.objects.waiting.keep(kind, &names.collect());
    drop(there);
    let mut after: Option<PresentObject> = None;
    loop {
        let page = context.store.present_objects(kind, after.as_ref()).await;
        let page = page.map_err(Error::store("list work objects"))?;
        for object in &page {
            if object.is_superseded || is_orphan(context, kind, objects, object).await? {
                let PresentObject { id, namespace, name, uid, is_superseded: _ } = object;
                info!(%kind, %id, namespace, name, "work object without a custom resource is closed");
                retire(context, kind, *id, uid).await?;
            }
        }
        after = page.last().cloned();
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn is_orphan(
    context: &Context,
    kind: Kind,
    objects: &Store<WorkObject>,
    PresentObject { id: _, namespace, name, uid, is_superseded: _ }: &PresentObject,
) -> Result<bool, Error> {
    let resource = api_resource(kind);
    let api: Api<WorkObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let reference = ObjectRef::new_with(name, resource).within(namespace);
    if objects.get(&reference).is_some_and(|object| object.uid().as_deref() == Some(uid)) {
        return Ok(false);
    }
    is_gone(&api, name, uid).await
}
