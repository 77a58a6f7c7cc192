//! Tasks that have ended, a hundred thousand of them: copies of one, as rows by the store and as objects past the API server.
//!
//! By way of applying and cancelling each it would take ten minutes and more, of which nothing is measured.

use std::path::Path;

use anyhow::{Context as _, bail};
use axum::http::{Request, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jct::domain::{Actor, Id, TraceId};
use jct::store::{DatabaseUrl, Ending, Failure, FinishTask, NewTask, Recording, Shown, Store, StoreSettings, TaskRow};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::support::{Cluster, all};

/// Objects in one transaction of etcd, which takes 128 at most.
const AT_ONCE: usize = 100;

/// Adds so many copies of the Task `name` in this namespace, which has ended. No operator may run meanwhile.
pub async fn copy(
    cluster: &Cluster,
    folder: &Path,
    (namespace, name): (&str, &str),
    count: usize,
) -> anyhow::Result<()> {
    let etcd = Etcd::of(cluster)?;
    let place = format!("/registry/jct.dev/tasks/{namespace}");
    let object = etcd.read(&format!("{place}/{name}")).await?;
    let uid = object["metadata"]["uid"].as_str().context("no uid")?;
    let store = Store::open(&StoreSettings::new(DatabaseUrl::file(&folder.join("jct.db")))).await?;
    let row = store.task_by_uid(uid).await?.context("it has no record")?;
    all(64, (0..count).map(|n| record(&store, &row, n))).await?;
    store.close().await;
    let put = |part: usize| {
        let (etcd, place, object, row) = (&etcd, &place, &object, &row);
        let numbers = part * AT_ONCE..count.min((part + 1) * AT_ONCE);
        async move {
            let puts = numbers.map(|n| (format!("{place}/{}", named(n)), shown(object, row, n)));
            etcd.write(puts).await
        }
    };
    all(4, (0..count.div_ceil(AT_ONCE)).map(put)).await?;
    Ok(())
}

fn named(n: usize) -> String {
    format!("e-{n}")
}

fn uid(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

fn id(row: &TaskRow, n: usize) -> Id {
    Id::derive(row.created_at, &uid(n))
}

async fn record(store: &Store, row: &TaskRow, n: usize) -> anyhow::Result<()> {
    let at = row.completed_at.unwrap_or(row.created_at);
    let new = NewTask {
        id: id(row, n),
        trace_id: TraceId::derive(&uid(n)),
        namespace: row.namespace.clone(),
        name: named(n),
        uid: uid(n),
        submitted_by: row.submitted_by.clone(),
        actor: Actor::controller(),
        task: row.task.clone(),
        executor: row.executor.clone(),
        model: row.model.clone(),
        delivery: row.delivery.clone(),
        max_attempts: row.max_attempts,
        create_cwom: false,
        for_run: None,
        client: None,
        suspended: false,
        shown: Shown::default(),
        created_at: row.created_at,
        recorded_at: row.recorded_at,
    };
    let Recording::Recorded(made) = store.record_task(new).await? else { bail!("{} is there already", named(n)) };
    let failure = row.error.clone().unwrap_or_else(|| Failure::new("Cancelled", ""));
    let finish = FinishTask { task_id: made.id, ending: Ending::Cancelled, failure, actor: Actor::controller(), at };
    store.finish_task(finish).await?;
    Ok(())
}

/// The object as its controller leaves it.
fn shown(object: &Value, row: &TaskRow, n: usize) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = named(n).into();
    object["metadata"]["uid"] = uid(n).into();
    object["status"]["id"] = id(row, n).to_string().into();
    object["status"]["traceId"] = TraceId::derive(&uid(n)).to_string().into();
    object
}

/// The etcd of a cluster, by its gateway for JSON.
struct Etcd(Client);

impl Etcd {
    fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let ports = std::fs::read_to_string(cluster.state.join("ports"))?;
        let port = ports.split_whitespace().next().context("no port of etcd")?;
        let config = Config::new(format!("http://127.0.0.1:{port}").parse::<Uri>()?);
        Ok(Self(Client::try_from(config)?))
    }

    async fn ask(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        let request = Request::post(format!("/v3/kv/{what}")).body(serde_json::to_vec(body)?)?;
        Ok(serde_json::from_str(&self.0.request_text(request).await?)?)
    }

    async fn read(&self, key: &str) -> anyhow::Result<Value> {
        let found = self.ask("range", &json!({"key": STANDARD.encode(key)})).await?;
        let value = found["kvs"][0]["value"].as_str().with_context(|| format!("etcd has no {key}"))?;
        Ok(serde_json::from_slice(&STANDARD.decode(value)?)?)
    }

    async fn write(&self, objects: impl Iterator<Item = (String, Value)>) -> anyhow::Result<()> {
        let put = |(key, object): (String, Value)| json!({"requestPut": {"key": STANDARD.encode(key), "value": STANDARD.encode(object.to_string())}});
        let done = self.ask("txn", &json!({"success": objects.map(put).collect::<Vec<_>>()})).await?;
        anyhow::ensure!(done["succeeded"] == true, "etcd did not take it: {done}");
        Ok(())
    }
}
