//! One pass over one object of any of the seven CWOM kinds: read → validate → record → carry out → status. The kinds differ by
//! data alone: their [`Kind`], its API resource, the table of its fields.
//!
//! An object that names others waits for them as long as it takes, and is looked at again as soon as one of them is
//! recorded: the order in which objects are applied does not matter.

pub mod orphans;
mod run;
mod sources;
pub mod status;
pub mod validate;
pub mod view;
pub mod waiting;

use std::collections::HashSet;
use std::time::Duration;

use kube::Resource as _;
use kube::api::{Api, GetParams};
use tracing::warn;

use self::run::RunProgress;
use self::status::State;
use self::validate::{Understood, validate};
pub use self::view::{FullObject, WorkObject};
use self::waiting::{Place, Triggers, Waiting, Wanted};
use super::error::Backoff;
use super::head::Head;
use super::status::Written;
use super::{Action, Context, Error, finalizer};
use crate::crd::cwom::{WorkObjectStatus, api_resource};
use crate::crd::pinned_id;
use crate::domain::Id;
use crate::domain::cwom::{Kind, Spec, Target};
use crate::shared::Deleter;
use crate::store::{DeleteObject, ObjectOrigin, ObjectRow, Put, PutObject, Unresolved};

/// How often a Run under way is looked at, though nothing told of it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the passes over work objects share, besides the [`Context`].
#[derive(Debug, Default)]
pub struct Objects {
    /// Who waits for whom.
    pub waiting: Waiting,
    pub triggers: Triggers,
    notes: [Notes; Kind::ALL.len()],
}

impl Objects {
    /// What is remembered of the objects of a kind.
    pub fn notes(&self, kind: Kind) -> &Notes {
        &self.notes[kind as usize]
    }
}

/// What is remembered of the objects of one kind.
#[derive(Debug)]
pub struct Notes {
    /// What was written to statuses and may not be in the cache yet.
    pub written: Written<WorkObjectStatus>,
    pub backoff: Backoff,
    /// How often somebody has looked in vain for what is missing: it may come at the REST door, which tells nobody.
    pub rechecks: Backoff,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            written: Written::default(),
            backoff: Backoff::default(),
            rechecks: Backoff::new(Duration::from_secs(10), Duration::from_secs(300)),
        }
    }
}

impl Notes {
    /// Forgets all objects but those with these uids.
    pub fn keep(&self, there: &HashSet<String>) {
        self.written.keep(there);
        self.backoff.keep(there);
        self.rechecks.keep(there);
    }

    /// Forgets an object that is gone.
    fn forget(&self, uid: &str) {
        self.written.forget(uid);
        self.backoff.succeeded(uid);
        self.rechecks.succeeded(uid);
    }
}

/// Brings one object a step further.
///
/// # Errors
/// [`Error`] names the step that failed; the pass is repeated later.
pub async fn reconcile(kind: Kind, object: &WorkObject, context: &Context) -> Result<Action, Error> {
    reconcile_as_read(kind, object, context, async |head| read(kind, head, context).await).await
}

/// As [`reconcile`]; `read` reads the object with its spec, if this pass needs that. None if the object is gone.
///
/// # Errors
/// As for [`reconcile`].
pub async fn reconcile_as_read(
    kind: Kind,
    object: &WorkObject,
    context: &Context,
    read: impl AsyncFnOnce(&Head) -> Result<Option<FullObject>, Error>,
) -> Result<Action, Error> {
    let head = Head::read(kind.as_str(), &object.metadata, None, &context.trust())?;
    let api: Api<WorkObject> = Api::namespaced_with(context.client.clone(), &head.namespace, &api_resource(kind));
    if head.is_being_deleted {
        return release(context, &api, kind, &head).await;
    }
    if !head.has_finalizer {
        finalizer::add(&api, &head.name, &head.uid).await?;
    }
    if is_as_recorded(context, kind, object, &head).await? {
        context.objects.notes(kind).backoff.succeeded(&head.uid);
        return Ok(Action::await_change());
    }
    // What is recorded is what is there now, and who wrote that.
    let whole = read(&head).await?;
    let Some(whole) = whole.filter(|whole| whole.view.metadata.uid.as_ref() == Some(&head.uid)) else {
        return Ok(Action::await_change());
    };
    let understood = validate(kind, &whole.view, whole.spec.get(), &context.trust())?;
    if understood.head.is_being_deleted {
        // The event that says so is on its way.
        return Ok(Action::await_change());
    }
    let sha256 = whole.view.spec_sha256;
    drop(whole.spec);
    put(context, &api, &understood, sha256).await
}

