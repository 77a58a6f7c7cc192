//! The Tasks, narrowed by what is in the URL, and live.

use askama::Template;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::{Ask, Choice, Shell, choices};
use crate::console::failure::{Failure, rendered};
use crate::console::rest::path;
use crate::console::view::time::{self, Moment};
use crate::console::view::{cut, list as entries, status, strip, text};

/// How many are on a page.
const PAGE: &str = "50";

/// Statuses, as they are asked for and shown.
pub const STATUSES: [(&str, &str); 6] = [
    ("running", "Running"),
    ("queued", "Queued"),
    ("pending", "Pending"),
    ("completed", "Completed"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
];
const OPERATIONS: [(&str, &str); 4] =
    [("code_change", "Code change"), ("docs", "Docs"), ("analysis", "Analysis"), ("ops", "Ops")];
const REQUESTERS: [(&str, &str); 3] = [("human", "A person"), ("agent", "An agent"), ("system", "A system")];

/// A Task in a list.
#[derive(Clone, Debug)]
pub struct TaskLine {
    pub id: String,
    pub name: String,
    pub namespace: String,
    pub objective: String,
    pub operation: String,
    pub repo: String,
    pub requester: String,
    pub status: &'static str,
    pub class: &'static str,
    /// Why it waits, or failed.
    pub why: String,
    pub created: Moment,
    pub took: String,
}

impl TaskLine {
    /// The line of a Task as the API shows it.
    pub fn of(task: &Value, now: Timestamp) -> Self {
        let (label, class) = status(&text(task, "/status"));
        let reason = text(task, "/error/reason");
        Self {
            id: text(task, "/id"),
            name: text(task, "/name"),
            namespace: text(task, "/namespace"),
            objective: cut(&text(task, "/objective"), 160),
            operation: text(task, "/operation").replace('_', " "),
            repo: text(task, "/target/repo"),
            requester: text(task, "/requested_by/id"),
            status: label,
            class,
            why: if reason.is_empty() { strip::waits(task).to_owned() } else { reason },
            created: Moment::of(task, "/created_at", now),
            took: time::between(task, "/started_at", "/completed_at", now).unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    shell: Shell,
    tasks: Vec<TaskLine>,
    statuses: Vec<Choice>,
    operations: Vec<Choice>,
    requesters: Vec<Choice>,
    repo: String,
    trace: String,
    is_narrowed: bool,
    /// The query of the next page.
    next: Option<String>,
    is_first: bool,
}

/// The list.
///
/// # Errors
/// What the API says.
pub async fn list(ask: Ask) -> Result<Response, Failure> {
    let shell = ask.shell("tasks");
    let narrowing = ["status", "operation", "target_repo", "requester_kind", "trace_id"];
    let mut query: Vec<(&str, &str)> = narrowing.iter().map(|name| (*name, ask.query(name).trim())).collect();
    let is_narrowed = query.iter().any(|(_, value)| !value.is_empty());
    query.extend([("namespace", shell.namespace.as_str()), ("cursor", ask.query("cursor")), ("limit", PAGE)]);
    let reply = ask.rest.get(&path("/tasks", &query)).await?;
    let page = TasksPage {
        tasks: entries(&reply.body).iter().map(|task| TaskLine::of(task, shell.now)).collect(),
        statuses: choices(&STATUSES, ask.query("status")),
        operations: choices(&OPERATIONS, ask.query("operation")),
        requesters: choices(&REQUESTERS, ask.query("requester_kind")),
        repo: ask.query("target_repo").to_owned(),
        trace: ask.query("trace_id").to_owned(),
        is_narrowed,
        next: reply.next().map(|query| format!("/console/tasks?{query}")),
        is_first: ask.query("cursor").is_empty(),
        shell,
    };
    rendered(&page)
}
