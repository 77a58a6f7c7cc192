//! An API server of one's own and an operator beside it, for the benches that need them: `tests/cluster/up.sh --api-only`.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub mod doors;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::http::{self, Request};
use futures::{StreamExt as _, stream};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// Whether the bench is to run: `cargo bench` passes --bench; `cargo test --benches` does not, and wants no cluster.
pub fn is_wanted() -> bool {
    env::args().any(|argument| argument == "--bench")
}

/// A number from the environment.
pub fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    env::var(name).map_or(Ok(default), |value| value.parse().with_context(|| name.to_owned()))
}

/// An API server with its etcd; taken down at the end.
pub struct Cluster {
    name: &'static str,
    pub state: PathBuf,
}

impl Cluster {
    pub fn up(name: &'static str) -> anyhow::Result<Self> {
        script("up.sh", &["--api-only", name])?;
        let state = env::var("XDG_STATE_HOME")
            .unwrap_or_else(|_| format!("{}/.local/state", env::var("HOME").unwrap_or_default()));
        Ok(Self { name, state: Path::new(&state).join("jct/cluster").join(name) })
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// A client of it, once it has our definitions and these namespaces.
    pub async fn client(&self, namespaces: &[&str]) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        for crd in jct::crd::all() {
            let crd = serde_json::to_value(crd)?;
            post(&client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await?;
        }
        for name in namespaces {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            post(&client, "/api/v1/namespaces", &namespace).await?;
        }
        let repo = json!({"apiVersion": "jct.dev/v1", "kind": "Repo", "metadata": {"name": "hello"},
            "spec": {"name": "hello", "slug": "demo/hello", "source": {"system": "git"}}});
        wait("the definitions", async || post(&client, &path(namespaces[1], "repos"), &repo).await.is_ok()).await?;
        Ok(client)
    }

    /// The process of one of its daemons.
    pub fn process(&self, daemon: &str) -> anyhow::Result<Process> {
        let pid = fs::read_to_string(self.state.join("pids").join(daemon)).with_context(|| daemon.to_owned())?;
        Ok(Process(pid.split_whitespace().next().unwrap_or_default().parse()?))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = script("down.sh", &[self.name]) {
            eprintln!("{error}");
        }
    }
}

fn script(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(name);
    let status = Command::new(&path).args(arguments).status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

impl Process {
    /// A field of `/proc/PID/status` that is in kB, in MiB.
    pub fn mib(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() >> 10
    }

    /// Seconds of CPU so far.
    pub fn cpu(self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        ticks as f64 / 100.0
    }
}

/// The operator, as a process of this machine; it ends with this.
pub struct Operator(Child);

impl Operator {
    pub fn start(folder: &Path, cluster: &Cluster, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let traces = folder.join("traces");
        fs::create_dir_all(&traces)?;
        let log = fs::File::options().create(true).append(true).open(folder.join("operator.log"))?;
        let child = Command::new(env::var("JCT_BENCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_jct").into()))
            .arg("operator")
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("DATABASE_URL", format!("sqlite://{}", folder.join("jct.db").display()))
            .env("JCT_TRACE_ROOT", traces)
            .env("JCT_ALLOWED_REPO_PREFIXES", "demo/")
            .env("JCT_WEBHOOK", "false")
            .env("JCT_API", "false")
            .env("JCT_MAX_OPEN_TASKS", "1000000")
            .env("API_PORT", free_port()?.to_string())
            .envs(settings.iter().copied())
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the operator")?;
        Ok(Self(child))
    }

    pub fn process(&mut self) -> anyhow::Result<Process> {
        if let Some(status) = self.0.try_wait()? {
            bail!("the operator has ended: {status}");
        }
        Ok(Process(self.0.id()))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody has at the moment.
pub fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

/// Has the API server ask the operator's webhook on this port of the machine about every Task and work object outside of
/// `jct-system`, as the chart does, and nothing be stored that it does not answer.
pub async fn webhooks(client: &Client, port: &str) -> anyhow::Result<()> {
    let port: u16 = port.parse()?;
    // A Service of this type is dialled by its name, whatever resolves it; the certificate is held against the Service's own.
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "jct-webhook"},
        "spec": {"type": "ExternalName", "externalName": "localhost"}});
    post(client, "/api/v1/namespaces/jct-system/services", &service).await?;
    for (kind, verb) in [("Mutating", "mutate"), ("Validating", "validate")] {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": "jct"},
            "webhooks": [{
                "name": format!("{verb}.tasks.jct.dev"),
                "clientConfig": {"service":
                    {"namespace": "jct-system", "name": "jct-webhook", "port": port, "path": format!("/{verb}")}},
                "rules": [{"apiGroups": ["jct.dev"], "apiVersions": ["v1"], "resources": ["*"],
                    "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"}],
                "failurePolicy": "Fail", "sideEffects": "NoneOnDryRun", "timeoutSeconds": 5,
                "admissionReviewVersions": ["v1"],
            }],
        });
        let plural = format!("{}webhookconfigurations", kind.to_lowercase());
        post(client, &format!("/apis/admissionregistration.k8s.io/v1/{plural}"), &configuration).await?;
    }
    Ok(())
}

pub fn path(namespace: &str, plural: &str) -> String {
    format!("/apis/jct.dev/v1/namespaces/{namespace}/{plural}")
}

pub async fn post(client: &Client, path: &str, object: &Value) -> anyhow::Result<()> {
    let request = Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
    client.request_text(request.body(serde_json::to_vec(object)?)?).await?;
    Ok(())
}

/// Does them, so many at once.
pub async fn all<T>(
    clients: usize,
    work: impl Iterator<Item = impl Future<Output = anyhow::Result<T>>>,
) -> anyhow::Result<Vec<T>> {
    stream::iter(work).buffer_unordered(clients).collect::<Vec<_>>().await.into_iter().collect()
}

/// How many objects show `wanted` in one of their columns.
pub async fn shown(client: &Client, path: &str, wanted: &str) -> usize {
    let request = Request::get(format!("{path}?includeObject=None"));
    let request = request.header(http::header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let Ok(request) = request.body(Vec::new()) else { return 0 };
    let table: Value = client.request(request).await.unwrap_or_default();
    let rows = table["rows"].as_array().into_iter().flatten();
    rows.filter(|row| row["cells"].as_array().is_some_and(|cells| cells.contains(&json!(wanted)))).count()
}

pub async fn wait(what: &str, mut is_there: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_there().await {
        ensure!(began.elapsed() < Duration::from_secs(1800), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
