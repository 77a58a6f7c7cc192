//! Reading query parameters. Like a Task, a query is read as a whole: all that is wrong with it is told at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};

use super::cursor::CursorKey;
use super::error::Problem;
use crate::domain::name::is_label;
use crate::domain::url::percent_encoded;
use crate::domain::{Code, Finding, Id};
use crate::store::{MAX_PAGE, Page};

/// What says where in a list a page begins; no part of the query that a cursor belongs to.
const PAGING: [&str; 4] = ["limit", "offset", "cursor", "tasks_cursor"];

/// The id in a path. What is no id is nothing's: it is not found.
#[derive(Clone, Debug)]
pub struct PathId(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self(Path::<String>::from_request_parts(parts, state).await.ok().map(|Path(id)| id)))
    }
}

impl PathId {
    /// What stands in a path with more than an id.
    pub fn new(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }

    /// The id, of an object of this kind.
    ///
    /// # Errors
    /// 404 if it is none.
    pub fn of(&self, kind: &str) -> Result<Id, Problem> {
        let Some(text) = &self.0 else {
            return Err(Problem::not_found(format!("{kind} not found: its id is no text")));
        };
        text.parse().map_err(|problem| Problem::not_found(format!("{kind} not found: its id is {problem}")))
    }

    /// What stands there, whatever it is.
    pub fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// The query of a request, being read.
#[derive(Debug)]
pub struct Params {
    path: String,
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
    findings: Vec<Finding>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = pairs.map_err(|error| Problem::invalid("query", error.body_text()))?;
        Ok(Self::new(parts.uri.path(), pairs))
    }
}

