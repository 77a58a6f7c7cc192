//! How the installation is, as far as this replica can tell: what `kubectl jct doctor` shows.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::auth::{Caller, Right};
use super::error::Problem;
use super::openapi::bodies;
use super::query::Params;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Check {
    name: &'static str,
    status: Status,
    message: String,
    /// What to do; only where something is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    advice: Option<&'static str>,
}

/// How the installation is, as far as one replica can tell.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Diagnostics {
    version: &'static str,
    /// The pod that answers.
    replica: String,
    /// Whether it runs the controller.
    leads: bool,
    /// By the API server's clock.
    #[schemars(schema_with = "bodies::time")]
    time: Timestamp,
    checks: Vec<Check>,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, message: message.into(), advice: None }
    }

    fn failed(name: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self { name, status: Status::Failed, message: message.into(), advice: Some(advice) }
    }

    fn warning(name: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self { status: Status::Warning, ..Self::failed(name, message, advice) }
    }

    /// Of a gauge that is 1 while all is well.
    fn gauge(name: &'static str, is_well: bool, well: &str, otherwise: &str, advice: &'static str) -> Self {
        if is_well { Self::ok(name, well) } else { Self::failed(name, otherwise, advice) }
    }
}

/// How the installation is
///
/// What this replica finds of itself and of what it depends on, each with what to do. Needs the right to `get` the path
/// `/diagnostics`.
#[utoipa::path(get, path = "/diagnostics", tag = "operation", operation_id = "diagnostics",
    responses((status = 200, description = "`checks`, each with `name`, `status` (`ok`, `warning` or `failed`), `message` and `advice`",
               body = ref("#/components/schemas/Diagnostics"))))]
pub async fn report(State(api): State<Api>, caller: Caller, query: Params) -> Result<Json<Value>, Problem> {
    query.finish()?;
    api.access.require(&caller, &Right::Path { verb: "get", path: "/diagnostics" }).await?;
    let mut checks = vec![database(&api).await, volume(&api).await];
    checks.extend(parts(&api));
    checks.extend([webhook(&api), certificate(&api), clock(&api), keys(&api)]);
    checks.extend(gauges(&api));
    Ok(Json(json!(Diagnostics {
        version: env!("CARGO_PKG_VERSION"),
        replica: std::env::var("HOSTNAME").unwrap_or_default(),
        leads: api.health.gauges.leads.get() == 1,
        time: api.health.clock.now(),
        checks,
    })))
}

async fn database(api: &Api) -> Check {
    match api.readiness.of(&api.health.store).await {
        Ok(()) => Check::ok("database", "can be written"),
        Err(why) => Check::failed(
            "database",
            why,
            "Tasks wait until it answers; see the operator's log, and docs/operate.md about the database",
        ),
    }
}

async fn volume(api: &Api) -> Check {
    const MIB: u64 = 1 << 20;
    match api.results.room().await {
        None => Check::warning("trace volume", "this replica has none", "mount the trace volume (persistence.traces)"),
        Some(Ok((free, all))) if free < all / 20 => Check::warning(
            "trace volume",
            format!("{} MiB of {} MiB are free", free / MIB, all / MIB),
            "enlarge it, or let retention remove more (retention)",
        ),
        Some(Ok((free, all))) => Check::ok("trace volume", format!("{} MiB of {} MiB are free", free / MIB, all / MIB)),
        Some(Err(error)) => Check::failed(
            "trace volume",
            error.to_string(),
            "see whether the volume is mounted and its storage answers: without it nothing starts",
        ),
    }
}

fn parts(api: &Api) -> Vec<Check> {
    let check = |(name, ready): &(&'static str, tokio::sync::watch::Receiver<bool>)| match *ready.borrow() {
        true => Check::ok(name, "has started"),
        false => Check::failed(name, "has not started", "see the operator's log for what it waits for"),
    };
    api.health.parts.iter().map(check).collect()
}

fn webhook(api: &Api) -> Check {
    match api.trust.borrow().covered_since {
        Some(since) => Check::ok("webhook configurations", format!("there since {since}")),
        None => Check::failed(
            "webhook configurations",
            "one is missing, or its failurePolicy is Ignore: objects come past it, and nobody vouches for who made them",
            "install the chart again with webhook.enabled=true",
        ),
    }
}

fn certificate(api: &Api) -> Check {
    let at = api.health.gauges.certificate_expiry.get();
    #[allow(clippy::cast_possible_truncation)] // Seconds of this era fit.
    let left = (at > 0.0).then(|| at as i64 - api.health.clock.now().as_second());
    match left {
        None => Check::ok("webhook certificate", "this replica serves no webhook"),
        Some(left) if left <= 0 => Check::failed(
            "webhook certificate",
            "has ended: the API server does not believe the webhook",
            "the operator renews it by itself: see its log for why it can't",
        ),
        Some(left) => Check::ok("webhook certificate", format!("ends in {} h", left / 3600)),
    }
}

fn clock(api: &Api) -> Check {
    match api.health.clock.skew() {
        None => Check::ok("clock", "agrees with the API server's"),
        Some(skew) => Check::warning(
            "clock",
            format!("{} s ahead of the API server's", skew.as_secs()),
            "set the clocks of nodes and API server (NTP); the API server's is gone by",
        ),
    }
}

fn keys(api: &Api) -> Check {
    match api.health.keys.current() {
        Some(_) => Check::ok("signing keys", "are there"),
        None => Check::failed(
            "signing keys",
            "are not there: traces are not signed",
            "see whether the operator may read and create its Secret (rbac.create)",
        ),
    }
}

fn gauges(api: &Api) -> Vec<Check> {
    let gauges = &api.health.gauges;
    let lost = gauges.records_lost.get();
    let record = match lost {
        0 => Check::ok("record", "knows of all Tasks"),
        _ => Check::failed(
            "record",
            format!("{lost} Tasks show more than the record knows"),
            "decide about them with `jct tasks` (docs/operate.md)",
        ),
    };
    vec![
        record,
        Check::gauge(
            "audit log",
            gauges.audit_log_intact.get() == 1,
            "is the one that was signed",
            "is not the one that was signed",
            "see docs/audit.md: somebody may have changed the database",
        ),
        Check::gauge(
            "executors",
            gauges.executors_valid.get() == 1,
            "their configuration is the one that is there",
            "their configuration is wrong: the one before holds",
            "mend `executors` in the values: the operator's log names the field",
        ),
        Check::gauge(
            "retention",
            gauges.retention_valid.get() == 1,
            "its configuration is the one that is there",
            "its configuration is wrong: the one before holds",
            "mend `retention` in the values: the operator's log names the field",
        ),
    ]
}
