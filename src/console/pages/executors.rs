//! The executors, how they do, and how the installation is.

use askama::Template;
use axum::response::Response;
use serde_json::Value;

use super::{Ask, Shell};
use crate::console::failure::{Failure, rendered};
use crate::console::rest::path;
use crate::console::view::time::{self, Moment};
use crate::console::view::{list, text};

struct Line {
    name: String,
    kind: String,
    operations: String,
    image: String,
    asks_models: bool,
    completed: u64,
    failed: u64,
    cancelled: u64,
    mean: String,
    last: Moment,
    health: &'static str,
    class: &'static str,
}

struct Check {
    name: String,
    class: &'static str,
    status: String,
    message: String,
    advice: String,
}

#[derive(Template)]
#[template(path = "executors.html")]
struct ExecutorsPage {
    shell: Shell,
    executors: Vec<Line>,
    checks: Vec<Check>,
    replica: String,
    /// Why there are no checks.
    refused: String,
}

/// The page.
///
/// # Errors
/// What the API says.
pub async fn page(ask: Ask) -> Result<Response, Failure> {
    let shell = ask.shell("executors");
    let statistics = ask.rest.get(&path("/statistics", &[("namespace", &shell.namespace)])).await?.body;
    let (diagnostics, refused) = match ask.rest.get("/diagnostics").await {
        Ok(reply) => (reply.body, String::new()),
        Err(failure) if failure.is_signed_out() => return Err(failure),
        Err(failure) => (Value::Null, failure.message),
    };
    let page = ExecutorsPage {
        executors: list(&statistics["executors"]).iter().map(|one| line(one, &shell)).collect(),
        checks: list(&diagnostics["checks"]).iter().map(check).collect(),
        replica: text(&diagnostics, "/replica"),
        refused,
        shell,
    };
    rendered(&page)
}

fn line(one: &Value, shell: &Shell) -> Line {
    let count = |name: &str| one[name].as_u64().unwrap_or_default();
    let (completed, failed) = (count("completed"), count("failed"));
    let (health, class) = match (one["configured"] == true, completed + failed, failed) {
        (false, ..) => ("Not configured", "off"),
        (_, 0, _) => ("Not used", "off"),
        (_, _, 0) => ("Well", "good"),
        (_, all, bad) if bad * 5 < all => ("Mostly well", "good"),
        (_, all, bad) if bad * 2 < all => ("Fails often", "warn"),
        _ => ("Fails mostly", "bad"),
    };
    let operations = list(&one["operations"]).iter().filter_map(Value::as_str);
    #[allow(clippy::cast_possible_truncation)] // Of seconds that were counted.
    let mean = one["mean_seconds"].as_f64().map(|mean| time::millis((mean * 1000.0) as i64));
    Line {
        name: text(one, "/name"),
        kind: text(one, "/kind"),
        operations: operations.map(|name| name.replace('_', " ")).collect::<Vec<_>>().join(", "),
        image: text(one, "/image"),
        asks_models: one["asks_models"] == true,
        completed,
        failed,
        cancelled: count("cancelled"),
        mean: mean.unwrap_or_else(|| "–".to_owned()),
        last: Moment::of(one, "/last_ended_at", shell.now),
        health,
        class,
    }
}

fn check(check: &Value) -> Check {
    let status = text(check, "/status");
    let class = match status.as_str() {
        "ok" => "good",
        "warning" => "warn",
        _ => "bad",
    };
    Check {
        name: text(check, "/name"),
        class,
        message: text(check, "/message"),
        advice: text(check, "/advice"),
        status,
    }
}
