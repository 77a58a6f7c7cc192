//! Work objects, and how they hang together.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::{Ask, Choice, Shell, choices};
use crate::console::failure::{Failure, rendered};
use crate::console::rest::{encoded, path};
use crate::console::view::causes::name_or_id;
use crate::console::view::time::Moment;
use crate::console::view::{cut, list as entries, pretty, short, status, text};
use crate::domain::cwom::Kind;

const PAGE: &str = "50";

/// The kinds that are listed, and what they are.
const LISTED: [(Kind, &str, &str); 6] = [
    (Kind::Repo, "Repos", "repositories that work is done on"),
    (Kind::Issue, "Issues", "work to be done"),
    (Kind::Run, "Runs", "tries at it"),
    (Kind::Artifact, "Artifacts", "what came out"),
    (Kind::ConstraintSnapshot, "Constraints", "what it is done under"),
    (Kind::DoctrineRef, "Doctrine", "rules that bind it"),
];

const STATUSES: [(&str, &str); 8] = [
    ("planned", "Planned"),
    ("ready", "Ready"),
    ("running", "Running"),
    ("blocked", "Blocked"),
    ("under_review", "Under review"),
    ("done", "Done"),
    ("failed", "Failed"),
    ("canceled", "Cancelled"),
];

struct Tab {
    name: &'static str,
    path: &'static str,
    is_on: bool,
}

