//! One Task.

pub mod actions;
pub mod files;
pub mod log;
pub mod provenance;
pub mod report;
pub mod why;

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::{Ask, Shell};
use crate::console::failure::{Failure, rendered};
use crate::console::rest::{encoded, path};
use crate::console::view::events::{self, EventLine};
use crate::console::view::strip::{self, Stage};
use crate::console::view::time;
use crate::console::view::{self, lines, list, status, text};

/// What stands above every page of a Task.
#[derive(Clone, Debug)]
pub struct Head {
    pub shell: Shell,
    pub id: String,
    pub name: String,
    pub namespace: String,
    pub objective: String,
    pub status: &'static str,
    pub class: &'static str,
    /// Why it waits.
    pub waits: &'static str,
    pub stages: Vec<Stage>,
    pub has_ended: bool,
    /// Which of the pages it is.
    pub tab: &'static str,
    pub trace_id: String,
    /// The attempts, the newest last; none for who may not see them.
    pub attempts: Vec<Value>,
    /// Why there are none.
    pub no_traces: Option<String>,
    /// The Task as the API has it.
    pub task: Value,
}

impl Head {
    /// The Task with this id.
    ///
    /// # Errors
    /// What the API says, such as that there is none.
    pub async fn of(ask: &Ask, id: &str, tab: &'static str) -> Result<Self, Failure> {
        let at = format!("/tasks/{}", encoded(id));
        let task = ask.rest.get(&at).await?.body;
        let (attempts, no_traces) = match ask.rest.get(&format!("{at}/trace")).await {
            Ok(reply) => (list(&reply.body).to_vec(), None),
            Err(failure) if failure.status == StatusCode::FORBIDDEN => (Vec::new(), Some(failure.message)),
            Err(failure) if failure.is_signed_out() => return Err(failure),
            // The volume may be away while the record is there.
            Err(failure) => (Vec::new(), Some(failure.message)),
        };
        let mut shell = ask.shell("tasks");
        let now = shell.now;
        if ask.query("namespace").is_empty() {
            shell.namespace = text(&task, "/namespace");
        }
        let (label, class) = status(&text(&task, "/status"));
        Ok(Self {
            shell,
            id: text(&task, "/id"),
            name: text(&task, "/name"),
            namespace: text(&task, "/namespace"),
            objective: lines(&task, "/objective"),
            status: label,
            class,
            waits: strip::waits(&task),
            stages: strip::of(&task, &attempts, now),
            has_ended: !task["completed_at"].is_null(),
            tab,
            trace_id: text(&task, "/trace_id"),
            attempts,
            no_traces,
            task,
        })
    }

    /// The objective, in short.
    pub fn about(&self) -> String {
        view::cut(self.objective.lines().next().unwrap_or_default(), 160)
    }

    /// Whether this is that page.
    pub fn is(&self, tab: &str) -> bool {
        self.tab == tab
    }

    /// The attempt that `number` names, or the newest.
    pub fn attempt(&self, number: &str) -> Option<&Value> {
        match number {
            "" => self.attempts.last(),
            _ => self.attempts.iter().find(|attempt| text(attempt, "/attempt") == number),
        }
    }

    /// The numbers of the attempts.
    pub fn numbers(&self) -> Vec<String> {
        self.attempts.iter().map(|attempt| text(attempt, "/attempt")).collect()
    }

    /// The newest attempt whose trace has the file called `name`, and its path there.
    pub fn newest_with(&self, name: &str) -> Option<(String, String)> {
        self.attempts.iter().rev().find_map(|attempt| {
            let mut files = list(&attempt["files"]).iter().filter_map(|file| file["path"].as_str());
            let found = files.find(|path| *path == format!("artifacts/{name}"))?;
            Some((text(attempt, "/attempt"), found.to_owned()))
        })
    }
}

/// A fact about a Task.
#[derive(Clone, Debug)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    /// Where more of it is told; empty where it is not.
    pub link: String,
    /// Whether it is an id or a name of a program's.
    pub is_code: bool,
}

