//! How it goes.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::tasks::TaskLine;
use super::{Ask, Choice, Shell, choices};
use crate::console::failure::{Failure, rendered};
use crate::console::rest::path;
use crate::console::view::chart;
use crate::console::view::{cut, list, text};

const SPANS: [(&str, &str); 4] = [("1", "24 hours"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days")];
/// How many Tasks that are open, and failed, are shown.
const SHOWN: &str = "8";

/// A share of something.
struct Share {
    name: String,
    count: String,
    /// How full its bar is, of 100.
    filled: u64,
    link: String,
}

/// What asking models cost.
struct Cost {
    name: String,
    usd: String,
    requests: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    spans: Vec<Choice>,
    open: Vec<(&'static str, &'static str, String)>,
    ended: Vec<(&'static str, &'static str, String)>,
    outcomes: String,
    durations: String,
    rows: Vec<chart::Row>,
    failures: Vec<Share>,
    running: Vec<TaskLine>,
    waiting: Vec<TaskLine>,
    failed: Vec<TaskLine>,
    costs: Vec<Cost>,
}

/// The page.
///
/// # Errors
/// What the API says.
pub async fn page(ask: Ask) -> Result<Response, Failure> {
    let shell = ask.shell("overview");
    let days = SPANS.iter().map(|(days, _)| *days).find(|days| *days == ask.query("days")).unwrap_or("7");
    let hours = days.parse().unwrap_or(7) * 24;
    let since = shell.now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::UNIX_EPOCH);
    let since = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let within = [("namespace", shell.namespace.as_str()), ("since", since.as_str())];
    let statistics = ask.rest.get(&path("/statistics", &within)).await?.body;
    let sum = |name: &str| -> u64 { list(&statistics["parts"]).iter().filter_map(|part| part[name].as_u64()).sum() };
    let page = OverviewPage {
        spans: choices(&SPANS, days),
        open: [("running", "run"), ("queued", "wait"), ("pending", "wait")]
            .map(|(name, class)| (name, class, text(&statistics, &format!("/open/{name}"))))
            .into(),
        ended: [("completed", "good"), ("failed", "bad"), ("cancelled", "off")]
            .map(|(name, class)| (name, class, sum(name).to_string()))
            .into(),
        outcomes: chart::outcomes(&statistics),
        durations: chart::durations(&statistics),
        rows: chart::rows(&statistics),
        failures: failures(&statistics, &shell),
        running: tasks(&ask, &shell, "running").await?,
        waiting: [tasks(&ask, &shell, "queued").await?, tasks(&ask, &shell, "pending").await?].concat(),
        failed: tasks(&ask, &shell, "failed").await?,
        costs: costs(&ask, &within).await?,
        shell,
    };
    rendered(&page)
}

async fn tasks(ask: &Ask, shell: &Shell, status: &str) -> Result<Vec<TaskLine>, Failure> {
    let query = [("namespace", shell.namespace.as_str()), ("status", status), ("limit", SHOWN)];
    let reply = ask.rest.get(&path("/tasks", &query)).await?;
    Ok(list(&reply.body).iter().map(|task| TaskLine::of(task, shell.now)).collect())
}

fn failures(statistics: &Value, shell: &Shell) -> Vec<Share> {
    let all = list(&statistics["failures"]);
    let most = all.iter().filter_map(|failure| failure["count"].as_u64()).max().unwrap_or(1).max(1);
    let share = |failure: &Value| Share {
        name: match text(failure, "/reason") {
            reason if reason.is_empty() => "no reason recorded".to_owned(),
            reason => cut(&reason, 80),
        },
        count: text(failure, "/count"),
        filled: failure["count"].as_u64().unwrap_or_default() * 100 / most,
        link: path("/console/tasks", &[("status", "failed"), ("namespace", &shell.namespace)]),
    };
    all.iter().take(8).map(share).collect()
}

async fn costs(ask: &Ask, within: &[(&str, &str); 2]) -> Result<Vec<Cost>, Failure> {
    let query = [within[0], within[1], ("by", "model")];
    let costs = match ask.rest.get(&path("/cost", &query)).await {
        Ok(reply) => reply.body,
        Err(failure) if failure.status == StatusCode::FORBIDDEN => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let cost = |cost: &Value| Cost {
        name: text(cost, "/name"),
        usd: format!("${:.2}", cost["usd"].as_f64().unwrap_or_default()),
        requests: text(cost, "/requests"),
    };
    Ok(list(&costs["costs"]).iter().take(8).map(cost).collect())
}