fn tabs(on: Option<Kind>) -> Vec<Tab> {
    let tab =
        |(kind, name, _): (Kind, &'static str, &str)| Tab { name, path: kind.collection(), is_on: on == Some(kind) };
    LISTED.into_iter().map(tab).collect()
}

fn kind_at(name: &str) -> Result<Kind, Failure> {
    let known = Kind::ALL.iter().copied().find(|kind| kind.collection() == name);
    known.ok_or_else(|| Failure::not_found("there are no work objects of this kind"))
}

#[derive(Template)]
#[template(path = "objects.html")]
struct KindsPage {
    shell: Shell,
    kinds: Vec<(&'static str, &'static str, &'static str)>,
}

/// The kinds.
///
/// # Errors
/// If the page can't be made.
pub async fn kinds(ask: Ask) -> Result<Response, Failure> {
    let kinds = LISTED.iter().map(|(kind, name, detail)| (kind.collection(), *name, *detail)).collect();
    rendered(&KindsPage { shell: ask.shell("objects"), kinds })
}

struct Line {
    id: String,
    link: String,
    name: String,
    detail: String,
    status: String,
    class: &'static str,
    created: Moment,
}

impl Line {
    fn of(kind: Kind, object: &Value, now: Timestamp) -> Self {
        let id = text(object, "/id");
        let state = text(object, "/status");
        Self {
            link: format!("/console/objects/{}/{id}", kind.collection()),
            name: cut(&named(object), 120),
            detail: detail(kind, object),
            class: status(&state).1,
            status: state.replace('_', " "),
            created: Moment::of(object, "/created_at", now),
            id: short(&id),
        }
    }
}

/// What an object is called.
fn named(object: &Value) -> String {
    let called = ["/title", "/slug", "/name", "/summary"].iter().map(|field| text(object, field));
    let name = called.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    name_or_id(&name, &text(object, "/id"))
}

fn detail(kind: Kind, object: &Value) -> String {
    let parts: &[&str] = match kind {
        Kind::Repo => &["/visibility", "/default_branch"],
        Kind::Issue => &["/type", "/priority"],
        Kind::Run => &["/mode", "/executor/actor/actor_id", "/executor/runtime"],
        Kind::Artifact => &["/type", "/media_type"],
        Kind::ConstraintSnapshot => &["/scope", "/owner/actor_id"],
        Kind::DoctrineRef => &["/namespace", "/version", "/priority"],
        Kind::ContextPacket => &["/version"],
    };
    let parts = parts.iter().map(|field| text(object, field)).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" · ")
}

#[derive(Template)]
#[template(path = "object-list.html")]
struct ListPage {
    shell: Shell,
    tabs: Vec<Tab>,
    title: &'static str,
    here: &'static str,
    has_status: bool,
    statuses: Vec<Choice>,
    objects: Vec<Line>,
    next: Option<String>,
    is_first: bool,
}

/// The objects of a kind.
///
/// # Errors
/// What the API says.
pub async fn list(Path(name): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let kind = kind_at(&name)?;
    let shell = ask.shell("objects");
    let found = LISTED.iter().find(|(listed, ..)| *listed == kind);
    let (_, title, _) = found.ok_or_else(|| Failure::not_found("these are shown with what they are for"))?;
    let has_status = matches!(kind, Kind::Issue | Kind::Run);
    // A doctrine has a namespace of its own.
    let parameter = if kind == Kind::DoctrineRef { "kubernetes_namespace" } else { "namespace" };
    let mut query = vec![(parameter, shell.namespace.as_str()), ("cursor", ask.query("cursor")), ("limit", PAGE)];
    for filter in ["status", "repo_id", "issue_id"].into_iter().filter(|_| has_status) {
        query.push((filter, ask.query(filter)));
    }
    let reply = ask.rest.get(&path(&format!("/cwom/{name}"), &query)).await?;
    let next = reply.next().map(|query| {
        format!("/console/objects/{}?{}", kind.collection(), query.replace("kubernetes_namespace=", "namespace="))
    });
    let page = ListPage {
        tabs: tabs(Some(kind)),
        title,
        here: kind.collection(),
        has_status,
        statuses: choices(&STATUSES, ask.query("status")),
        objects: entries(&reply.body).iter().map(|object| Line::of(kind, object, shell.now)).collect(),
        next,
        is_first: ask.query("cursor").is_empty(),
        shell,
    };
    rendered(&page)
}

/// A list that belongs to an object.
struct Part {
    title: &'static str,
    objects: Vec<Line>,
}

/// A reference to another object.
struct Relation {
    field: String,
    kind: String,
    id: String,
    link: String,
}

#[derive(Template)]
#[template(path = "object.html")]
struct ObjectPage {
    shell: Shell,
    tabs: Vec<Tab>,
    kind: &'static str,
    plural: &'static str,
    id: String,
    name: String,
    detail: String,
    status: String,
    class: &'static str,
    description: String,
    created: Moment,
    updated: Moment,
    trace_id: String,
    relations: Vec<Relation>,
    parts: Vec<Part>,
    tasks: String,
    json: String,
}

/// One object.
///
/// # Errors
/// What the API says.
pub async fn one(Path((name, id)): Path<(String, String)>, ask: Ask) -> Result<Response, Failure> {
    let kind = kind_at(&name)?;
    let shell = ask.shell("objects");
    let id = encoded(&id);
    let object = ask.rest.get(&format!("/cwom/{name}/{id}")).await?.body;
    let mut parts = Vec::new();
    for (part, title, at) in parts_of(kind, &id, &shell.namespace) {
        match ask.rest.get(&at).await {
            Ok(reply) => {
                let objects = entries(&reply.body).iter().map(|object| Line::of(part, object, shell.now)).collect();
                parts.push(Part { title, objects });
            }
            Err(failure) if failure.is_signed_out() => return Err(failure),
            // What they may not list is not shown.
            Err(_) => {}
        }
    }
    let state = text(&object, "/status");
    let mut relations = Vec::new();
    references("", &object, 0, &mut relations);
    let description = ["/description", "/statement", "/instructions", "/outputs/result_summary"];
    let description = description.iter().map(|field| crate::console::view::lines(&object, field));
    let page = ObjectPage {
        tabs: tabs(Some(kind)),
        kind: kind.as_str(),
        plural: kind.collection(),
        name: named(&object),
        detail: detail(kind, &object),
        class: status(&state).1,
        status: state.replace('_', " "),
        description: description.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
        created: Moment::of(&object, "/created_at", shell.now),
        updated: Moment::of(&object, "/updated_at", shell.now),
        trace_id: text(&object, "/trace_id"),
        tasks: path("/console/tasks", &[("trace_id", &text(&object, "/trace_id")), ("namespace", "*")]),
        relations,
        parts,
        json: pretty(&object, 60_000),
        id: text(&object, "/id"),
        shell,
    };
    rendered(&page)
}

/// The lists of what belongs to an object.
fn parts_of(kind: Kind, id: &str, namespace: &str) -> Vec<(Kind, &'static str, String)> {
    let limit = "limit=20";
    let within = if namespace.is_empty() { String::new() } else { format!("&namespace={}", encoded(namespace)) };
    match kind {
        Kind::Repo => vec![(Kind::Issue, "Issues", format!("/cwom/issues?repo_id={id}&{limit}{within}"))],
        Kind::Issue => vec![
            (Kind::Run, "Runs", format!("/cwom/runs?issue_id={id}&{limit}{within}")),
            (Kind::ContextPacket, "Context packets", format!("/cwom/issues/{id}/context-packets?{limit}")),
            (Kind::Artifact, "Artifacts", format!("/cwom/issues/{id}/artifacts?{limit}")),
        ],
        Kind::Run => vec![(Kind::Artifact, "Artifacts", format!("/cwom/runs/{id}/artifacts?{limit}"))],
        _ => Vec::new(),
    }
}

/// Every reference in an object: what has a kind of ours and an id.
fn references(at: &str, value: &Value, depth: usize, found: &mut Vec<Relation>) {
    if depth > 6 || found.len() >= 100 {
        return;
    }
    match value {
        Value::Object(fields) => {
            let kind = fields.get("kind").and_then(Value::as_str).and_then(Kind::parse);
            if let (Some(kind), Some(_), true) = (kind, fields.get("id").and_then(Value::as_str), depth > 0) {
                let id = text(value, "/id");
                let link = format!("/console/objects/{}/{}", kind.collection(), encoded(&id));
                found.push(Relation { field: at.replace('_', " "), kind: kind.as_str().to_owned(), id, link });
                return;
            }
            for (name, field) in fields.iter().filter(|(name, _)| *name != "meta") {
                let below = if at.is_empty() { name.clone() } else { format!("{at} › {name}") };
                references(&below, field, depth + 1, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(at, item, depth + 1, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_reference_is_found() {
        let id = "01KJMMA2G027CE4HT1RZKZBW4A";
        let object = json!({
            "kind": "Issue", "id": id, "repo": {"kind": "Repo", "id": id},
            "relationships": {"blocks": [{"kind": "Issue", "id": id}]}, "meta": {"x": {"kind": "Run", "id": id}},
            "other": {"kind": "Nothing", "id": id},
        });
        let mut found = Vec::new();
        references("", &object, 0, &mut found);
        let detail: Vec<_> = found.iter().map(|found| format!("{}: {}", found.field, found.link)).collect();
        assert_eq!(
            detail,
            [
                format!("relationships › blocks: /console/objects/issues/{id}"),
                format!("repo: /console/objects/repos/{id}"),
            ]
        );
    }
}
