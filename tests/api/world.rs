//! A record, a cluster and an API over them, and the people who call it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use jct::api::{Api, ApiSettings, Health, router};
use jct::domain::{Id, StampKey};
use jct::policy::Policy;
use jct::runtime::Metrics;
use jct::store::{Store, StoreSettings};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tower::ServiceExt as _;

use crate::cluster::Cluster;

/// May do everything with the Tasks of `team`.
pub const ADA: &str = "token-of-ada";
/// May read everything everywhere, the audit log and the metrics too.
pub const ROOT: &str = "token-of-root";
/// May create Tasks in `team` and nothing else.
pub const CI: &str = "token-of-ci";
/// May read the Tasks of `other`.
pub const EVE: &str = "token-of-eve";

pub struct World {
    pub store: Store,
    pub cluster: Arc<Cluster>,
    pub settings: ApiSettings,
    key: StampKey,
    router: Router,
    folder: tempfile::TempDir,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The path and query of the next page.
    pub fn next(&self) -> Option<String> {
        let link = self.headers.get("link")?.to_str().unwrap();
        Some(link[1..link.find('>').unwrap()].to_owned())
    }
}

pub fn settings() -> ApiSettings {
    ApiSettings {
        enabled: true,
        audiences: vec!["jct".into()],
        namespace: "team".into(),
        keep_decisions: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        max_body_bytes: 1 << 20,
        max_requests: 256,
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ApiSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        let store = Store::open(&StoreSettings::new(url)).await.unwrap();
        let key = StampKey::from_slice(&[7; 32]).unwrap();
        let cluster = Cluster::new(store.clone(), key.clone());
        for (token, user) in [(ADA, "ada"), (ROOT, "root"), (CI, "ci"), (EVE, "eve")] {
            cluster.tokens.lock().unwrap().insert(token.into(), (user, vec!["jct"]));
        }
        let verbs = ["create", "get", "list", "patch"];
        let ada = verbs.map(|verb| (verb, "tasks", "team")).to_vec();
        let everything = [("get", "/metrics"), ("list", "auditentries"), ("get", "tasks"), ("list", "tasks")];
        let root = everything.map(|(verb, resource)| (verb, resource, "*")).to_vec();
        let eve = vec![("get", "tasks", "other"), ("list", "tasks", "other")];
        for (user, rules) in [("ada", ada), ("root", root), ("ci", vec![("create", "tasks", "team")]), ("eve", eve)] {
            cluster.rights.lock().unwrap().insert(user, rules);
        }
        let mut settings = settings();
        change(&mut settings);
        let router = serve(&store, &cluster, &key, &settings);
        Self { store, cluster, settings, key, router, folder }
    }

    /// The API as it is after a restart: everything is there but what was in memory.
    pub fn restart(&mut self) {
        self.router = serve(&self.store, &self.cluster, &self.key, &self.settings);
    }

    /// Locks the record against writing until the connection is closed.
    pub async fn lock_record(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.folder.path().join("jct.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: head.status.as_u16(), headers: head.headers, text, body }
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request("GET", token, path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        let request = request("POST", token, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Enqueues a Task of Ada's.
    pub async fn enqueue(&self, change: Value) -> Answer {
        self.post(ADA, "/tasks/enqueue", &task(change)).await
    }
}

fn serve(store: &Store, cluster: &Arc<Cluster>, key: &StampKey, settings: &ApiSettings) -> Router {
    let health = Health { store: store.clone(), parts: Arc::default(), metrics: Metrics::default() };
    let policy = Policy::default().allowing("octo/");
    router(Api::new(health, cluster.client(), policy, key.clone(), settings.clone()))
}

pub fn request(method: &str, token: &str, path: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) }
}

pub fn task(change: Value) -> Value {
    let mut task = json!({
        "requested_by": {"kind": "human", "id": "ada"}, "objective": "Look around", "operation": "analysis",
        "target": {"repo": "octo/hello"},
    });
    json_patch::merge(&mut task, &change);
    task
}

/// `body` with what differs from run to run named, not shown.
pub fn steady(mut body: Value) -> Value {
    fn is_id(value: &Value) -> bool {
        value.as_str().is_some_and(|text| text.parse::<Id>().is_ok())
    }
    fn walk(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(fields) => {
                for (name, field) in fields {
                    match name.as_str() {
                        "id" | "task_id" | "job_id" | "entity_id" if is_id(field) => *field = json!("[id]"),
                        "trace_id" => *field = json!("[trace id]"),
                        "ts" => *field = json!("[now]"),
                        _ => walk(field),
                    }
                }
            }
            _ => {}
        }
    }
    walk(&mut body);
    body
}
