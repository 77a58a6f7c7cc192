//! What is looked at, from here.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::{Check, Status};
use crate::commands::run::{Gate, NewTask, ask};
use crate::connect::Context;
use crate::rest::{self, Refusal, Rest};
use crate::show::time;
use crate::tasks::text;

/// The least kernel that confines executors in full: docs/executors.md.
const KERNEL: (u32, u32) = (6, 2);
/// How far this machine's clock may be off.
const SKEW_SECONDS: i64 = 60;

/// All of it, what everything else needs first.
pub(super) async fn all(context: &Context) -> Vec<Check> {
    let mut checks = vec![api_server(context).await];
    if checks[0].status == Status::Failed {
        return checks;
    }
    checks.push(definitions(context).await);
    checks.push(operator(context).await);
    checks.extend(rights(context).await);
    checks.push(webhook(context).await);
    checks.push(nodes(context).await);
    checks.push(quota(context).await);
    checks.extend(inside(context).await);
    checks
}

async fn api_server(context: &Context) -> Check {
    match context.client.apiserver_version().await {
        Ok(version) => Check::ok("API server", format!("answers, {}", version.git_version)),
        Err(error) => Check::of(
            Status::Failed,
            "API server",
            error.to_string(),
            "see whether kubectl version reaches the cluster",
        ),
    }
}

async fn definitions(context: &Context) -> Check {
    const NAME: &str = "definitions";
    let found = match context.object("/apis/jct.dev/v1").await {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => return Check::of(Status::Failed, NAME, error.to_string(), "see whether JCT is installed"),
    };
    let has =
        |plural: &str| found["resources"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == plural));
    match (has("tasks"), has("sessions")) {
        (true, true) => Check::ok(NAME, "Tasks and Sessions are known"),
        (true, false) => {
            let advice = "apply the definitions of this version: kubectl apply --server-side -f charts/jct/crds";
            Check::of(Status::Failed, NAME, "Sessions are not known", advice)
        }
        _ => Check::of(Status::Failed, NAME, "Tasks are not known", "install JCT: docs/install.md"),
    }
}

async fn operator(context: &Context) -> Check {
    const NAME: &str = "operator";
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments?labelSelector=app.kubernetes.io/name%3Djct",
        context.operator_namespace
    );
    let found = match context.object(&path).await {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => return Check::of(Status::Skipped, NAME, error.to_string(), "ask who may see its namespace"),
    };
    let Some(deployment) = found["items"].as_array().and_then(|items| items.first()) else {
        let message = format!("there is no Deployment of it in namespace {}", context.operator_namespace);
        return Check::of(Status::Failed, NAME, message, "name its namespace: --operator-namespace");
    };
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let (ready, wanted) = (number("/status/readyReplicas"), number("/spec/replicas"));
    let message = format!("{ready} of {wanted} replicas are ready");
    match () {
        () if ready == 0 => {
            Check::of(Status::Failed, NAME, message, "see its log: kubectl --namespace jct-system logs deployment/jct")
        }
        () if ready < wanted => {
            Check::of(Status::Warning, NAME, message, "see why the others are not: kubectl describe pod")
        }
        () => Check::ok(NAME, message),
    }
}

async fn rights(context: &Context) -> Vec<Check> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(context.client.clone());
    let mut checks = Vec::new();
    for (verb, resource, subresource, needed, what) in [
        ("create", "sessions", None, true, "to be known to the API"),
        ("get", "tasks", Some("trace"), true, "to read what Tasks made"),
        ("create", "tasks", None, false, "to ask for Tasks"),
    ] {
        let attributes = ResourceAttributes {
            group: Some("jct.dev".into()),
            resource: Some(resource.into()),
            subresource: subresource.map(str::to_owned),
            verb: Some(verb.into()),
            namespace: Some(context.namespace.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let name = format!("right {what}");
        let place = format!("in namespace {}", context.namespace);
        checks.push(match reviews.create(&PostParams::default(), &review).await {
            Ok(review) if review.status.as_ref().is_some_and(|status| status.allowed) => Check::ok(&name, place),
            Ok(_) => {
                let status = if needed { Status::Failed } else { Status::Warning };
                Check::of(
                    status,
                    &name,
                    format!("you have it not, {place}"),
                    "ask for the role view, or edit, of the namespace",
                )
            }
            Err(error) => Check::of(Status::Skipped, &name, error.to_string(), "ask who may"),
        });
    }
    checks
}

/// Asks the gate about a Task that would be let in nowhere: that it is denied by its codes says that the webhook is reached, and
/// that the API server believes its certificate.
async fn webhook(context: &Context) -> Check {
    const NAME: &str = "webhook";
    let task = NewTask::probe();
    match ask(context, &task, true).await {
        Ok(Gate::Denied(findings)) if findings.iter().any(|finding| finding.contains("REPO_NOT_ALLOWED")) => {
            Check::ok(NAME, "the gate answers through the API server")
        }
        Ok(_) => Check::of(
            Status::Failed,
            NAME,
            "a Task that the gate denies came past it: the webhook is not configured here",
            "install the chart with webhook.enabled=true; the operator's own namespace has no webhook",
        ),
        Err(error) => {
            let message = format!("{error:#}");
            let advice =
                "see whether the operator is ready, and whether the API server reaches its Service: docs/runbooks.md";
            // Who may not make Tasks is turned away before the webhook is asked.
            let status = if message.contains("forbidden") { Status::Skipped } else { Status::Failed };
            Check::of(status, NAME, message, if status == Status::Failed { advice } else { "ask who may make Tasks" })
        }
    }
}

async fn nodes(context: &Context) -> Check {
    const NAME: &str = "nodes";
    let found = match context.object("/api/v1/nodes?limit=500").await {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => return Check::of(Status::Skipped, NAME, error.to_string(), "ask who may list nodes"),
    };
    let nodes = found["items"].as_array().cloned().unwrap_or_default();
    let kernel = |node: &Value| {
        node.pointer("/status/nodeInfo/kernelVersion").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let old: Vec<String> = nodes
        .iter()
        .filter(|node| version(&kernel(node)).is_none_or(|found| found < KERNEL))
        .map(|node| {
            format!("{} ({})", node.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default(), kernel(node))
        })
        .collect();
    if old.is_empty() {
        return Check::ok(NAME, format!("the kernels of all {} can confine executors", nodes.len()));
    }
    let advice = "executors need Linux 6.2 with Landlock: keep workers off these nodes (workers.nodeSelector)";
    Check::of(Status::Warning, NAME, format!("too old a kernel: {}", old.join(", ")), advice)
}

/// Major and minor of a kernel's version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn quota(context: &Context) -> Check {
    const NAME: &str = "quota";
    let path = format!("/api/v1/namespaces/{}/resourcequotas", context.operator_namespace);
    let found = match context.object(&path).await {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            return Check::of(Status::Skipped, NAME, error.to_string(), "ask who may see the operator's namespace");
        }
    };
    let full = full(found["items"].as_array().map(Vec::as_slice).unwrap_or_default());
    match full.as_slice() {
        [] => Check::ok(NAME, "nothing of the operator's namespace is used up"),
        full => Check::of(Status::Warning, NAME, format!("used up: {}", full.join(", ")), "raise it, or workers wait"),
    }
}

