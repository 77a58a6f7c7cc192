//! A Task, a store, a trace volume and a controller around a scripted API server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jct::crd::stamps::{Issuer, Revision, Seal, Sealed, Stamps, cancellation};
use jct::crd::{Trust, names};
use jct::domain::cwom::Kind;
use jct::domain::executor::Executors;
use jct::domain::forge::Forges;
use jct::domain::id::sha256_hex;
use jct::domain::model::Models;
use jct::domain::provenance::DEFAULT_BUILDER_ID;
use jct::domain::spec_change::MAX_SPEC_CHANGES;
use jct::domain::trace::{FileEntry, FileKind, MANIFEST_VERSION, Manifest, Outcome, Source, folder};
use jct::domain::{FailureReason, Id, Principal, SpecChange, StampKey, StampKeys, spec_digest, submitted_digest};
use jct::forges::Credentials;
use jct::jobs::JobSettings;
use jct::jobs::placement::{Placement, WayOut};
use jct::policy::Policy;
use jct::reconcile::Action;
use jct::reconcile::ReconcileMetrics;
use jct::reconcile::context::{Context, RetryWaits, SignedAttempts, Timing};
use jct::reconcile::error::{Backoff, Error};
use jct::reconcile::head::Head;
use jct::reconcile::queue::starts::Starts;
use jct::reconcile::status::Written;
use jct::reconcile::task::{AttemptSecrets, Object, reconcile};
use jct::reconcile::work_object::{FullObject, Objects, WorkObject, reconcile_as_read};
use jct::shared::{Announcer, Clock, Deletions, LostTasks};
use jct::signing::{KeyRing, Keys, SigningKey};
use jct::store::{Store, StoreSettings, TaskRow};
use jct::trace::TraceVolume;
use kube::Client;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use crate::api::{Call, Made, scripted_over};

pub const UID: &str = "7f9c2ba4-e88f-4a3c-9d52-0f1d6c1f2e11";
pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CREATED: &str = "2026-03-01T12:00:00Z";

/// What outlives a pass, and a crash: the record and the volume.
pub struct World {
    folder: tempfile::TempDir,
    pub store: Store,
    pub trust: Trust,
    pub deletions: Deletions,
    pub clock: Clock,
    pub keys: Keys,
    pub executors: Executors,
    pub models: Models,
    pub forges: Forges,
    pub policy: Policy,
    pub executor_patience: Duration,
    /// How long a Task on its way to its first worker holds up others.
    pub starts_patience: Duration,
}

/// One pass of the controller.
pub struct Pass {
    pub result: Result<Action, Error>,
    pub calls: Vec<(String, String, Value)>,
    pub context: Arc<Context>,
}

