//! Reading objects from the record.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::collection::{Collection, Part};
use super::{find, shown};
use crate::api::Api;
use crate::api::auth::{Caller, Right};
use crate::api::error::Problem;
use crate::api::page;
use crate::api::query::{Asked, Params, PathId};
use crate::domain::cwom::Kind;
use crate::store::{ObjectFilter, ObjectRow, Page};

/// One object of `of`.
pub async fn get(of: &Collection, State(api): State<Api>, caller: Caller, id: PathId) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&find(&api, &caller, "get", of, &id).await?)))
}

/// The objects of `of` that fit the query, the newest first.
pub async fn list(
    of: &Collection,
    State(api): State<Api>,
    caller: Caller,
    mut query: Params,
) -> Result<Response, Problem> {
    let parameter = of.namespace_parameter();
    let filter = ObjectFilter {
        namespace: query.namespace_as(parameter),
        fields: of.filters.into_iter().flatten().filter_map(|filter| filter.read(&mut query)).collect(),
    };
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    api.access.require_list(&caller, of.kind.plural(), filter.namespace.as_deref(), parameter).await?;
    answer(&api, &caller, of.kind, &filter, page, &asked).await
}

/// The objects that belong to one object of `of`, the newest first.
pub async fn list_part(
    of: &Collection,
    part: &Part,
    State(api): State<Api>,
    caller: Caller,
    id: PathId,
    mut query: Params,
) -> Result<Response, Problem> {
    let mut fields: Vec<_> = part.filters.iter().filter_map(|filter| filter.read(&mut query)).collect();
    let page = query.page(&api.cursor_key, Page::default().limit);
    let asked = query.finish()?;
    let whole = find(&api, &caller, "get", of, &id).await?;
    api.access.require(&caller, &Right::resource("list", part.kind.plural(), Some(&whole.namespace))).await?;
    fields.insert(0, (part.by, whole.object.id.to_string()));
    let filter = ObjectFilter { namespace: Some(whole.namespace), fields };
    answer(&api, &caller, part.kind, &filter, page, &asked).await
}

async fn answer(
    api: &Api,
    caller: &Caller,
    kind: Kind,
    filter: &ObjectFilter,
    page: Page,
    asked: &Asked,
) -> Result<Response, Problem> {
    let _turn = api.answers.turn().await?;
    let show = |row: &ObjectRow| (row.object.id, shown(row));
    let (text, last) = page::array(page, |page| api.store.objects(kind, filter, page), show).await?;
    api.answers.json(caller, asked.next(&api.cursor_key, last), text).await
}
