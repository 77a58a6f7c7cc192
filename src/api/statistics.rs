//! How Tasks go.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::openapi::bodies;
use super::query::Params;
use crate::domain::Phase;
use crate::domain::executor::Executors;
use crate::domain::task::Operation;
use crate::store::{self, ByExecutor, StatisticsQuery};

/// What is told of, if it is not said: the last seven days.
const DEFAULT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many parts the time is told in at the most.
const PARTS: i64 = 60;
/// How long a part may be, in seconds.
const LENGTHS: [u32; 9] = [60, 300, 900, 3_600, 3 * 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400];

/// How Tasks go.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Statistics {
    namespace: Option<String>,
    #[schemars(schema_with = "bodies::time")]
    since: Timestamp,
    #[schemars(schema_with = "bodies::time")]
    until: Timestamp,
    /// How long each part is.
    #[schemars(range(min = 1))]
    part_seconds: u32,
    /// Tasks that have not ended.
    #[schemars(with = "Open")]
    open: BTreeMap<&'static str, u64>,
    /// Those in which a Task ended.
    parts: Vec<Part>,
    /// Of the last 2,000 that failed.
    failures: Vec<Failures>,
    /// Those of the namespace, and others that did something.
    executors: Vec<OfExecutor>,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Open {
    #[schemars(schema_with = "bodies::count")]
    pending: u64,
    #[schemars(schema_with = "bodies::count")]
    queued: u64,
    #[schemars(schema_with = "bodies::count")]
    running: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Part {
    #[schemars(schema_with = "bodies::time")]
    at: Timestamp,
    #[schemars(schema_with = "bodies::count")]
    completed: u64,
    #[schemars(schema_with = "bodies::count")]
    failed: u64,
    #[schemars(schema_with = "bodies::count")]
    cancelled: u64,
    /// From the first worker's begin to the end.
    mean_seconds: Option<f64>,
    max_seconds: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Failures {
    reason: String,
    #[schemars(schema_with = "bodies::count")]
    count: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OfExecutor {
    name: String,
    configured: bool,
    /// `built in` or `command`.
    kind: Option<&'static str>,
    operations: Vec<&'static str>,
    /// Null for the worker's own.
    image: Option<String>,
    asks_models: bool,
    #[schemars(schema_with = "bodies::count")]
    completed: u64,
    #[schemars(schema_with = "bodies::count")]
    failed: u64,
    #[schemars(schema_with = "bodies::count")]
    cancelled: u64,
    mean_seconds: Option<f64>,
    #[schemars(schema_with = "bodies::time_or_null")]
    last_ended_at: Option<Timestamp>,
}

/// How Tasks go
///
/// How many wait and run now; how those went that ended in a time, in parts of it; for which reasons the last 2,000 of them failed; and
/// how the executors did that do their work. Needs the right to `list` Tasks: of the namespace that is named, or of all.
#[utoipa::path(get, path = "/statistics", tag = "record", operation_id = "get_statistics",
    params(
        ("namespace" = Option<String>, Query, description = "Of this namespace alone"),
        ("since" = Option<String>, Query, description = "Of Tasks that ended not before this time, such as 2026-03-01T00:00:00Z; seven days ago by default"),
        ("until" = Option<String>, Query, description = "Before this time; now by default")),
    responses((status = 200, description = "The sums", body = ref("#/components/schemas/Statistics"))))]
pub async fn get(State(api): State<Api>, caller: Caller, mut query: Params) -> Result<Response, Problem> {
    let namespace = query.namespace();
    let (since, until) = (query.parsed::<Timestamp>("since"), query.parsed::<Timestamp>("until"));
    query.finish()?;
    let until = until.unwrap_or_else(Timestamp::now);
    let since = since.unwrap_or_else(|| until.saturating_sub(DEFAULT).unwrap_or(until)).min(until);
    api.access.require(&caller, &Right::resource("list", "tasks", namespace.as_deref())).await?;
    let wanted = StatisticsQuery { namespace, since, until, bucket_seconds: length(since, until) };
    let _turn = api.answers.turn().await?;
    let found = api.store.statistics(&wanted).await?;
    let body = json!(statistics(&wanted, &found, &api.executors.borrow().clone()));
    api.answers.json(&caller, HeaderMap::new(), body.to_string().into_bytes()).await
}

/// How long a part is, so that there are not too many.
fn length(since: Timestamp, until: Timestamp) -> u32 {
    let all = until.duration_since(since).as_secs();
    let longest = u32::try_from(all / PARTS + 1).unwrap_or(u32::MAX);
    LENGTHS.into_iter().find(|length| i64::from(*length) * PARTS >= all).unwrap_or(longest)
}

#[allow(clippy::cast_precision_loss)] // Seconds with three decimals.
fn seconds(micros: u64) -> f64 {
    (micros / 1_000) as f64 / 1_000.0
}

fn mean(sum: u64, count: u64) -> Option<f64> {
    sum.checked_div(count).map(seconds)
}

fn statistics(wanted: &StatisticsQuery, found: &store::Statistics, executors: &Executors) -> Statistics {
    let length = i64::from(wanted.bucket_seconds);
    let mut parts: BTreeMap<u32, Done> = BTreeMap::new();
    for ended in &found.ended {
        let part = parts.entry(ended.bucket).or_default();
        *part.counts.entry(ended.phase.as_str()).or_default() += ended.count;
        part.ran = (part.ran.0 + ended.ran, part.ran.1 + ended.run_micros.0);
        part.most = part.most.max(ended.run_micros.1);
    }
    let part = |(number, done): (&u32, &Done)| {
        let at = wanted.since.saturating_add(SignedDuration::from_secs(i64::from(*number) * length));
        Part {
            at: at.unwrap_or(wanted.since),
            completed: done.count(Phase::Completed),
            failed: done.count(Phase::Failed),
            cancelled: done.count(Phase::Cancelled),
            mean_seconds: mean(done.ran.1, done.ran.0),
            max_seconds: (done.ran.0 > 0).then(|| seconds(done.most)),
        }
    };
    let mut failures: Vec<_> = found.failures.iter().collect();
    failures.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let failures = failures.into_iter().map(|(reason, count)| Failures { reason: reason.clone(), count: *count });
    Statistics {
        namespace: wanted.namespace.clone(),
        since: wanted.since,
        until: wanted.until,
        part_seconds: wanted.bucket_seconds,
        open: found.open.clone(),
        parts: parts.iter().map(part).collect(),
        failures: failures.collect(),
        executors: by_executor(wanted, &found.executors, executors),
    }
}

/// How those did that ended within a part of the time, or by an executor.
#[derive(Default)]
struct Done {
    counts: BTreeMap<&'static str, u64>,
    /// How many ran, and how long in all, in microseconds.
    ran: (u64, u64),
    /// How long the one that ran the longest.
    most: u64,
    last: Option<Timestamp>,
}

impl Done {
    fn count(&self, phase: Phase) -> u64 {
        self.counts.get(phase.as_str()).copied().unwrap_or_default()
    }
}

/// The executors that are configured, for the namespace if one is named, and those that did something.
fn by_executor(wanted: &StatisticsQuery, found: &[ByExecutor], executors: &Executors) -> Vec<OfExecutor> {
    let namespace = wanted.namespace.as_deref();
    let mut done: BTreeMap<String, Done> = BTreeMap::new();
    for one in found {
        let operation = Operation::parse(&one.operation);
        let by_default = || {
            let default = executors.resolve(namespace.unwrap_or_default(), operation?, None).ok()?;
            Some(default.name.clone())
        };
        let name = if one.executor.is_empty() { by_default() } else { Some(one.executor.clone()) };
        let of = done.entry(name.unwrap_or_else(|| one.operation.replace('_', "-"))).or_default();
        *of.counts.entry(one.phase.as_str()).or_default() += one.count;
        of.ran = (of.ran.0 + one.ran.0, of.ran.1 + one.ran.1);
        of.last = of.last.max(one.last);
    }
    let is_here = |executor: &&crate::domain::executor::Executor| {
        namespace.is_none_or(|namespace| executor.is_allowed_in(namespace))
    };
    let mut shown = Vec::new();
    for executor in executors.iter().filter(is_here) {
        shown.push(OfExecutor {
            configured: true,
            kind: Some(if executor.builtin.is_some() { "built in" } else { "command" }),
            operations: executor.operations.iter().map(|operation| operation.as_str()).collect(),
            image: executor.image.clone(),
            asks_models: executor.model.is_some(),
            ..of_executor(&executor.name, &done.remove(&executor.name).unwrap_or_default())
        });
    }
    shown.extend(done.iter().map(|(name, done)| of_executor(name, done)));
    shown
}

fn of_executor(name: &str, done: &Done) -> OfExecutor {
    OfExecutor {
        name: name.into(),
        configured: false,
        kind: None,
        operations: Vec::new(),
        image: None,
        asks_models: false,
        completed: done.count(Phase::Completed),
        failed: done.count(Phase::Failed),
        cancelled: done.count(Phase::Cancelled),
        mean_seconds: mean(done.ran.1, done.ran.0),
        last_ended_at: done.last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_not_too_many_parts() {
        let until: Timestamp = "2026-03-08T00:00:00Z".parse().unwrap();
        let of = |hours: i64| length(until - SignedDuration::from_hours(hours), until);
        assert_eq!([0, 1, 24, 7 * 24, 30 * 24, 365 * 24].map(of), [60, 60, 3_600, 3 * 3_600, 86_400, 7 * 86_400]);
        let century = of(24 * 365 * 100);
        assert!(i64::from(century) * PARTS >= 3_600 * 24 * 365 * 100, "{century}");
    }

    #[test]
    fn work_is_told_of_the_executor_that_did_it() {
        let one = |executor: &str, operation: &str, phase, count| ByExecutor {
            executor: executor.into(),
            operation: operation.into(),
            phase,
            count,
            ran: (count, count * 2_000_000),
            last: None,
        };
        let found = [
            one("", "code_change", Phase::Completed, 3),
            one("code-change", "code_change", Phase::Failed, 1),
            one("gone", "docs", Phase::Completed, 2),
        ];
        let wanted = StatisticsQuery {
            namespace: None,
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            bucket_seconds: 60,
        };
        let shown = by_executor(&wanted, &found, &Executors::default());
        let of = |name: &str| json!(shown.iter().find(|one| one.name == name).unwrap());
        assert_eq!((&of("code-change")["completed"], &of("code-change")["failed"]), (&json!(3), &json!(1)));
        assert_eq!(
            (&of("code-change")["mean_seconds"], &of("code-change")["operations"]),
            (&json!(2.0), &json!(["code_change"]))
        );
        assert_eq!((&of("gone")["configured"], &of("gone")["completed"]), (&json!(false), &json!(2)));
        assert_eq!(of("ops")["completed"], 0, "those that did nothing are there");
    }
}
