//! The operator's memory with many suspended Tasks of the greatest size, and with work objects, while they come and after a
//! restart: a table. `cargo bench --bench memory`; a part of `make bench`.
//!
//! On an API server of its own, without nodes and webhooks (`tests/cluster/up.sh --api-only`). `JCT_BENCH_OBJECTS` says how
//! many Tasks there are to be, 2,000 by default, and a quarter as many work objects; etcd then needs some 4 GB of disk.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::http::{self, Request};
use futures::{StreamExt as _, stream};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

const CLUSTER: &str = "bench-memory";
const STEPS: usize = 4;

fn main() -> anyhow::Result<()> {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and wants no cluster.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tasks: usize = env::var("JCT_BENCH_OBJECTS").map_or(Ok(2000), |tasks| tasks.parse())?;
    script("up.sh", &["--api-only", CLUSTER])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let measured = runtime.block_on(measure(tasks));
    script("down.sh", &[CLUSTER])?;
    measured
}

fn script(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name);
    let status = Command::new(&path).args(arguments).status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}

/// The operator, as a process of this machine; it ends with this.
struct Operator(Child);

impl Operator {
    fn start(folder: &Path, kubeconfig: &Path) -> anyhow::Result<Self> {
        let traces = folder.join("traces");
        fs::create_dir_all(&traces)?;
        let log = fs::File::create(folder.join("operator.log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_jct"))
            .arg("operator")
            .env("KUBECONFIG", kubeconfig)
            .env("DATABASE_URL", format!("sqlite://{}", folder.join("jct.db").display()))
            .env("JCT_TRACE_ROOT", traces)
            .env("JCT_ALLOWED_REPO_PREFIXES", "demo/")
            .env("JCT_WEBHOOK", "false")
            .env("JCT_API", "false")
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the operator")?;
        Ok(Self(child))
    }

    /// A line of the table.
    fn tell(&mut self, when: &str, began: Instant) -> anyhow::Result<()> {
        if let Some(status) = self.0.try_wait()? {
            bail!("the operator has ended: {status}");
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let mib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() >> 10
        };
        let (rss, peak) = (mib("VmRSS:"), mib("VmHWM:"));
        println!("{when:<32} {rss:>6} MiB {peak:>6} MiB {:>6.0?}", began.elapsed());
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(tasks: usize) -> anyhow::Result<()> {
    let state =
        env::var("XDG_STATE_HOME").unwrap_or_else(|_| format!("{}/.local/state", env::var("HOME").unwrap_or_default()));
    let kubeconfig = Path::new(&state).join("jct/cluster").join(CLUSTER).join("kubeconfig");
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(&kubeconfig)?, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    for crd in jct::crd::all() {
        post(&client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &serde_json::to_value(crd)?).await?;
    }
    for name in ["jct-system", "team"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        post(&client, "/api/v1/namespaces", &namespace).await?;
    }
    let repo = json!({"apiVersion": "jct.dev/v1", "kind": "Repo", "metadata": {"name": "hello"},
        "spec": {"name": "hello", "slug": "demo/hello", "source": {"system": "git"}}});
    wait("the definitions", async || post(&client, &path("repos"), &repo).await.is_ok()).await?;

    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    println!("\n{:<32} {:>10} {:>10} {:>6}", "", "RSS", "peak", "after");
    let mut operator = Operator::start(folder.path(), &kubeconfig)?;
    wait("the Repo", async || shown(&client, "repos", "True").await == 1).await?;
    operator.tell("nothing", began)?;
    let mut there = 0;
    for step in 1..=STEPS {
        let upto = tasks * step / STEPS;
        let new: Vec<_> = (there..upto).map(|n| ("tasks", task(n))).collect();
        let objects = (there / 4..upto / 4).map(|n| ("issues", issue(n)));
        let all: Vec<(&str, Value)> = new.into_iter().chain(objects).collect();
        let created = all.iter().map(|(plural, manifest)| {
            let (client, path) = (&client, path(plural));
            async move { post(client, &path, manifest).await }
        });
        for done in stream::iter(created).buffer_unordered(8).collect::<Vec<_>>().await {
            done?;
        }
        there = upto;
        let is_recorded = async || {
            shown(&client, "tasks", "Suspended").await == there && shown(&client, "issues", "True").await == there / 4
        };
        wait("the record", is_recorded).await?;
        operator.tell(&format!("{there} Tasks, {} Issues", there / 4), began)?;
    }
    drop(operator);
    let began = Instant::now();
    let mut operator = Operator::start(folder.path(), &kubeconfig)?;
    post(&client, &path("tasks"), &task(tasks)).await?;
    wait("the Task after the restart", async || shown(&client, "tasks", "Suspended").await == there + 1).await?;
    operator.tell("started again", began)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    operator.tell("ten seconds later", began)?;
    let bytes = fs::metadata(folder.path().join("jct.db"))?.len();
    println!("database: {} MiB", bytes >> 20);
    Ok(())
}

fn path(plural: &str) -> String {
    format!("/apis/jct.dev/v1/namespaces/team/{plural}")
}

/// 256 KiB of inputs and 64 KiB of metadata: as many values as there may be, or one long text.
fn task(n: usize) -> Value {
    let inputs = if n.is_multiple_of(2) {
        json!({"zeros": vec![0; 19_000], "text": "x".repeat(210 * 1024), "n": n})
    } else {
        json!({"text": format!("{n}-{}", "y".repeat(255 * 1024))})
    };
    json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": format!("hostile-{n}")},
        "spec": {
            "requestedBy": {"kind": "human", "id": "mallory"}, "objective": "Fill the memory", "operation": "ops",
            "target": {"repo": "demo/hello"}, "suspend": true, "inputs": inputs,
            "metadata": {"text": format!("{n}-{}", "z".repeat(63 * 1024))},
        },
    })
}

fn issue(n: usize) -> Value {
    json!({
        "apiVersion": "jct.dev/v1", "kind": "Issue", "metadata": {"name": format!("hostile-{n}")},
        "spec": {
            "repo": {"kind": "Repo", "name": "hello"}, "title": "Hostile", "type": "ops",
            "meta": {"zeros": vec![0; 15_000], "text": format!("{n}-{}", "m".repeat(340 * 1024))},
        },
    })
}

async fn post(client: &Client, path: &str, object: &Value) -> anyhow::Result<()> {
    let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
    client.request::<Value>(request.body(serde_json::to_vec(object)?)?).await?;
    Ok(())
}

/// How many objects show `wanted` in one of their columns.
async fn shown(client: &Client, plural: &str, wanted: &str) -> usize {
    let uri = format!("{}?includeObject=None", path(plural));
    let request = Request::get(uri).header(http::header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let Ok(request) = request.body(Vec::new()) else { return 0 };
    let table: Value = client.request(request).await.unwrap_or_default();
    let rows = table["rows"].as_array().into_iter().flatten();
    rows.filter(|row| row["cells"].as_array().is_some_and(|cells| cells.contains(&json!(wanted)))).count()
}

async fn wait(what: &str, mut is_there: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_there().await {
        ensure!(began.elapsed() < Duration::from_secs(1200), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}