/// Whether there is nothing to do: all of the spec is in the record, and the status says so. A Run goes on by itself.
async fn is_as_recorded(context: &Context, kind: Kind, object: &WorkObject, head: &Head) -> Result<bool, Error> {
    let Some(status) = object.status.as_ref().filter(|_| kind != Kind::Run && head.unfit_pin.is_none()) else {
        return Ok(false);
    };
    let holds =
        |type_: &str| status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
    if status.observed_generation != head.generation || !["Recorded", "Resolved"].into_iter().all(holds) {
        return Ok(false);
    }
    let recorded =
        context.store.recorded_spec(kind, &head.uid).await.map_err(Error::store("look for a work object"))?;
    let pin = pinned_id(object.metadata.annotations.as_ref()).ok().flatten();
    Ok(recorded.is_some_and(|(id, sha256)| {
        sha256.as_ref() == Some(&object.spec_sha256)
            && status.id == Some(id.to_string())
            && pin.is_none_or(|pin| pin == id)
    }))
}

/// The object with its spec. API server.
async fn read(kind: Kind, head: &Head, context: &Context) -> Result<Option<FullObject>, Error> {
    let path = WorkObject::url_path(&api_resource(kind), Some(&head.namespace));
    let request = kube::core::Request::new(path).get(&head.name, &GetParams::default());
    let failed = |error| Error::api("read a work object")(kube::Error::BuildRequest(error));
    let answer = context.client.request::<FullObject>(request.map_err(failed)?).await;
    Error::unless_gone("read a work object", answer)
}

/// Records what the object says, carries it out, and says so in its status. Database, API server.
async fn put(
    context: &Context,
    api: &Api<WorkObject>,
    object: &Understood,
    spec_sha256: String,
) -> Result<Action, Error> {
    let head = &object.head;
    let spec = match &object.spec {
        Ok(spec) => spec.clone(),
        Err(findings) => {
            context.objects.waiting.expect(&object.place(), &[]);
            if status::write(context, api, object, &State::Invalid(findings)).await? {
                let (kind, namespace, name, trace_id) = (object.kind, &head.namespace, &head.name, &head.trace_id);
                warn!(%kind, namespace, name, %trace_id, finding = findings.first().map(ToString::to_string),
                    "work object is not recorded: its spec does not fit");
            }
            context.objects.notes(object.kind).backoff.succeeded(&head.uid);
            return Ok(Action::await_change());
        }
    };
    let mut put = match record(context, object, spec, spec_sha256).await {
        Ok(put) => put,
        Err(error) => {
            // Nobody is told that an object is recorded which is not; the next pass tries again.
            if let Some(why) = error.outage().filter(|_| object.status.is_none()) {
                status::write(context, api, object, &State::StoreUnavailable(why.to_string())).await?;
            }
            return Err(error);
        }
    };
    let carried = match &mut put {
        Put::Recorded { row, unresolved, .. } => run::advance(context, object, row, unresolved).await?,
        Put::Unresolved(_) | Put::Taken { .. } | Put::Refused(_) => None,
    };
    status::write(context, api, object, &State::Put(&put, carried.as_ref())).await?;
    context.objects.notes(object.kind).backoff.succeeded(&head.uid);
    Ok(wait(context, object, &put, carried.as_ref()))
}

