//! The operator's memory with many suspended Tasks of the greatest size, and with work objects, while they come and after a
//! restart: a table. `cargo bench --bench memory`; a part of `make bench`.
//!
//! On an API server of its own, without nodes (`tests/cluster/up.sh --api-only`), which asks the operator's webhooks about each
//! of them; a small Task that is asked about all the while, and not stored, tells how long they take then. `JCT_BENCH_OBJECTS` says how
//! many Tasks there are to be, 2,000 by default, and a quarter as many work objects; etcd then needs some 4 GB of disk.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use kube::Client;
use tokio::sync::watch;

use support::doors::at;
use support::{Cluster, Operator, all, free_port, number, path, post, shown, wait, webhooks};

const STEPS: usize = 4;

fn main() -> anyhow::Result<()> {
    if !support::is_wanted() {
        return Ok(());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tasks = number("JCT_BENCH_OBJECTS", 2000)?;
    let cluster = Cluster::up("bench-memory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&cluster, tasks))
}

/// A line of the table.
fn tell(operator: &mut Operator, when: &str, began: Instant) -> anyhow::Result<()> {
    let process = operator.process()?;
    let (rss, peak) = (process.mib("VmRSS:"), process.mib("VmHWM:"));
    println!("{when:<32} {rss:>6} MiB {peak:>6} MiB {:>6.0?}", began.elapsed());
    Ok(())
}

async fn measure(cluster: &Cluster, tasks: usize) -> anyhow::Result<()> {
    let client = cluster.client(&["jct-system", "team"]).await?;
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    println!("\n{:<32} {:>10} {:>10} {:>6}", "", "RSS", "peak", "after");
    let port = free_port()?.to_string();
    let settings = [("JCT_WEBHOOK", "true"), ("JCT_WEBHOOK_PORT", port.as_str())];
    webhooks(&client, &port).await?;
    let mut operator = Operator::start(folder.path(), cluster, &settings)?;
    let repos = path("team", "repos");
    wait("the Repo", async || shown(&client, &repos, "True").await == 1).await?;
    wait("the webhook", async || asked(&client).await.is_ok()).await?;
    tell(&mut operator, "nothing", began)?;
    let (stop, stopped) = watch::channel(());
    let probe = tokio::spawn(probe(client.clone(), stopped));
    let (of_tasks, of_issues) = (path("team", "tasks"), path("team", "issues"));
    let mut there = 0;
    for step in 1..=STEPS {
        let upto = tasks * step / STEPS;
        all(
            8,
            (there..upto).map(|n| {
                let (client, path) = (&client, &of_tasks);
                async move { post(client, path, &task(n)).await }
            }),
        )
        .await?;
        all(
            8,
            (there / 4..upto / 4).map(|n| {
                let (client, path) = (&client, &of_issues);
                async move { post(client, path, &issue(n)).await }
            }),
        )
        .await?;
        there = upto;
        let is_recorded = async || {
            shown(&client, &of_tasks, "Suspended").await == there
                && shown(&client, &of_issues, "True").await == there / 4
        };
        wait("the record", is_recorded).await?;
        tell(&mut operator, &format!("{there} Tasks, {} Issues", there / 4), began)?;
    }
    drop(stop);
    let mut took = probe.await??;
    println!("webhooks, of a small Task: p50 {:.0} ms, p99 {:.0} ms", at(&mut took, 0.5), at(&mut took, 0.99));
    drop(operator);
    let began = Instant::now();
    let mut operator = Operator::start(folder.path(), cluster, &settings)?;
    wait("the webhook after the restart", async || asked(&client).await.is_ok()).await?;
    post(&client, &of_tasks, &task(tasks)).await?;
    wait("the Task after the restart", async || shown(&client, &of_tasks, "Suspended").await == there + 1).await?;
    tell(&mut operator, "started again", began)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    tell(&mut operator, "ten seconds later", began)?;
    let bytes = fs::metadata(folder.path().join("jct.db"))?.len();
    println!("database: {} MiB", bytes >> 20);
    Ok(())
}

/// Has a small Task judged that is not stored.
async fn asked(client: &Client) -> anyhow::Result<()> {
    let probe = json!({
        "apiVersion": "jct.dev/v1", "kind": "Task", "metadata": {"name": "probe"},
        "spec": {
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "ops",
            "target": {"repo": "demo/hello"},
        },
    });
    post(client, &format!("{}?dryRun=All", path("team", "tasks")), &probe).await
}

/// How long each question took, until told to stop. One without an answer ends it.
async fn probe(client: Client, mut stopped: watch::Receiver<()>) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    loop {
        let began = Instant::now();
        asked(&client).await?;
        took.push(began.elapsed());
        let pause = tokio::time::timeout(Duration::from_millis(250), stopped.changed());
        if pause.await.is_ok() {
            return Ok(took);
        }
    }
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