impl Params {
    fn new(path: &str, pairs: Vec<(String, String)>) -> Self {
        let mut params = Self { path: path.into(), given: BTreeMap::new(), known: Vec::new(), findings: Vec::new() };
        for (name, value) in pairs {
            if value.contains('\0') {
                params.invalid(&name, "must not contain the character NUL");
                continue;
            }
            match params.given.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(first) => {
                    let name = first.key().clone();
                    params.invalid(&name, "is given twice");
                }
            }
        }
        params
    }

    fn invalid(&mut self, name: &str, message: impl Into<String>) {
        let name: String = name.chars().take(64).collect();
        self.findings.push(Finding::new(Code::InvalidSpec, name, message));
    }

    /// The text of this parameter, of at most 256 characters.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let value = self.given.get(name)?.clone();
        if value.chars().count() > 256 {
            self.invalid(name, "must be at most 256 characters");
            return None;
        }
        Some(value)
    }

    /// The value of this parameter, which has a form of its own.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        self.read(name, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// What `read` makes of this parameter, or finds wrong with it.
    pub fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        read(&text).map_err(|problem| self.invalid(name, problem)).ok()
    }

    /// The value of this parameter, which is one of `all`.
    pub fn choice<T: Copy>(&mut self, name: &'static str, all: &[T], as_str: impl Fn(T) -> &'static str) -> Option<T> {
        self.read(name, |text| {
            let names = || all.iter().map(|one| as_str(*one)).collect::<Vec<_>>().join(", ");
            all.iter().copied().find(|one| as_str(*one) == text).ok_or_else(|| format!("must be one of {}", names()))
        })
    }

    /// The value of this parameter, which must be given.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        let value = read(self, name);
        if !self.given.contains_key(name) {
            self.invalid(name, "is required");
        }
        value
    }

    /// The flag of this name: `true` or `false`.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let read = self.read(name, |text| match text {
            "true" | "True" | "1" => Ok(true),
            "false" | "False" | "0" => Ok(false),
            _ => Err("must be true or false".into()),
        });
        read.unwrap_or(default)
    }

    /// The parameter `namespace`.
    pub fn namespace(&mut self) -> Option<String> {
        self.namespace_as("namespace")
    }

    /// The parameter `name`, which names a namespace.
    pub fn namespace_as(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |text| {
            is_label(text).then(|| text.to_owned()).ok_or_else(|| "must be the name of a namespace".into())
        })
    }

    /// Which part of the list is asked for: `limit`, and `offset` or `cursor`.
    pub fn page(&mut self, key: &CursorKey, default_limit: u32) -> Page {
        let limit = self.number("limit", 1, MAX_PAGE).unwrap_or(default_limit);
        let offset = self.number("offset", 0, i32::MAX.unsigned_abs()).unwrap_or(0);
        let after = self.other_cursor(key, "cursor");
        if offset > 0 && self.given.contains_key("cursor") {
            self.invalid("offset", "does not go with cursor");
        }
        Page { limit, offset, after }
    }

    /// The row after which the list begins that the cursor `name` is of.
    pub fn other_cursor(&mut self, key: &CursorKey, name: &'static str) -> Option<Id> {
        let (path, mut filters) = (self.path.clone(), self.filters());
        filters.insert(String::new(), name.to_owned());
        self.read(name, |cursor| {
            key.open(&path, &filters, cursor).ok_or_else(|| {
                "is no cursor of this query; take it from the Link header of the page before, with the same filters"
                    .into()
            })
        })
    }

    /// The whole number of this name, within these bounds.
    pub fn number(&mut self, name: &'static str, least: u32, greatest: u32) -> Option<u32> {
        self.read(name, |text| {
            let number = text.parse().ok().filter(|number| (least..=greatest).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {least} to {greatest}"))
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All that is wrong, parameters that nobody asked for included.
    pub fn finish(mut self) -> Result<Asked, Problem> {
        self.known.sort_unstable();
        let known = self.known.join(", ");
        let unknown: Vec<String> =
            self.given.keys().filter(|name| !self.known.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let message = match known.as_str() {
                "" => "is not a parameter; there is none here".into(),
                known => format!("is not a parameter; the parameters here are {known}"),
            };
            self.invalid(&name, message);
        }
        if !self.findings.is_empty() {
            return Err(Problem::findings(&self.findings));
        }
        Ok(Asked { filters: self.filters(), path: self.path, limit: self.given.get("limit").cloned() })
    }

    fn filters(&self) -> BTreeMap<String, String> {
        let filters = self.given.iter().filter(|(name, _)| !PAGING.contains(&name.as_str()));
        filters.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// A query that has been read: what the next page is asked for with.
#[derive(Debug)]
pub struct Asked {
    path: String,
    filters: BTreeMap<String, String>,
    limit: Option<String>,
}

impl Asked {
    /// The headers of a page that was full and ended with the row `last`: where the next one is.
    pub fn next(&self, key: &CursorKey, last: Option<Id>) -> HeaderMap {
        self.links(key, &[("next", "cursor", last)])
    }

    /// The headers of a page from which several lists go on: for each its relation, its cursor's name, and the last row of
    /// it, if there are more.
    pub fn links(&self, key: &CursorKey, lists: &[(&str, &str, Option<Id>)]) -> HeaderMap {
        let links = lists.iter().filter_map(|(relation, name, last)| Some(self.link(key, relation, name, (*last)?)));
        let links: Vec<String> = links.collect();
        let mut headers = HeaderMap::new();
        if let Ok(link) = HeaderValue::from_str(&links.join(", "))
            && !links.is_empty()
        {
            headers.insert(LINK, link);
        }
        headers
    }

    fn link(&self, key: &CursorKey, relation: &str, name: &str, last: Id) -> String {
        let mut sealed = self.filters.clone();
        sealed.insert(String::new(), name.to_owned());
        let cursor = key.seal(&self.path, &sealed, last);
        let limit = self.limit.iter().map(|limit| ("limit", limit.as_str()));
        let filters = self.filters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query: Vec<String> = filters
            .chain(limit)
            .chain([(name, cursor.as_str())])
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        format!("<{}?{}>; rel=\"{relation}\"", self.path, query.join("&"))
    }
}

/// `text` as a part of a query.
fn encoded(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::{Phase, StampKey};

    fn params(query: &[(&str, &str)]) -> Params {
        Params::new("/tasks", query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn key() -> CursorKey {
        CursorKey::of(&StampKey::from_slice(&[7; 32]).unwrap())
    }

    #[rstest]
    #[case(("limit", "0"))]
    #[case(("limit", "-1"))]
    #[case(("limit", "1000000000"))]
    #[case(("limit", "1001"))]
    #[case(("limit", "ten"))]
    #[case(("limit", ""))]
    #[case(("offset", "-1"))]
    #[case(("cursor", "made-up"))]
    #[case(("status", "done"))]
    #[case(("namespace", "Team A"))]
    #[case(("phase", "failed"))]
    fn what_does_not_fit_is_named(#[case] pair: (&str, &str)) {
        let mut params = params(&[pair]);
        params.page(&key(), 100);
        params.namespace();
        params.choice("status", &Phase::ALL, Phase::as_str);
        let problem = params.finish().unwrap_err();
        assert_eq!(problem.status, 422);
        assert_eq!(serde_json::json!(problem.detail)["violations"][0]["field"], pair.0);
    }

    #[test]
    fn all_findings_are_told_at_once() {
        let mut params = params(&[("limit", "0"), ("limit", "1"), ("x", "1")]);
        params.page(&key(), 100);
        assert_eq!(serde_json::json!(params.finish().unwrap_err().detail)["violations"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn the_next_page_is_the_same_query() {
        let mut first = params(&[("limit", "2"), ("target_repo", "octo/a&b=c é")]);
        first.page(&key(), 100);
        first.text("target_repo");
        let last: Id = "01KJMMA2G027CE4HT1RZKZBW4A".parse().unwrap();
        let headers = first.finish().unwrap().next(&key(), Some(last));
        let link = headers[LINK].to_str().unwrap();
        let uri: http::Uri = link[1..link.find('>').unwrap()].parse().unwrap();
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
        let mut next = Params::new(uri.path(), pairs);
        assert_eq!(next.page(&key(), 100), Page { limit: 2, offset: 0, after: Some(last) });
        assert_eq!(next.text("target_repo").as_deref(), Some("octo/a&b=c é"));
        next.finish().unwrap();
    }
}