impl Pass {
    /// The status that the pass wrote.
    pub fn status(&self) -> &Value {
        let call = self.calls.iter().rev().find(|(method, path, _)| method == "PATCH" && path.contains("/status"));
        &call.expect("no status was written").2["status"]
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut StoreSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("traces")).unwrap();
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        let mut settings = StoreSettings::new(url);
        change(&mut settings);
        let store = Store::open(&settings).await.unwrap();
        let ring = KeyRing::new(SigningKey::from_seed(&[7; 32]).unwrap(), &[], CREATED.parse().unwrap());
        Self {
            folder,
            store,
            trust: Trust::in_keys(keys_of(7), "jct-system"),
            deletions: Deletions::default(),
            clock: Clock::default(),
            keys: Keys::fixed(Some(ring)),
            executors: Executors::default(),
            models: Models::default(),
            forges: Forges::default(),
            policy: Policy::default().allowing("octo/"),
            executor_patience: Duration::ZERO,
            // Longer than any test: what is held is held until it may go.
            starts_patience: Duration::from_secs(3600),
        }
    }

    /// Locks the database against writing while what is returned is there.
    pub async fn lock(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.folder.path().join("jct.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }

    /// A pass over `object` by a controller that has just started: all that it knows is in the world.
    pub async fn pass(&self, object: &Value, script: Vec<Call>) -> Pass {
        self.pass_with(object, script, |_| {}).await
    }

    /// As [`World::pass`], with something in the controller's caches.
    pub async fn pass_with(&self, object: &Value, script: Vec<Call>, prepare: impl FnOnce(&Context)) -> Pass {
        let cached: Object = serde_json::from_value(object.clone()).unwrap();
        let pass = async |context: Arc<Context>| {
            prepare(&context);
            reconcile(Arc::new(cached), context).await
        };
        self.passes_over(Some(object), script, pass).await
    }

    /// A pass over a work object.
    pub async fn object_pass(&self, kind: Kind, object: &Value, script: Vec<Call>) -> Pass {
        self.passes(script, async |context| reconcile_object(kind, object, &context).await).await
    }

    /// Several passes of one controller; the result is that of the last one.
    pub async fn passes(
        &self,
        script: Vec<Call>,
        passes: impl AsyncFnOnce(Arc<Context>) -> Result<Action, Error>,
    ) -> Pass {
        self.passes_over(None, script, passes).await
    }

    /// As [`World::passes`], by an API server that has `object` and shows it to whoever reads it whole.
    pub async fn passes_over(
        &self,
        object: Option<&Value>,
        script: Vec<Call>,
        passes: impl AsyncFnOnce(Arc<Context>) -> Result<Action, Error>,
    ) -> Pass {
        let (client, server, made): (_, _, Made) = scripted_over(object.cloned(), script);
        let context = self.context(client);
        let pass = tokio::time::timeout(Duration::from_secs(30), passes(context.clone()));
        let result = pass.await.unwrap_or_else(|_| panic!("the pass hangs; calls so far: {:?}", made.lock().unwrap()));
        // Every expected call was made, or the server still waits for it.
        let calls = made.lock().unwrap().clone();
        server.abort();
        match server.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => Pass { result, calls, context },
        }
    }

    /// What a controller has that has just started, with this client.
    pub fn context(&self, client: Client) -> Arc<Context> {
        let credentials = Credentials::new(client.clone(), "jct-system");
        Arc::new(Context {
            client,
            store: self.store.clone(),
            policy: self.policy.clone(),
            jobs: job_settings(),
            executors: tokio::sync::watch::Sender::new(Arc::new(self.executors.clone())).subscribe(),
            models: tokio::sync::watch::Sender::new(Arc::new(self.models.clone())).subscribe(),
            credentials,
            attempt_secrets: AttemptSecrets::default(),
            forges: tokio::sync::watch::Sender::new(Arc::new(self.forges.clone())).subscribe(),
            broker_authorities: tokio::sync::watch::Sender::new("authorities of the broker\n".to_owned()).subscribe(),
            retention: tokio::sync::watch::Sender::new(Arc::default()).subscribe(),
            timing: Timing {
                start_timeout: Duration::from_secs(60),
                grace: Duration::from_secs(60),
                job_ttl_seconds: 600,
                retry_delay: Duration::from_secs(3),
                infrastructure_retries: 1,
                executor_patience: self.executor_patience,
            },
            started: std::time::Instant::now(),
            trust: tokio::sync::watch::Sender::new(Arc::new(self.trust.clone())).subscribe(),
            deletions: self.deletions.clone(),
            clock: self.clock.clone(),
            retry_waits: RetryWaits::default(),
            lost: LostTasks::default(),
            traces: TraceVolume::new(self.folder.path().join("traces")),
            keys: self.keys.clone(),
            checkpoint: tokio::sync::watch::channel(None).1,
            builder_id: DEFAULT_BUILDER_ID.into(),
            signed: SignedAttempts::default(),
            starts: Starts::with_patience(self.starts_patience),
            workers: Arc::default(),
            metrics: ReconcileMetrics::default(),
            backoff: Backoff::default(),
            events: Announcer::default(),
            written: Written::default(),
            whole: tokio::sync::Semaphore::new(1),
            objects: Objects::default(),
        })
    }

    pub async fn row(&self) -> TaskRow {
        self.store.task(task_id()).await.unwrap().expect("no row")
    }

    /// Action, kind and statuses of the audit entries, oldest first.
    pub async fn audit(&self) -> Vec<String> {
        let query = jct::store::AuditQuery { order: jct::store::Order::OldestFirst, ..Default::default() };
        let entries = self.store.audit(&query).await.unwrap();
        let status =
            |value: &Option<Value>| value.as_ref().and_then(|value| value["status"].as_str().map(str::to_owned));
        entries
            .iter()
            .map(|entry| {
                let change =
                    [status(&entry.before), status(&entry.after)].into_iter().flatten().collect::<Vec<_>>().join("->");
                format!("{} {} {change} by {}", entry.entity_kind, entry.action, entry.actor.id)
            })
            .collect()
    }

    pub fn trace_folder(&self, attempt: u32) -> PathBuf {
        self.folder.path().join("traces").join(folder("team", task_id(), attempt))
    }

    /// Leaves a sealed trace, as a worker does.
    pub fn leave_trace(&self, attempt: u32, failure: Option<FailureReason>) {
        let folder = self.trace_folder(attempt);
        let task = std::fs::read(folder.join("task.json")).unwrap();
        std::fs::create_dir_all(folder.join("artifacts")).unwrap();
        std::fs::write(folder.join("artifacts/report.md"), "# Report").unwrap();
        let time = CREATED.parse().unwrap();
        let file = |path: &str, content: &[u8]| FileEntry {
            path: path.into(),
            kind: FileKind::Report,
            media_type: "text/plain".into(),
            size_bytes: content.len() as u64,
            sha256: sha256_hex(content),
        };
        let manifest = Manifest {
            version: MANIFEST_VERSION.into(),
            task_id: task_id(),
            trace_id: TRACE.parse().unwrap(),
            namespace: "team".into(),
            attempt,
            executor: "analysis".into(),
            image: None,
            executor_sha256: None,
            worker: "jct test".into(),
            task_sha256: sha256_hex(&task),
            source: Some(Source { url: "u".into(), git_ref: "main".into(), commit: "c0ffee".repeat(6) + "c0ff" }),
            outcome: if failure.is_some() { Outcome::Failed } else { Outcome::Succeeded },
            reason: failure,
            message: failure.map(|reason| format!("because of {reason}")),
            exit_code: Some(0),
            result: None,
            change: None,
            usage: None,
            started_at: time,
            ended_at: time,
            files: vec![file("artifacts/report.md", b"# Report"), file("task.json", &task)],
        };
        std::fs::write(folder.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    }

    /// A work object as the webhook leaves it. Its uid is made from kind and name.
    pub fn object(&self, kind: Kind, name: &str, spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": "jct.dev/v1", "kind": kind.as_str(),
            "metadata": {
                "name": name, "namespace": "team", "uid": object_uid(kind, name), "generation": 1, "resourceVersion": "10",
                "creationTimestamp": CREATED, "finalizers": [names::FINALIZER],
            },
            "spec": spec,
        });
        self.stamp(&mut object, &ada(), None);
        object
    }

    /// Seals `object` as the webhook does for its submitter, or as the operator does for a Run.
    pub fn stamp(&self, object: &mut Value, submitter: &Principal, run: Option<Id>) {
        let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let sealed = Sealed::of(&kind, "team", &metadata);
        let stamps = Stamps { submitter: submitter.clone(), trace_id: TRACE.parse().unwrap(), run };
        let issuer = if run.is_some() { Issuer::Operator } else { Issuer::Anybody };
        let seal = Seal { issuer, at: CREATED.parse().unwrap() };
        let sha256 = submitted_digest(&kind, &object["spec"]);
        let annotations = stamps.annotations(&sealed, &sha256, &seal, &self.trust.keys);
        json_patch::merge(object, &json!({"metadata": {"annotations": annotations}}));
    }

    /// Changes the spec of `object` in the name of `by`, as the webhook leaves it.
    pub fn change(&self, object: &mut Value, by: &Principal, spec: Value) {
        let flags = |object: &Value| ["suspend", "cancel"].map(|name| object["spec"][name] == json!(true));
        let before = flags(object);
        json_patch::merge(object, &json!({"spec": spec}));
        let now = flags(object);
        let generation = object["metadata"]["generation"].as_i64().unwrap() + 1;
        object["metadata"]["generation"] = json!(generation);
        let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
        let (kind, uid) = (object["kind"].as_str().unwrap().to_owned(), metadata.uid.clone().unwrap());
        let sealed = Sealed::of(&kind, "team", &metadata);
        let seal = Seal { issuer: Issuer::Anybody, at: CREATED.parse().unwrap() };
        let sha256 = spec_digest(&object["spec"]);
        let mut changes = Vec::new();
        if kind == "Task" {
            let annotations = metadata.annotations.clone().unwrap_or_default();
            let last = Revision::verified(&annotations, &sealed, &uid, &self.trust.keys);
            changes = last.map(|(revision, _)| revision.changes).unwrap_or_default();
            let [suspend, cancel] = [0, 1].map(|n| Some(now[n]).filter(|now| *now != before[n]));
            changes.push(SpecChange { generation, by: Some(by.user.clone()), at: Some(seal.at), suspend, cancel });
            changes = changes.split_off(changes.len().saturating_sub(MAX_SPEC_CHANGES));
        }
        let revision = Revision { by: by.clone(), generation, spec_sha256: sha256, changes };
        let mut annotations = revision.annotations(&sealed, &uid, &seal, &self.trust.keys);
        if object["spec"]["cancel"] == json!(true) {
            annotations.extend(cancellation(by, &sealed, &uid, &seal, &self.trust.keys));
        }
        json_patch::merge(object, &json!({"metadata": {"annotations": annotations}}));
    }

    /// A Task as the webhook leaves it, with `change` merged in.
    pub fn task(&self, change: Value) -> Value {
        let mut task = json!({
            "apiVersion": "jct.dev/v1", "kind": "Task",
            "metadata": {
                "name": "look", "namespace": "team", "uid": UID, "generation": 1, "resourceVersion": "10",
                "creationTimestamp": CREATED, "finalizers": [names::FINALIZER],
            },
            "spec": {
                "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Look around",
                "operation": "analysis", "target": {"repo": "octo/hello"},
            },
        });
        json_patch::merge(&mut task, &change);
        if change.pointer("/metadata/annotations") != Some(&Value::Null) {
            self.stamp(&mut task, &ada(), None);
        }
        task
    }
}

