//! The two doors of the operator: REST, and the admission webhook.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::http::{Request, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::AuthInfo;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{all, post};

const SYSTEM: &str = "jct-system";

/// A client of the REST door: a service account that may do everything.
pub async fn rest(client: &Client, port: &str) -> anyhow::Result<Client> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bench"}});
    post(client, &format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts"), &account).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bench"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "bench", "namespace": SYSTEM}],
    });
    post(client, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM);
    let asked: TokenRequest =
        serde_json::from_value(json!({"spec": {"audiences": ["jct"], "expirationSeconds": 3600}}))?;
    let answer = accounts.create_token_request("bench", &PostParams::default(), &asked).await?;
    let token = answer.status.context("no token")?.token;
    let mut config = Config::new(format!("http://127.0.0.1:{port}").parse::<Uri>()?);
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Ok(Client::try_from(config)?)
}

/// Tasks asked for by so many callers, each answered when it is recorded.
pub async fn enqueue(rest: &Client, count: usize, callers: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    let asked = (0..count).map(|n| async move {
        let began = Instant::now();
        let task = json!({
            "requested_by": {"kind": "human", "id": "ada"}, "operation": "analysis", "target": {"repo": "demo/hello"},
            "objective": "Describe what this repository contains", "idempotency_key": format!("e-{callers}-{n}"),
        });
        post(rest, "/tasks/enqueue?namespace=team", &task).await?;
        Ok(began.elapsed())
    });
    let mut took = all(callers, asked).await?;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!(
        "enqueue, {callers:>2} callers: {rate:.0}/s, p50 {:.0} ms, p99 {:.0} ms",
        at(&mut took, 0.5),
        at(&mut took, 0.99)
    );
    Ok(())
}

/// The milliseconds that this share of all took at most.
pub fn at(took: &mut [Duration], share: f64) -> f64 {
    took.sort();
    took.get(((took.len().max(1) - 1) as f64 * share) as usize).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
}

/// Reviews of new Tasks at this rate, as an API server sends them.
pub async fn reviews(client: &Client, rest: &Client, port: &str, rate: u64, seconds: u64) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let secret = secrets.get("jct-webhook").await?;
    let ca = secret.data.and_then(|mut data| data.remove("ca.crt")).context("the webhook has no CA")?.0;
    let pem = String::from_utf8(ca)?;
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut config = Config::new(format!("https://127.0.0.1:{port}").parse::<Uri>()?);
    config.tls_server_name = Some(format!("jct-webhook.{SYSTEM}.svc"));
    config.root_cert = Some(vec![STANDARD.decode(base64)?]);
    let webhook = Client::try_from(config)?;
    let before = own_times(rest).await?;
    let mut tick = interval(Duration::from_micros(1_000_000 / rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    for n in 0..rate * seconds {
        tick.tick().await;
        let (webhook, review) = (webhook.clone(), review(n));
        asked.spawn(async move {
            let began = Instant::now();
            let door = if n % 2 == 0 { "/mutate" } else { "/validate" };
            let request = Request::post(door).header(header::CONTENT_TYPE, "application/json");
            let answered = webhook.request_text(request.body(review).unwrap_or_default()).await;
            answered.is_ok().then(|| began.elapsed())
        });
    }
    let mut took: Vec<Duration> = asked.join_all().await.into_iter().flatten().collect();
    let answered = took.len();
    let own = own_times(rest).await?;
    println!(
        "webhook at {rate}/s: {answered} of {} answered; its own time p50 {}, p99 {}; seen from outside p50 {:.1} ms, p99 {:.1} ms",
        rate * seconds,
        within(&before, &own, 0.5),
        within(&before, &own, 0.99),
        at(&mut took, 0.5),
        at(&mut took, 0.99)
    );
    Ok(())
}

fn review(n: u64) -> Vec<u8> {
    let resource = json!({"group": "jct.dev", "version": "v1", "resource": "tasks"});
    let review: Value = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": format!("{n}"), "operation": "CREATE", "namespace": "team", "name": format!("w-{n}"), "dryRun": true,
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Task"}, "resource": resource,
            "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
            "object": {
                "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": format!("w-{n}"), "namespace": "team"},
                "spec": {
                    "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
                    "target": {"repo": "demo/hello"}, "inputs": {"depth": 3},
                },
            },
        },
    });
    review.to_string().into_bytes()
}

/// How many reviews took no longer than each bound, by the operator's own clock.
async fn own_times(rest: &Client) -> anyhow::Result<Vec<(f64, f64)>> {
    let text = rest.request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let bucket = |line: &str| {
        let rest = line.strip_prefix("jct_admission_review_seconds_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, count.trim().parse().ok()?))
    };
    Ok(text.lines().filter_map(bucket).collect())
}

/// The bound that this share kept.
fn within(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> String {
    let new: Vec<(f64, f64)> = before.iter().zip(after).map(|((bound, was), (_, is))| (*bound, is - was)).collect();
    let all = new.last().map_or(0.0, |(_, count)| *count);
    let kept = new.iter().find(|(_, count)| *count >= all * share);
    kept.map_or("?".into(), |(bound, _)| format!("≤ {} ms", bound * 1000.0))
}
