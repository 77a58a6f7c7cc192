//! What the operator makes of Tasks beside a real API server, and what it costs: a table. `cargo bench --bench cluster`; a part of
//! `make bench`.
//!
//! On an etcd and an API server of its own, without nodes (`tests/cluster/up.sh --api-only`), the operator beside them as a process,
//! with SQLite in full sync. Every rate is also given as a share of what the same API server makes of bare Jobs, by the same
//! clients in the same run: machines differ, shares hardly do. docs/performance.md has the figures and what they mean.
//!
//! `JCT_BENCH_TASKS` is how many Tasks there are for each number of clients (1,000), `JCT_BENCH_QUEUED` how many wait for the
//! measure of memory (10,000), `JCT_BENCH_ENDED` how many have ended besides (0; 100,000 take five minutes).

#[path = "cluster/ended.rs"]
mod ended;
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use axum::http::Request;
use futures::TryStreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use support::{Cluster, Operator, Process, all, doors, free_port, number, path, post, shown, wait};

const WORKERS: &str = "workers";

fn main() -> anyhow::Result<()> {
    if !support::is_wanted() {
        return Ok(());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = Cluster::up("bench-cluster")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&cluster))
}

async fn measure(cluster: &Cluster) -> anyhow::Result<()> {
    let client = cluster.client(&["jct-system", "team", "other", WORKERS, "ended", "same"]).await?;
    let folder = tempfile::tempdir()?;
    let (rest, webhook) = (free_port()?.to_string(), free_port()?.to_string());
    let settings = [
        ("JCT_WORKER_NAMESPACE", WORKERS),
        ("JCT_API", "true"),
        ("API_PORT", &rest),
        ("JCT_WEBHOOK", "true"),
        ("JCT_WEBHOOK_PORT", &webhook),
    ];
    let seen = Arc::new(Seen::default());
    tokio::spawn(follow(client.clone(), seen.clone()));
    let bench = Bench { cluster, client, folder: folder.path(), settings: &settings, seen };

    println!(
        "\n{:<34} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8}",
        "", "Jobs/s", "of bare", "of same", "p50 ms", "p99 ms", "p99/p50", "writes", "oper. ms", "API ms", "etcd ms"
    );
    let count = number("JCT_BENCH_TASKS", 1000)?;
    let mut operator = None;
    let mut rates = Vec::new();
    for clients in [4, 16] {
        rates.push((clients, bench.bare(count, clients).await?, bench.same(count, clients).await?));
    }
    for (clients, bare, same) in rates {
        if operator.is_none() {
            operator = Some(bench.start().await?.0);
        }
        if let Some(operator) = &mut operator {
            bench.tasks(operator, count, clients, (bare, same)).await?;
        }
    }
    if let Some(operator) = &mut operator {
        bench.turns(operator).await?;
    }
    let door = doors::rest(&bench.client, &rest).await?;
    for callers in [1, 16, 64] {
        doors::enqueue(&door, count.min(100 * callers), callers).await?;
    }
    doors::reviews(&bench.client, &door, &webhook, 500, 10).await?;
    let operator = bench.queued(operator, number("JCT_BENCH_QUEUED", 10_000)?).await?;
    bench.ended(operator, number("JCT_BENCH_ENDED", 0)?).await
}

/// What is measured with.
struct Bench<'a> {
    cluster: &'a Cluster,
    client: Client,
    folder: &'a Path,
    settings: &'a [(&'a str, &'a str)],
    seen: Arc<Seen>,
}

/// When the first Job of each Task was seen, and how many there were before.
#[derive(Default)]
struct Seen(Mutex<HashMap<String, (Instant, usize)>>);

impl Seen {
    fn note(&self, name: String) {
        if let Ok(mut seen) = self.0.lock() {
            let before = seen.len();
            seen.entry(name).or_insert_with(|| (Instant::now(), before));
        }
    }

    fn of(&self, name: &str) -> Option<(Instant, usize)> {
        self.0.lock().ok()?.get(name).copied()
    }

    fn len(&self) -> usize {
        self.0.lock().map_or(0, |seen| seen.len())
    }
}