/// Who submits, unless a test says otherwise.
pub fn ada() -> Principal {
    Principal::new("ada@example.org", Some("uid-of-ada".into()), &["makers".into()], &BTreeMap::new())
}

pub fn keys_of(byte: u8) -> StampKeys {
    StampKeys::new(StampKey::from_slice(&[byte; 32]).unwrap(), Vec::new(), None)
}

pub fn task_id() -> Id {
    Id::derive(CREATED.parse().unwrap(), UID)
}

/// A pass over a work object, by a controller that does more of them.
pub async fn reconcile_object(kind: Kind, object: &Value, context: &Context) -> Result<Action, Error> {
    let text = object.to_string();
    let cached: WorkObject = serde_json::from_str(&text).unwrap();
    let read = async |_: &Head| Ok(Some(serde_json::from_str::<FullObject>(&text).unwrap()));
    reconcile_as_read(kind, &cached, context, read).await
}

pub fn object_uid(kind: Kind, name: &str) -> String {
    format!("uid-of-{kind}-{name}")
}

pub fn object_id(kind: Kind, name: &str) -> Id {
    Id::derive(CREATED.parse().unwrap(), &object_uid(kind, name))
}

pub fn job_name(attempt: u32) -> String {
    jct::jobs::job_name(task_id(), attempt)
}

