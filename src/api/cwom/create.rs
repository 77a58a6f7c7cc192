//! New objects.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::change_response;
use super::collection::Collection;
use super::problem::{taken, unreadable, unresolved};
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::body::Unread;
use crate::api::error::Problem;
use crate::api::frame::{Joined, RequestTrace, random};
use crate::api::query::Params;
use crate::api::tasks::denial;
use crate::domain::cwom::read;
use crate::domain::id::hex;
use crate::domain::{Id, Naming};
use crate::store::{Put, PutObject};

/// Records the object of `of` that the body describes.
pub async fn create(
    of: &Collection,
    State(api): State<Api>,
    caller: Caller,
    trace: RequestTrace,
    mut query: Params,
    unread: Unread,
) -> Result<Response, Problem> {
    let namespace = query.namespace_as(of.namespace_parameter()).unwrap_or_else(|| api.settings.namespace.clone());
    query.finish()?;
    api.access.require(&caller, &Right::resource("create", of.kind.plural(), Some(&namespace))).await?;
    // For a Task the API server looks itself.
    api.namespaces.require(&namespace).await?;
    let Joined { trace_id, parent: _ } = trace.join(&api, &caller).await?;
    let json = unread.json(&api.room, &caller).await?;
    let (spec, findings) = read(of.kind, &json.value, Naming::Rest);
    let Some(spec) = spec else { return Err(unreadable(&findings)) };
    if let Some(too_many) = api.namespace_limits.check_object(&namespace, "").await {
        let problem = Problem::too_many(&too_many);
        let denial = denial(&caller, of.kind.as_str(), namespace, trace_id, &json.value, vec![too_many.finding]);
        api.denials.keep(denial, caller.username(), None);
        return Err(problem);
    }
    api.namespace_limits.admit_object(&namespace);
    let at = api.health.clock.now();
    let put = PutObject {
        pin: None,
        spec_sha256: None,
        id: Id::derive(at, &hex(&random())),
        trace_id,
        namespace,
        origin: None,
        submitted_by: Some(caller.username().into()),
        actor: caller.actor(),
        spec: spec.clone(),
        created_at: at,
        at,
    };
    match api.store.put_object(put).await? {
        Put::Recorded { row, .. } => {
            let location = format!("{}/{}", of.path(), row.object.id);
            Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(change_response(of, &row))).into_response())
        }
        Put::Unresolved(missing) => Err(unresolved(&missing)),
        Put::Taken { what, .. } => Err(taken(&spec, what)),
        Put::Refused(findings) => Err(Problem::findings(&findings)),
    }
}