/// What is used up of these quotas.
fn full(quotas: &[Value]) -> Vec<String> {
    let of = |quota: &Value| {
        let hard = quota.pointer("/status/hard").and_then(Value::as_object).cloned().unwrap_or_default();
        let used = quota.pointer("/status/used").cloned().unwrap_or_default();
        hard.into_iter()
            .filter(move |(name, hard)| *hard != json!("0") && used.get(name) == Some(hard))
            .map(|(name, _)| name)
    };
    quotas.iter().flat_map(of).collect()
}

/// What the operator says of itself, by a Session: which is a check by itself.
async fn inside(context: &Context) -> Vec<Check> {
    let began = Instant::now();
    let asked = rest::with(context, async |rest| {
        let took = began.elapsed().as_millis();
        Ok((took, diagnostics(rest).await))
    });
    match asked.await {
        Ok((took, checks)) => {
            let session = Check::ok("session", format!("the API knows you, after {took} ms"));
            [session].into_iter().chain(checks).collect()
        }
        Err(error) => {
            vec![Check::of(
                Status::Failed,
                "session",
                format!("{error:#}"),
                "see the checks above; docs/cli.md tells the ways in",
            )]
        }
    }
}

async fn diagnostics(rest: &Rest) -> Vec<Check> {
    const NAME: &str = "inside the operator";
    let report = match rest.get("/diagnostics").await {
        Ok(report) => report,
        Err(error) => {
            let denied = error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == 403);
            let status = if denied { Status::Skipped } else { Status::Failed };
            return vec![Check::of(status, NAME, error.to_string(), "the ClusterRole jct-diagnostics lets you see it")];
        }
    };
    let mut checks = vec![versions(text(&report, "version")), clock(&report["time"], Timestamp::now())];
    for check in report["checks"].as_array().into_iter().flatten() {
        let of = |field: &str| check[field].as_str().map(str::to_owned);
        checks.push(Check {
            name: of("name").unwrap_or_default(),
            status: Status::parse(text(check, "status")),
            message: of("message").unwrap_or_default(),
            advice: of("advice"),
        });
    }
    checks
}

fn versions(operator: &str) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    if operator == own {
        return Check::ok("versions", format!("this command and the operator are of version {own}"));
    }
    let message = format!("this command is of version {own}, the operator of {operator}");
    Check::of(Status::Warning, "versions", message, "install the command that came with the operator")
}

fn clock(theirs: &Value, now: Timestamp) -> Check {
    let skew = time::parsed(theirs).map_or(0, |theirs| now.duration_since(theirs).as_secs());
    if skew.abs() <= SKEW_SECONDS {
        return Check::ok("clock here", "agrees with the operator's");
    }
    Check::of(
        Status::Warning,
        "clock here",
        format!("{skew} s ahead of the operator's"),
        "set the clock of this machine (NTP)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_old_by_its_numbers() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("6.12.3"), Some((6, 12)));
        assert_eq!(version("weird"), None);
        assert!(version("6.12.3").unwrap() >= KERNEL && version("5.15").unwrap() < KERNEL);
    }

    #[test]
    fn what_is_used_up_of_a_quota_is_named() {
        let quota = json!({"status": {"hard": {"pods": "10", "cpu": "4", "secrets": "0"}, "used": {"pods": "10", "cpu": "1", "secrets": "0"}}});
        assert_eq!(full(&[quota, json!({})]), ["pods"]);
    }

    #[test]
    fn clocks_and_versions_may_differ_a_little() {
        let theirs = json!("2026-03-01T12:00:00Z");
        let at = |text: &str| clock(&theirs, text.parse().unwrap()).status;
        assert_eq!(at("2026-03-01T12:00:50Z"), Status::Ok);
        assert_eq!(at("2026-03-01T12:02:00Z"), Status::Warning);
        assert_eq!(versions(env!("CARGO_PKG_VERSION")).status, Status::Ok);
        assert_eq!(versions("9.9.9").status, Status::Warning);
    }
}