/// A Job of ours, for the cache.
pub fn job(attempt: u32, status: Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": job_name(attempt), "namespace": "workers", "labels": labels(attempt), "uid": "uid-of-the-job",
            "creationTimestamp": jiff::Timestamp::now().to_string()},
        "spec": {"template": {}}, "status": status,
    })
}

/// A pod of ours, for the cache.
pub fn pod(attempt: u32, status: Value) -> Value {
    // Not after its worker has begun.
    let states = status["containerStatuses"][0]["state"].as_object().into_iter().flatten();
    let began_at = states.filter_map(|(_, state)| state["startedAt"].as_str()).next().map(str::to_owned);
    json!({
        "metadata": {"name": format!("{}-x", job_name(attempt)), "labels": labels(attempt), "uid": "uid-of-the-pod",
            "creationTimestamp": began_at.unwrap_or_else(now)},
        "status": status,
    })
}

/// Puts an attempt's Job and pod into the caches.
pub fn seen(context: &Context, attempt: u32, job_status: Value, pod_status: Value) {
    context.workers.jobs.put(serde_json::from_value(job(attempt, job_status)).unwrap());
    context.workers.pods.put(serde_json::from_value(pod(attempt, pod_status)).unwrap());
}

pub fn running() -> Value {
    json!({"phase": "Running", "containerStatuses": [container(json!({"running": {"startedAt": now()}}))]})
}

pub fn succeeded() -> Value {
    json!({"phase": "Succeeded", "containerStatuses": [
        container(json!({"terminated": {"exitCode": 0, "startedAt": now(), "finishedAt": now()}}))]})
}

fn container(state: Value) -> Value {
    json!({"name": "worker", "state": state, "ready": false, "restartCount": 0, "image": "", "imageID": ""})
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn labels(attempt: u32) -> Value {
    json!({
        names::MANAGED_BY_LABEL: names::MANAGED_BY, names::TASK_ID_LABEL: task_id().to_lowercase(),
        names::ATTEMPT_LABEL: attempt.to_string(),
    })
}

fn job_settings() -> JobSettings {
    JobSettings {
        namespace: "workers".into(),
        image: "jct-worker:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        uid: 65532,
        cpu_request: "100m".into(),
        cpu_limit: "1".into(),
        memory_request: "128Mi".into(),
        memory_limit: "1Gi".into(),
        scratch_limit: "8Gi".into(),
        runtime_class: None,
        host_users: None,
        placement: Placement::default(),
        way_out: WayOut::default(),
        grace_seconds: 60,
        trace_claim: "jct-traces".into(),
        source_url_template: "https://git.example/{repo}.git".into(),
        source_max_files: 10,
        source_max_bytes: 20,
        source_timeout_seconds: 30,
        forge: None,
        broker: Default::default(),
    }
}