async fn follow(client: Client, seen: Arc<Seen>) {
    let jobs: Api<Job> = Api::namespaced(client, WORKERS);
    loop {
        if let Err(error) = watch(&jobs, &seen).await {
            eprintln!("the watch of Jobs broke off: {error}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What is there, and from then on what comes: `0` as a version would be a watch that not every etcd can do.
async fn watch(jobs: &Api<Job>, seen: &Seen) -> anyhow::Result<()> {
    let note = |job: &Job| {
        seen.note(job.annotations().get("jct.dev/task-name").cloned().unwrap_or_else(|| job.name_any()));
    };
    let there = jobs.list(&ListParams::default()).await?;
    there.items.iter().for_each(note);
    let version = there.metadata.resource_version.unwrap_or_default();
    let mut events = std::pin::pin!(jobs.watch(&WatchParams::default(), &version).await?);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(job) => note(&job),
            WatchEvent::Error(status) => bail!("{}", status.message),
            _ => {}
        }
    }
    Ok(())
}

fn task(name: &str) -> Value {
    json!({
        "apiVersion": "jct.dev/v1", "kind": "Task",
        // As the webhook leaves it, which the API server does not call here: its name leads nowhere.
        "metadata": {"name": name, "finalizers": ["jct.dev/record"]},
        "spec": {
            "requestedBy": {"kind": "human", "id": "ada"}, "operation": "analysis", "target": {"repo": "demo/hello"},
            "objective": "Describe what this repository contains and where its bulk lies",
            "acceptanceCriteria": ["the report names the largest files"], "inputs": {"depth": 3},
        },
    })
}

/// What the processes have used, and the API server has written.
#[derive(Clone, Copy)]
struct Used {
    operator: f64,
    api: f64,
    etcd: f64,
    writes: u64,
}

impl Bench<'_> {
    async fn used(&self, operator: Option<Process>) -> anyhow::Result<Used> {
        Ok(Used {
            operator: operator.map_or(0.0, Process::cpu),
            api: self.cluster.process("apiserver")?.cpu(),
            etcd: self.cluster.process("etcd")?.cpu(),
            writes: self.writes().await?,
        })
    }

    /// The writes that the API server has answered so far, leases apart.
    async fn writes(&self) -> anyhow::Result<u64> {
        let text = self.client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
        let is_write = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && ["POST", "PUT", "PATCH", "DELETE"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
                && !line.contains("resource=\"leases\"")
        };
        let counts = text.lines().filter(is_write).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.sum::<f64>() as u64)
    }

    /// Starts an operator; returns how long it took until it was ready, too.
    async fn start(&self) -> anyhow::Result<(Operator, Duration)> {
        let before = self.ready();
        let began = Instant::now();
        let operator = Operator::start(self.folder, self.cluster, self.settings)?;
        wait("the operator", async || self.ready() > before).await?;
        Ok((operator, began.elapsed()))
    }

    /// How many times the log says that the controller is ready.
    fn ready(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.join("operator.log")).unwrap_or_default();
        log.matches("controller is ready").count()
    }

    /// Jobs as the operator makes them, by so many clients: how many in a second.
    async fn bare(&self, count: usize, clients: usize) -> anyhow::Result<f64> {
        let jobs = (0..count).map(|n| self.job(format!("bare-{clients}-{n}")));
        self.alone(&format!("{count} bare Jobs, {clients} clients"), 1, clients, jobs).await
    }

    /// What is written for a Task, by the clients alone: the Task, its Job, its status. How many of those in a second.
    async fn same(&self, count: usize, clients: usize) -> anyhow::Result<f64> {
        let tasks = (0..count).map(|n| async move {
            let name = format!("same-{clients}-{n}");
            let mut task = task(&name);
            task["metadata"]["finalizers"] = json!([]);
            post(&self.client, &path("same", "tasks"), &task).await?;
            self.job(name.clone()).await?;
            let status = json!({"status": {
                "observedGeneration": 1, "id": "01KJMMA2G027CE4HT1RZKZBW4A", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                "phase": "Queued", "reason": "JobCreated", "message": "Job t-1 is created and waits for its pod to start",
                "attempt": 1, "jobName": "t-1", "operation": "analysis", "repo": "demo/hello",
            }});
            let request = Request::patch(format!("{}/{name}/status", path("same", "tasks")));
            let request = request.header("content-type", "application/merge-patch+json");
            self.client.request_text(request.body(serde_json::to_vec(&status)?)?).await?;
            Ok(())
        });
        let reported = format!("{count} times the same, {clients} clients");
        let rate = self.alone(&reported, 3, clients, tasks).await?;
        self.client.request_text(Request::delete(path("same", "tasks")).body(Vec::new())?).await?;
        wait("their end", async || shown(&self.client, &path("same", "tasks"), "JobCreated").await == 0).await?;
        Ok(rate)
    }

    async fn job(&self, name: String) -> anyhow::Result<()> {
        let container = |name: &str| json!({"name": name, "image": "jct-worker:dev", "args": ["x".repeat(600)]});
        let containers = ["source", "executor", "worker"].map(container);
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": containers}}},
        });
        post(&self.client, &format!("/apis/batch/v1/namespaces/{WORKERS}/jobs"), &job).await
    }

    /// What clients do without an operator, so many writes each time: a row of the table.
    async fn alone(
        &self,
        reported: &str,
        writes: usize,
        clients: usize,
        work: impl ExactSizeIterator<Item = impl Future<Output = anyhow::Result<()>>>,
    ) -> anyhow::Result<f64> {
        let (before, began, count) = (self.used(None).await?, Instant::now(), work.len() as f64);
        all(clients, work).await?;
        let rate = count / began.elapsed().as_secs_f64();
        let used = self.used(None).await?;
        let each = |used: f64| used * 1000.0 / count;
        println!(
            "{reported:<34} {rate:>8.0} {:>8} {:>8} {:>8} {:>7} {:>7} {writes:>8.1} {:>8} {:>8.2} {:>8.2}",
            "",
            "",
            "",
            "",
            "",
            "",
            each(used.api - before.api),
            each(used.etcd - before.etcd)
        );
        Ok(rate)
    }

    /// Tasks by so many clients, until each has its Job.
    async fn tasks(
        &self,
        operator: &mut Operator,
        count: usize,
        clients: usize,
        (bare, same): (f64, f64),
    ) -> anyhow::Result<()> {
        let before = self.used(Some(operator.process()?)).await?;
        let jobs = self.seen.len();
        let began = Instant::now();
        let applied = all(
            clients,
            (0..count).map(|n| async move {
                let name = format!("t-{clients}-{n}");
                post(&self.client, &path("team", "tasks"), &task(&name)).await?;
                Ok((name, Instant::now()))
            }),
        )
        .await?;
        wait("the Jobs", async || self.seen.len() >= jobs + count).await?;
        let mut waits: Vec<Duration> = Vec::new();
        let mut last = began;
        for (name, applied) in &applied {
            let Some((seen, _)) = self.seen.of(name) else { continue };
            last = last.max(seen);
            waits.push(seen.saturating_duration_since(*applied));
        }
        ensure!(waits.len() == count, "{} of {count} Tasks have a Job", waits.len());
        let all_shown = async || shown(&self.client, &path("team", "tasks"), "JobCreated").await >= jobs_of(&self.seen);
        wait("the statuses", all_shown).await?;
        let used = self.used(Some(operator.process()?)).await?;
        let rate = count as f64 / (last - began).as_secs_f64();
        waits.sort();
        let at = |share: f64| waits[((count - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        let writes = (used.writes - before.writes) as f64 / count as f64 - 1.0;
        let each = |used: f64| used * 1000.0 / count as f64;
        println!(
            "{:<34} {rate:>8.0} {:>7.0}% {:>7.0}% {:>8.0} {:>7.0} {:>7.1} {:>8.1} {:>8.2} {:>8.2} {:>8.2}",
            format!("{count} Tasks, {clients} clients"),
            100.0 * rate * (writes + 1.0) / bare,
            100.0 * rate / same,
            at(0.5),
            at(0.99),
            at(0.99) / at(0.5),
            writes + 1.0,
            each(used.operator - before.operator),
            each(used.api - before.api),
            each(used.etcd - before.etcd)
        );
        Ok(())
    }

    /// One Task of another namespace among the many of one.
    async fn turns(&self, operator: &mut Operator) -> anyhow::Result<()> {
        let count = number("JCT_BENCH_TASKS", 1000)?;
        let many = all(
            32,
            (0..count)
                .map(|n| async move { post(&self.client, &path("team", "tasks"), &task(&format!("many-{n}"))).await }),
        );
        let one = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            post(&self.client, &path("other", "tasks"), &task("single")).await?;
            let (applied, before) = (Instant::now(), self.seen.len());
            wait("the Job of the single one", async || self.seen.of("single").is_some()).await?;
            let (seen, after) = self.seen.of("single").unwrap_or((applied, 0));
            anyhow::Ok((seen.saturating_duration_since(applied), after - before))
        };
        let (many, one) = tokio::join!(many, one);
        many?;
        let (waited, before) = one?;
        println!(
            "a single Task of another namespace beside {count}: its Job after {} ms, {before} of theirs before",
            waited.as_millis()
        );
        wait("the Jobs", async || self.seen.of(&format!("many-{}", count - 1)).is_some()).await?;
        let process = operator.process()?;
        println!("operator: {} MiB, at most {} MiB", process.mib("VmRSS:"), process.mib("VmHWM:"));
        Ok(())
    }

    /// Memory with so many Tasks waiting for their workers, and the start after that.
    async fn queued(&self, operator: Option<Operator>, count: usize) -> anyhow::Result<Option<Operator>> {
        let Some(mut operator) = operator else { return Ok(None) };
        let there = jobs_of(&self.seen);
        all(
            16,
            (there..count)
                .map(|n| async move { post(&self.client, &path("team", "tasks"), &task(&format!("q-{n}"))).await }),
        )
        .await?;
        wait("the Jobs", async || jobs_of(&self.seen) >= count).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.tell(&format!("{count} Tasks queued"), &mut operator)?;
        operator.stop().await?;
        self.again(&format!("{count} Tasks queued")).await.map(Some)
    }

    /// The same with so many that have ended.
    async fn ended(&self, operator: Option<Operator>, count: usize) -> anyhow::Result<()> {
        let Some(operator) = operator.filter(|_| count > 0) else { return Ok(()) };
        let mut ended = task("ended");
        ended["spec"]["cancel"] = json!(true);
        ended["spec"]["createCwom"] = json!(false);
        let there = path("ended", "tasks");
        post(&self.client, &there, &ended).await?;
        wait("an end", async || shown(&self.client, &there, "Cancelled").await == 1).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        operator.stop().await?;
        let began = Instant::now();
        ended::copy(self.cluster, self.folder, ("ended", "ended"), count).await?;
        println!("{count} have ended after {:.0?}", began.elapsed());
        let operator = self.again(&format!("{count} more have ended")).await?;
        operator.stop().await
    }

    fn tell(&self, what: &str, operator: &mut Operator) -> anyhow::Result<()> {
        let process = operator.process()?;
        println!(
            "{what:<34} {:>6} MiB, at most {} MiB; {} MiB are not the program's file",
            process.mib("VmRSS:"),
            process.mib("VmHWM:"),
            process.mib("RssAnon:")
        );
        Ok(())
    }

    /// A start with what is there.
    async fn again(&self, what: &str) -> anyhow::Result<Operator> {
        let before = self.used(None).await?;
        let (mut operator, ready) = self.start().await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let used = self.used(Some(operator.process()?)).await?;
        self.tell(&format!("{what}, started again"), &mut operator)?;
        println!(
            "    ready after {:.1} s; {} writes and {:.1} s of CPU within ten seconds more",
            ready.as_secs_f64(),
            used.writes - before.writes,
            used.operator
        );
        Ok(operator)
    }
}

/// How many Tasks have a Job: those that the clients made by themselves have none.
fn jobs_of(seen: &Seen) -> usize {
    let is_of_task = |name: &&String| !["bare-", "same-"].iter().any(|alone| name.starts_with(alone));
    seen.0.lock().map_or(0, |seen| seen.keys().filter(is_of_task).count())
}
