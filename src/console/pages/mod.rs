//! The pages.

pub mod audit;
pub mod executors;
pub mod objects;
pub mod overview;
pub mod task;
pub mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;

use super::Console;
use super::rest::{self, Rest};
use super::session::{SignedIn, Visitor};

/// The pages of who is signed in.
pub fn routes() -> Router<Console> {
    Router::new()
        .route("/console", get(overview::page))
        .route("/console/executors", get(executors::page))
        .route("/console/tasks", get(tasks::list))
        .route("/console/tasks/{id}", get(task::summary))
        .route("/console/tasks/{id}/log", get(task::log::page))
        .route("/console/tasks/{id}/log/stream", get(task::log::stream))
        .route("/console/tasks/{id}/report", get(task::report::page))
        .route("/console/tasks/{id}/changes", get(task::report::changes))
        .route("/console/tasks/{id}/files", get(task::files::page))
        .route("/console/tasks/{id}/files/{attempt}/{*path}", get(task::files::download))
        .route("/console/tasks/{id}/archive/{attempt}", get(task::files::archive))
        .route("/console/tasks/{id}/why", get(task::why::page))
        .route("/console/tasks/{id}/record", get(task::why::record))
        .route("/console/tasks/{id}/provenance", get(task::provenance::page))
        .route("/console/tasks/{id}/cancel", post(task::actions::cancel))
        .route("/console/tasks/{id}/retry", post(task::actions::retry))
        .route("/console/objects", get(objects::kinds))
        .route("/console/objects/{kind}", get(objects::list))
        .route("/console/objects/{kind}/{id}", get(objects::one))
        .route("/console/audit", get(audit::page))
}

/// What every page has.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The program's.
    pub version: &'static str,
    /// Who is signed in.
    pub who: Arc<SignedIn>,
    /// The namespace that is looked at; empty for all.
    pub namespace: String,
    /// Which part of the console it is.
    pub part: &'static str,
    /// The path and query of the page.
    pub here: String,
    /// When it was made.
    pub now: Timestamp,
}

impl Shell {
    /// Whether this is that part of the console.
    pub fn is(&self, part: &str) -> bool {
        self.part == part
    }

    /// The Tasks with this status.
    pub fn tasks(&self, status: &str) -> String {
        let all = self.within("/console/tasks");
        let mark = if all.contains('?') { '&' } else { '?' };
        format!("{all}{mark}status={status}")
    }

    /// The objects of a kind, by the last part of its path.
    pub fn objects(&self, collection: &str) -> String {
        self.within(&format!("/console/objects/{collection}"))
    }

    /// A path in the namespace that is looked at.
    pub fn within(&self, path: &str) -> String {
        let all = self.namespace.is_empty() && self.who.namespace.is_some();
        let namespace = if all { "*" } else { self.namespace.as_str() };
        let is_named = self.who.namespace.as_deref() != Some(namespace);
        rest::path(path, &[("namespace", if is_named { namespace } else { "" })])
    }
}

/// A request for a page.
pub struct Ask {
    /// The API.
    pub rest: Rest,
    /// Who asks, and for what.
    pub visitor: Visitor,
    uri: Uri,
    query: Vec<(String, String)>,
}

impl FromRequestParts<Console> for Ask {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, console).await?;
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let query = query.map(|query| query.0).unwrap_or_default();
        Ok(Self { rest: Rest::of(console, &visitor.who.token, parts), visitor, uri: parts.uri.clone(), query })
    }
}

impl Ask {
    /// The parameter of this name; empty if it is not given.
    pub fn query(&self, name: &str) -> &str {
        self.query.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The namespace that is looked at: the one that is named, else the visitor's own; empty for all.
    pub fn namespace(&self) -> String {
        match self.query.iter().find(|(name, _)| name == "namespace").map(|(_, value)| value.trim()) {
            Some("*") => String::new(),
            Some("") | None => self.visitor.who.namespace.clone().unwrap_or_default(),
            Some(named) => named.to_owned(),
        }
    }

    /// What the page has around it.
    pub fn shell(&self, part: &'static str) -> Shell {
        Shell {
            version: env!("CARGO_PKG_VERSION"),
            who: self.visitor.who.clone(),
            namespace: self.namespace(),
            part,
            here: self.uri.path_and_query().map_or_else(String::new, |path| path.as_str().to_owned()),
            now: Timestamp::now(),
        }
    }
}

/// A choice of a form.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What is sent.
    pub value: &'static str,
    /// What is shown.
    pub label: &'static str,
    /// Whether it is the one.
    pub is_on: bool,
}

/// Choices of which one may be on.
pub fn choices(all: &[(&'static str, &'static str)], on: &str) -> Vec<Choice> {
    all.iter().map(|(value, label)| Choice { value, label, is_on: *value == on }).collect()
}
