//! Work objects and Tasks as resources: `jct://COLLECTION/ID`.

use http::request::Parts;
use rmcp::model::{Resource, ResourceContents, ResourceTemplate};
use serde_json::Value;

use crate::advice;
use crate::rest_client::{ApiRequest, RestClient};

/// Each collection, where the API has it, what its objects are called, and which field names one.
const COLLECTIONS: [(&str, &str, &str, &str); 8] = [
    ("tasks", "/tasks", "Task", "objective"),
    ("repos", "/cwom/repos", "Repo", "slug"),
    ("issues", "/cwom/issues", "Issue", "title"),
    ("runs", "/cwom/runs", "Run", "status"),
    ("artifacts", "/cwom/artifacts", "Artifact", "title"),
    ("context-packets", "/cwom/context-packets", "ContextPacket", "summary"),
    ("constraint-snapshots", "/cwom/constraint-snapshots", "ConstraintSnapshot", "scope"),
    ("doctrine-refs", "/cwom/doctrine-refs", "DoctrineRef", "name"),
];
/// Those that are listed, and how many of each: all others are found by what refers to them.
const LISTED: [&str; 3] = ["repos", "issues", "runs"];
const EACH: &str = "20";

const JSON: &str = "application/json";

/// What can be read by its id.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let template = |(collection, _, kind, _): &(&str, &str, &str, &str)| {
        ResourceTemplate::new(format!("jct://{collection}/{{id}}"), *kind)
            .with_description(format!("One {kind} by its id, a ULID"))
            .with_mime_type(JSON)
    };
    COLLECTIONS.iter().map(template).collect()
}

/// The newest work objects that the caller may see.
pub(crate) async fn list<D: RestClient>(rest: &D, head: Option<&Parts>, client: &str) -> Result<Vec<Resource>, String> {
    let mut found = Vec::new();
    let namespace = rest.namespace(head);
    for (collection, path, kind, named) in COLLECTIONS.iter().filter(|(name, ..)| LISTED.contains(name)) {
        let answer = rest
            .send(
                head,
                ApiRequest::list(client, path, &[("namespace", namespace.clone()), ("limit", Some(EACH.into()))]),
            )
            .await?;
        // Whoever may see none of one kind may see others.
        let objects = if answer.status.is_success() { answer.json() } else { Value::Null };
        for object in objects.as_array().into_iter().flatten() {
            let Some(id) = object["id"].as_str() else { continue };
            let name = object[*named].as_str().unwrap_or_default().lines().next().unwrap_or_default();
            let name: String = name.chars().take(100).collect();
            let resource = Resource::new(format!("jct://{collection}/{id}"), format!("{kind} {name}"));
            found.push(resource.with_mime_type(JSON));
        }
    }
    Ok(found)
}

/// Why a resource is not read.
pub(crate) enum Unread {
    /// There is none, or none that the caller may see.
    Missing(String),
    /// It cannot be had now.
    Failed(String),
}

/// One of them.
pub(crate) async fn read<D: RestClient>(
    rest: &D,
    head: Option<&Parts>,
    client: &str,
    uri: &str,
) -> Result<ResourceContents, Unread> {
    let parts = uri.strip_prefix("jct://").and_then(|rest| rest.split_once('/'));
    let found = parts.and_then(|(collection, id)| {
        let (_, path, ..) = COLLECTIONS.iter().find(|(name, ..)| *name == collection)?;
        id.parse::<jct_domain::Id>().is_ok().then(|| format!("{path}/{id}"))
    });
    let names: Vec<&str> = COLLECTIONS.iter().map(|(name, ..)| *name).collect();
    let path = found.ok_or_else(|| {
        Unread::Missing(format!(
            "{uri}: a resource is jct://COLLECTION/ID, with one of {}, and a ULID",
            names.join(", ")
        ))
    })?;
    let answer = rest.send(head, ApiRequest::get(client, path)).await.map_err(Unread::Failed)?;
    match answer.status.as_u16() {
        200..=299 => {
            let text = serde_json::to_string_pretty(&answer.json()).unwrap_or_default();
            Ok(ResourceContents::text(text, uri).with_mime_type(JSON))
        }
        404 => Err(Unread::Missing(advice::on(&answer))),
        _ => Err(Unread::Failed(advice::on(&answer))),
    }
}
