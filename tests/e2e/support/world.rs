//! A test's place in the cluster.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Request;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{RELEASE_NAMESPACE, Repository, Rest, Task, kubectl, run, setting, token};

/// Nothing takes longer, on a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Held for reading by whoever needs the installation as it is, for writing by whoever disturbs it.
static INSTALLATION: RwLock<()> = RwLock::const_new(());

enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// A namespace, and the cluster around it.
pub struct World {
    pub client: Client,
    pub namespace: String,
    _turn: Turn,
}

impl World {
    /// A namespace beside those of other tests.
    pub async fn shared(test: &str) -> Self {
        let turn = Turn::Shared { _guard: INSTALLATION.read().await };
        Self::new(test, turn).await
    }

    /// A namespace in a cluster that no other test uses until this one ends.
    pub async fn alone(test: &str) -> Self {
        let turn = Turn::Alone { _guard: INSTALLATION.write().await };
        Self::new(test, turn).await
    }

    async fn new(test: &str, turn: Turn) -> Self {
        let client = client(None).await;
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta {
                generate_name: Some(format!("{test}-")),
                labels: Some([("jct-e2e".to_owned(), String::new())].into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let api: Api<Namespace> = Api::all(client.clone());
        let namespace = api.create(&PostParams::default(), &namespace).await.unwrap().metadata.name.unwrap();
        Repository::normal();
        Self { client, namespace, _turn: turn }
    }

    /// Gives a user the role `edit` in the namespace.
    pub async fn allow(&self, user: &str) {
        let (namespace, user) = (format!("--namespace={}", self.namespace), format!("--user={user}"));
        let name = format!("edit-{}", std::process::id());
        let args = ["create", "rolebinding", &name, &namespace, "--clusterrole=edit", &user];
        kubectl(&args).await;
        // Kubernetes adds the Tasks to the role, and the API server hears of the binding, a moment later.
        let as_user = user.replacen("--user", "--as", 1);
        let question = ["auth", "can-i", "create", "tasks.jct.dev", &namespace, &as_user];
        until("the role to be known", async || run("kubectl", &question, "").await).await;
    }

    /// The cluster as `user` sees it.
    pub async fn client_of(&self, user: &str) -> Client {
        client(Some(user)).await
    }

    pub fn tasks(&self) -> Api<Task> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The worker Jobs of all Tasks.
    pub fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), RELEASE_NAMESPACE)
    }

    /// The operator's and the workers' pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), RELEASE_NAMESPACE)
    }

    /// Creates a Task as kubectl does, unknown fields being errors.
    pub async fn try_create(&self, client: &Client, manifest: &Value, query: &str) -> kube::Result<Task> {
        let path = format!("/apis/jct.dev/v1/namespaces/{}/tasks?fieldValidation=Strict&{query}", self.namespace);
        let request = Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(manifest).unwrap());
        client.request(request.unwrap()).await
    }

    /// Creates a Task, which must be admitted. The webhook fails closed: right after a start of the operator, the way to it
    /// may take a moment to be there.
    pub async fn create(&self, manifest: Value) -> Task {
        until("the webhook to be reached", async || match self.try_create(&self.client, &manifest, "").await {
            Ok(task) => Ok(task),
            Err(error) if error.to_string().contains("failed calling webhook") => Err(error.to_string()),
            Err(error) => panic!("{manifest}: {error}"),
        })
        .await
    }

    /// Tries to create a Task, which must be denied; the API server's answer.
    pub async fn denied(&self, manifest: &Value) -> Status {
        match self.try_create(&self.client, manifest, "").await {
            Err(kube::Error::Api(status)) => *status,
            other => panic!("{manifest} was not denied: {other:?}"),
        }
    }

    pub async fn get(&self, name: &str) -> Task {
        self.tasks().get(name).await.unwrap()
    }

    pub async fn patch(&self, name: &str, patch: Value) -> kube::Result<Task> {
        self.tasks().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Sets `spec.suspend` or `spec.cancel`.
    pub async fn set(&self, name: &str, field: &str, value: bool) {
        self.patch(name, json!({"spec": {field: value}})).await.unwrap();
    }

    /// Waits for `wanted`; an end of another kind is an error at once.
    pub async fn wait_for(&self, name: &str, wanted: &str) -> Task {
        self.wait(name, wanted, |task| phase(task) == wanted).await
    }

    /// Waits for `status.reason`.
    pub async fn wait_for_reason(&self, name: &str, wanted: &str) -> Task {
        self.wait(name, wanted, |task| reason(task) == wanted).await
    }

    /// Waits until an attempt has a Job.
    pub async fn wait_for_job(&self, name: &str) -> Task {
        let has_job = |task: &Task| task.status.as_ref().is_some_and(|status| status.job_name.is_some());
        self.wait(name, "queued", has_job).await
    }

    async fn wait(&self, name: &str, wanted: &str, is_there: impl Fn(&Task) -> bool) -> Task {
        until(&format!("Task {name} to be {wanted}"), async || {
            let task = self.get(name).await;
            if is_there(&task) {
                return Ok(task);
            }
            let status = serde_json::to_string(&task.status).unwrap();
            let ended = ["Completed", "Failed", "Cancelled"].contains(&phase(&task));
            assert!(!ended, "Task {name} should be {wanted}, but has ended: {status}");
            Err(status)
        })
        .await
    }

    /// Waits until the object is gone.
    pub async fn wait_until_gone(&self, name: &str) {
        until(&format!("Task {name} to be gone"), async || match self.tasks().get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(task) => Err(format!("{:?}, status {:?}", task.metadata.finalizers, task.status)),
        })
        .await;
    }

    /// The Jobs of a Task that there are now.
    pub async fn jobs_of(&self, task: &Task) -> Vec<Job> {
        let selector = format!("jct.dev/task-id={}", id(task).to_lowercase());
        self.jobs().list(&ListParams::default().labels(&selector)).await.unwrap().items
    }

    /// The pods of a Task that there are now.
    pub async fn pods_of(&self, task: &Task) -> Vec<Pod> {
        let selector = format!("jct.dev/task-id={}", id(task).to_lowercase());
        self.pods().list(&ListParams::default().labels(&selector)).await.unwrap().items
    }

    /// Waits until no pod of a Task is left.
    pub async fn wait_until_podless(&self, task: &Task) {
        until("the Task's pods to be gone", async || {
            let pods = self.pods_of(task).await;
            if pods.is_empty() { Ok(()) } else { Err(format!("{} pods", pods.len())) }
        })
        .await;
    }

    /// The folder on the node behind a claim of the release.
    pub async fn folder_of_claim(&self, claim: &str) -> std::path::PathBuf {
        use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), RELEASE_NAMESPACE);
        let volume = claims.get(claim).await.unwrap().spec.unwrap().volume_name.unwrap();
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        Path::new(&volumes.get(&volume).await.unwrap().spec.unwrap().host_path.unwrap().path).to_owned()
    }

    /// GETs a path of the API server.
    pub async fn get_raw<T: DeserializeOwned>(&self, path: &str, accept: &str) -> T {
        let request = Request::get(path).header(http::header::ACCEPT, accept).body(Vec::new());
        self.client.request(request.unwrap()).await.unwrap()
    }

    /// The operator's page of metrics, as a scraper gets it.
    pub async fn metrics(&self) -> String {
        let token = token("default", "jct-e2e-scraper", "jct").await;
        let binding = ["jct-e2e-scraper", "--clusterrole=jct-metrics", "--serviceaccount=default:jct-e2e-scraper"];
        let _ = run("kubectl", &[["create", "clusterrolebinding"].as_slice(), &binding].concat(), "").await;
        let rest = Rest::open().await;
        // A refusal from before the binding is believed for a while.
        until("the metrics", async || match rest.call("GET", "/metrics", &token, "").await {
            (200, page) => Ok(page),
            (status, answer) => Err(format!("{status} {answer}")),
        })
        .await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed test left is evidence.
        if !std::thread::panicking() {
            let args = ["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"];
            let _ = std::process::Command::new("kubectl").args(args).output();
        }
    }
}

async fn client(user: Option<&str>) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut kubeconfig = Kubeconfig::read_from(setting("JCT_E2E_KUBECONFIG")).unwrap();
    if let Some(user) = user {
        for auth in &mut kubeconfig.auth_infos {
            auth.auth_info.as_mut().unwrap().impersonate = Some(user.into());
        }
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Looks until `look` finds what it looks for; its last excuse is shown when that takes too long.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(excuse) => assert!(began.elapsed() < BOUND, "waited {BOUND:?} for {what}; last seen: {excuse}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// `.status.phase`, or nothing.
pub fn phase(task: &Task) -> &str {
    task.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// `.status.reason`, or nothing.
pub fn reason(task: &Task) -> &str {
    task.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default()
}

/// `.status.id`, which must be there.
pub fn id(task: &Task) -> String {
    task.status.as_ref().and_then(|status| status.id.clone()).expect("the status has no id")
}

/// Status and reason of a condition.
pub fn condition(task: &Task, type_: &str) -> (String, String) {
    let conditions = task.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.into_iter().find(|condition| condition.type_ == type_);
    found.map(|condition| (condition.status.clone(), condition.reason.clone())).unwrap_or_default()
}