#[derive(Template)]
#[template(path = "task.html")]
struct SummaryPage {
    shell: Shell,
    head: Head,
    facts: Vec<Fact>,
    criteria: Vec<String>,
    error: Option<(String, String)>,
    result: Option<String>,
    events: Vec<EventLine>,
    attempt: String,
    has_more_events: bool,
    inputs: Option<String>,
    cancelled: bool,
}

/// What it is and how it goes.
///
/// # Errors
/// What the API says.
pub async fn summary(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "summary").await?;
    let attempt = head.attempts.last().map(|attempt| text(attempt, "/attempt")).unwrap_or_default();
    let events = match attempt.as_str() {
        "" => Vec::new(),
        _ => {
            let at = path(&format!("/tasks/{}/events", head.id), &[("attempt", &attempt), ("limit", "200")]);
            // Of a trace that was removed, or can't be read now, the rest of the page is told.
            ask.rest.get(&at).await.map(|reply| list(&reply.body).to_vec()).unwrap_or_default()
        }
    };
    let task = &head.task;
    let error = task["error"].is_object().then(|| (text(task, "/error/reason"), text(task, "/error/message")));
    let result = task["result"].is_object().then(|| match task["result"]["summary"].as_str() {
        Some(summary) => view::plain_lines(summary),
        None => {
            let files: Vec<_> = list(&task["result"]["artifacts"]).iter().filter_map(Value::as_str).take(20).collect();
            let detail = [text(task, "/result/outcome"), view::plain(&files.join(", "))];
            detail.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        }
    });
    let inputs = task["inputs"].as_object().filter(|inputs| !inputs.is_empty());
    let page = SummaryPage {
        shell: head.shell.clone(),
        facts: facts(&head),
        criteria: list(&task["acceptance_criteria"])
            .iter()
            .filter_map(Value::as_str)
            .map(view::plain)
            .take(50)
            .collect(),
        error,
        result,
        events: events::lines(&events, head.shell.now),
        attempt,
        has_more_events: events.len() >= 200,
        inputs: inputs.map(|_| view::pretty(&task["inputs"], 8_000)),
        cancelled: !ask.query("cancelled").is_empty(),
        head,
    };
    rendered(&page)
}

fn facts(head: &Head) -> Vec<Fact> {
    let task = &head.task;
    let fact = |name, value: String| Fact { name, value, link: String::new(), is_code: false };
    let code = |name, value: String| Fact { is_code: true, ..fact(name, value) };
    let requester = format!("{} ({})", text(task, "/requested_by/id"), text(task, "/requested_by/kind"));
    let submitted = match text(task, "/submitted_by") {
        user if user.is_empty() => "nobody vouches for who submitted it".to_owned(),
        user => user,
    };
    let repo = text(task, "/target/repo");
    let target = [repo.clone(), text(task, "/target/ref"), text(task, "/target/path")];
    let target: Vec<String> = target.into_iter().filter(|part| !part.is_empty()).collect();
    let took = time::between(task, "/started_at", "/completed_at", head.shell.now).unwrap_or_default();
    let yes = |field: &str| if task["constraints"][field] == true { "allowed" } else { "no" };
    let issue = text(task, "/cwom_issue_id");
    let budget = task["constraints"]["time_budget_seconds"].as_i64().map(time::seconds).unwrap_or_default();
    let mut facts = vec![
        fact("Requested by", requester),
        fact("Submitted by", submitted),
        fact("Operation", text(task, "/operation").replace('_', " ")),
        Fact {
            link: path("/console/tasks", &[("target_repo", &repo), ("namespace", &head.namespace)]),
            ..code("Target", target.join(" · "))
        },
        fact("Limits", format!("{budget} · network {} · secrets {}", yes("allow_network"), yes("allow_secrets"))),
        fact("Took", took),
        code("Pod", text(task, "/assigned_to")),
        Fact { link: format!("/console/objects/issues/{issue}"), ..code("Issue", issue.clone()) },
        Fact {
            link: path("/console/tasks", &[("trace_id", &head.trace_id), ("namespace", &head.namespace)]),
            ..code("Trace id", head.trace_id.clone())
        },
        code("Id", head.id.clone()),
    ];
    facts.retain(|fact| !fact.value.is_empty());
    facts
}
