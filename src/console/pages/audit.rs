//! The audit log, searched.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::{Ask, Choice, Shell, choices};
use crate::console::failure::{Failure, rendered};
use crate::console::rest::path;
use crate::console::view::changes::{Change, between};
use crate::console::view::time::Moment;
use crate::console::view::{lines, list, text};
use crate::domain::cwom::Kind;

const PAGE: &str = "50";

const KINDS: [(&str, &str); 12] = [
    ("Task", "Task"),
    ("Job", "Attempt"),
    ("Trace", "Trace"),
    ("Repo", "Repo"),
    ("Issue", "Issue"),
    ("ContextPacket", "Context packet"),
    ("ConstraintSnapshot", "Constraints"),
    ("DoctrineRef", "Doctrine"),
    ("Run", "Run"),
    ("Artifact", "Artifact"),
    ("AdmissionDenial", "Denied request"),
    ("Database", "Database"),
];
const ACTIONS: [(&str, &str); 6] = [
    ("created", "Created"),
    ("updated", "Updated"),
    ("status_changed", "Status changed"),
    ("deleted", "Deleted"),
    ("linked", "Linked"),
    ("unlinked", "Unlinked"),
];
const ACTORS: [(&str, &str); 3] = [("human", "A person"), ("agent", "An agent"), ("system", "A system")];

/// An entry, as it is shown.
#[derive(Clone, Debug)]
pub struct EntryLine {
    pub id: String,
    pub at: Moment,
    pub actor: String,
    pub actor_kind: String,
    pub action: String,
    pub entity_kind: String,
    pub entity_id: String,
    /// Where the entity is shown; empty if it is not.
    pub link: String,
    pub trace_id: String,
    pub note: String,
    pub changes: Vec<Change>,
    /// From which status to which.
    pub turn: String,
}

impl EntryLine {
    /// The entry as the API has it.
    pub fn of(entry: &Value, now: Timestamp) -> Self {
        let (kind, id) = (text(entry, "/entity_kind"), text(entry, "/entity_id"));
        let link = match (kind.as_str(), Kind::parse(&kind)) {
            ("Task", _) => format!("/console/tasks/{id}"),
            (_, Some(kind)) => format!("/console/objects/{}/{id}", kind.collection()),
            _ => String::new(),
        };
        Self {
            id: text(entry, "/id"),
            at: Moment::of(entry, "/ts", now),
            actor: text(entry, "/actor_id"),
            actor_kind: text(entry, "/actor_kind"),
            action: text(entry, "/action").replace('_', " "),
            entity_kind: kind,
            entity_id: id,
            link,
            trace_id: text(entry, "/trace_id"),
            note: lines(entry, "/note"),
            turn: match (text(entry, "/before/status"), text(entry, "/after/status")) {
                (before, after) if !before.is_empty() && !after.is_empty() => format!("{before} → {after}"),
                _ => String::new(),
            },
            changes: between(&entry["before"], &entry["after"]),
        }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    entries: Vec<EntryLine>,
    kinds: Vec<Choice>,
    actions: Vec<Choice>,
    actors: Vec<Choice>,
    entity_id: String,
    actor_id: String,
    trace_id: String,
    since: String,
    until: String,
    next: Option<String>,
    is_first: bool,
    /// Why nothing is shown.
    refused: Option<String>,
}

/// A day, or a time, as the API takes it.
fn time(given: &str) -> String {
    let given = given.trim();
    match given.len() {
        10 => format!("{given}T00:00:00Z"),
        16 => format!("{given}:00Z"),
        _ => given.to_owned(),
    }
}

/// The search.
///
/// # Errors
/// What the API says.
pub async fn page(ask: Ask) -> Result<Response, Failure> {
    let shell = ask.shell("audit");
    let (since, until) = (time(ask.query("since")), time(ask.query("until")));
    let named = ["entity_kind", "entity_id", "trace_id", "actor_kind", "actor_id", "action"];
    let mut query: Vec<(&str, &str)> = named.iter().map(|name| (*name, ask.query(name).trim())).collect();
    query.extend([("since", since.as_str()), ("until", &until), ("cursor", ask.query("cursor")), ("limit", PAGE)]);
    let (entries, next, refused) = match ask.rest.get(&path("/audit", &query)).await {
        Ok(reply) => {
            let entries = list(&reply.body).iter().map(|entry| EntryLine::of(entry, shell.now)).collect();
            (entries, reply.next(), None)
        }
        Err(failure) if failure.is_signed_out() => return Err(failure),
        Err(failure) => {
            let refused = [vec![failure.message], failure.findings].concat().join("; ");
            (Vec::new(), None, Some(refused))
        }
    };
    let given = |name: &str| ask.query(name).to_owned();
    let page = AuditPage {
        entries,
        kinds: choices(&KINDS, ask.query("entity_kind")),
        actions: choices(&ACTIONS, ask.query("action")),
        actors: choices(&ACTORS, ask.query("actor_kind")),
        entity_id: given("entity_id"),
        actor_id: given("actor_id"),
        trace_id: given("trace_id"),
        since: given("since"),
        until: given("until"),
        next: next.map(|query| format!("/console/audit?{query}")),
        is_first: ask.query("cursor").is_empty(),
        refused,
        shell,
    };
    rendered(&page)
}