/// Writes the object down, and wakes who waits for it. Database.
async fn record(context: &Context, object: &Understood, spec: Spec, spec_sha256: String) -> Result<Put, Error> {
    let head = &object.head;
    // Before anybody looks into the record: what is recorded from now on wakes this object.
    context.objects.waiting.expect(&object.place(), &object.wants());
    let put = PutObject {
        id: head.id,
        pin: object.pin,
        trace_id: head.trace_id.clone(),
        namespace: head.namespace.clone(),
        origin: Some(ObjectOrigin { name: head.name.clone(), uid: head.uid.clone() }),
        submitted_by: head.submitted_by.clone(),
        actor: object.actor.clone(),
        spec,
        spec_sha256: Some(spec_sha256),
        created_at: head.created_at,
        at: context.clock.now(),
    };
    let put = context.store.put_object(put).await.map_err(Error::store("record a work object"))?;
    if let Put::Recorded { row, changed: true, .. } = &put {
        wake(context, object.kind, row);
    }
    Ok(put)
}

/// Has every object looked at again that waits for this one, by its name or its id.
fn wake(context: &Context, kind: Kind, row: &ObjectRow) {
    let name = row.origin.as_ref().map(|origin| Target::Name(origin.name.clone()));
    for target in name.into_iter().chain([Target::Id(row.object.id)]) {
        let wanted = Wanted { kind, namespace: row.namespace.clone(), target };
        for place in context.objects.waiting.waiters(&wanted) {
            context.objects.triggers.send(place);
        }
    }
}

/// What is left to wait for: what is missing, or is in the way, may come or go at any time.
fn wait(context: &Context, object: &Understood, put: &Put, carried: Option<&RunProgress>) -> Action {
    let wanted =
        |kind, target: &Target| Wanted { kind, namespace: object.head.namespace.clone(), target: target.clone() };
    let all = |missing: &[Unresolved]| missing.iter().map(|left| wanted(left.kind, &left.target)).collect();
    let mut wants: Vec<Wanted> = match put {
        Put::Recorded { unresolved, .. } | Put::Unresolved(unresolved) => all(unresolved),
        Put::Taken { by, .. } => vec![wanted(object.kind, &Target::Id(*by))],
        Put::Refused(_) => Vec::new(),
    };
    wants.extend(carried.iter().flat_map(|carried| carried.wants.clone()));
    let waits = !wants.is_empty();
    context.objects.waiting.expect(&object.place(), &wants);
    if waits {
        return Action::requeue(context.objects.notes(object.kind).rechecks.failed(&object.head.uid));
    }
    context.objects.notes(object.kind).rechecks.succeeded(&object.head.uid);
    match put {
        Put::Recorded { row, .. } if carried.is_some() && !has_ended(row) => Action::requeue(LOOK_AGAIN),
        _ => Action::await_change(),
    }
}

fn has_ended(row: &ObjectRow) -> bool {
    row.object.spec.status().is_none_or(|status| status.is_terminal(row.object.kind()))
}

/// Records the deletion and lets the object go. Database, then API server.
async fn release(context: &Context, api: &Api<WorkObject>, kind: Kind, head: &Head) -> Result<Action, Error> {
    retire(context, kind, head.id, &head.uid).await?;
    if head.has_finalizer {
        finalizer::remove(api, &head.name, &head.uid).await?;
    }
    let objects = &context.objects;
    let place = Place { kind, namespace: head.namespace.clone(), name: head.name.clone() };
    objects.waiting.expect(&place, &[]);
    objects.notes(kind).forget(&head.uid);
    Ok(Action::await_change())
}

/// Records that the custom resource with this uid is gone; what waits for its place is looked at again. Database.
///
/// # Errors
/// [`Error::Store`] if the database does not take it.
pub async fn retire(context: &Context, kind: Kind, id: Id, uid: &str) -> Result<(), Error> {
    let Deleter { actor, note } = context.deleter(uid).await?;
    let delete = DeleteObject { kind, id, uid: uid.to_owned(), actor, note, at: context.clock.now() };
    let row = context.store.delete_object(delete).await.map_err(Error::store("record a deletion"))?;
    if let Some(row) = row {
        wake(context, kind, &row);
    }
    Ok(())
}
