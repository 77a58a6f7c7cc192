//! The work objects: seven collections, one implementation. What a kind has of its own is in the table, `collection.rs`.
//!
//! Objects made here are rows and audit entries; those of custom resources and Tasks are read here and changed there.

mod change;
mod collection;
mod create;
mod document;
mod list;
mod problem;

use axum::extract::State;
use axum::routing::{MethodRouter, get, patch, post, put};
use serde_json::{Value, json};
use utoipa::openapi::path::{HttpMethod, Operation, Paths};
use utoipa_axum::router::OpenApiRouter;

pub use collection::{COLLECTIONS, Changes, Collection};

use super::Api;
use super::auth::Caller;
use super::body::Unread;
use super::error::Problem;
use super::frame::RequestTrace;
use super::query::{Params, PathId};
use crate::domain::cwom::adapter::add_first_meta;
use crate::store::ObjectRow;

/// The routes of all collections, each with its part of the OpenAPI document.
pub fn routes() -> OpenApiRouter<Api> {
    COLLECTIONS.iter().fold(OpenApiRouter::default(), |router, of| {
        let router = of_collection(router, of);
        let router = of_one(router, of);
        of.parts.iter().fold(router, |router, part| {
            let list = get(move |api: State<Api>, caller: Caller, id: PathId, query: Params| {
                list::list_part(of, part, api, caller, id, query)
            });
            let path = format!("{}/{{id}}/{}", of.path(), part.kind.collection());
            route(router, &path, HttpMethod::Get, document::list_part(of, part), list)
        })
    })
}

fn of_collection(router: OpenApiRouter<Api>, of: &'static Collection) -> OpenApiRouter<Api> {
    let create = post(move |api: State<Api>, caller: Caller, trace: RequestTrace, query: Params, body: Unread| {
        create::create(of, api, caller, trace, query, body)
    });
    let router = route(router, &of.path(), HttpMethod::Post, document::create(of), create);
    let Some(filters) = of.filters else { return router };
    let list = get(move |api: State<Api>, caller: Caller, query: Params| list::list(of, api, caller, query));
    route(router, &of.path(), HttpMethod::Get, document::list(of, filters), list)
}

fn of_one(router: OpenApiRouter<Api>, of: &'static Collection) -> OpenApiRouter<Api> {
    let path = format!("{}/{{id}}", of.path());
    let one = get(move |api: State<Api>, caller: Caller, id: PathId| list::get(of, api, caller, id));
    let router = route(router, &path, HttpMethod::Get, document::get(of), one);
    match of.changes {
        Changes::None => router,
        Changes::Never => {
            let refuse = move |_: Caller, id: PathId| change::refuse(of, id);
            let router = route(router, &path, HttpMethod::Put, document::refuse(of, "replace"), put(refuse));
            route(router, &path, HttpMethod::Patch, document::refuse(of, "patch"), patch(refuse))
        }
        Changes::All | Changes::Only(_) => {
            let change = patch(move |api: State<Api>, caller: Caller, id: PathId, query: Params, body: Unread| {
                change::patch(of, api, caller, id, query, body)
            });
            let router = route(router, &path, HttpMethod::Patch, document::patch(of), change);
            if of.changes != Changes::All {
                return router;
            }
            let status = patch(move |api: State<Api>, caller: Caller, id: PathId, query: Params| {
                change::set_status(of, api, caller, id, query)
            });
            route(router, &format!("{path}/status"), HttpMethod::Patch, document::set_status(of), status)
        }
    }
}

/// Adds one operation to the routes and to their document.
fn route(
    router: OpenApiRouter<Api>,
    path: &str,
    method: HttpMethod,
    operation: Operation,
    handler: MethodRouter<Api>,
) -> OpenApiRouter<Api> {
    let mut paths = Paths::new();
    paths.add_path_operation(path, vec![method], operation);
    router.routes((Vec::new(), paths, handler))
}

impl Collection {
    fn not_found(&self) -> Problem {
        Problem::not_found(format!("{} not found", self.kind))
    }
}

/// The object, for a caller who may do `verb` with it. What the caller may not even get is not found.
async fn find(
    api: &Api,
    caller: &Caller,
    verb: &'static str,
    of: &Collection,
    id: &PathId,
) -> Result<ObjectRow, Problem> {
    let id = id.of(of.kind.as_str())?;
    let row = api.store.object(of.kind, id).await?.ok_or_else(|| of.not_found())?;
    let may_know = api.access.reach(caller, verb, of.kind.plural(), &row.namespace).await?;
    may_know.then_some(row).ok_or_else(|| of.not_found())
}

/// The body that answers a change.
fn change_response(of: &Collection, row: &ObjectRow) -> Value {
    json!({"status": "success", of.kind.snake_case(): shown(row)})
}

/// The object as clients see it: those of a Task with what their `meta` has had from the first.
pub fn shown(row: &ObjectRow) -> Value {
    let mut json = row.object.to_json();
    if row.task_id.is_some() && row.origin.is_none() {
        add_first_meta(&mut json);
    }
    json
}
