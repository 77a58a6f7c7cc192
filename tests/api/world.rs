//! A record, a cluster and an API over them, and the people who call it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use jct::api::{Api, ApiSettings, Health};
use jct::console::{Console, ConsoleSettings, Oidc};
use jct::crd::Trust;
use jct::domain::cwom::Kind;
use jct::domain::executor::Executors;
use jct::domain::model::Models;
use jct::domain::{Id, StampKey, StampKeys};
use jct::policy::Policy;
use jct::runtime::Metrics;
use jct::shared::{Announcer, Clock, Denials, LostTasks, NamespaceLimits, Waiting};
use jct::signing::{KeyRing, Keys, SigningKey};
use jct::store::{Store, StoreSettings};
use jct::trace::TraceVolume;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::cluster::{Cluster, Rule};
use crate::conformance::problems;

/// May do everything with the Tasks and the work objects of `team`.
pub const ADA: &str = "token-of-ada";
/// May read everything everywhere, the audit log and the metrics too.
pub const ROOT: &str = "token-of-root";
/// May create Tasks in `team` and nothing else.
pub const CI: &str = "token-of-ci";
/// May read the Tasks and the work objects of `other`.
pub const EVE: &str = "token-of-eve";
/// Is known, and may do nothing.
pub const NOBODY: &str = "token-of-nobody";

/// How many open Tasks a namespace may have.
pub const MAX_OPEN_TASKS: u32 = 60;

pub struct World {
    pub store: Store,
    pub cluster: Arc<Cluster>,
    pub settings: ApiSettings,
    trust: Trust,
    router: Router,
    /// Denials that the API has handed in.
    pub denials: Waiting,
    pub events: Announcer,
    /// What may be recorded of a namespace within an hour; taken up by [`World::restart`].
    pub max_recorded: u32,
    /// What does the work, and which models it may ask; taken up by [`World::restart`].
    pub configured: Option<(Arc<Executors>, Arc<Models>)>,
    pub traces: TraceVolume,
    /// Ends what is followed.
    pub stop: CancellationToken,
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
        public_url: None,
        keep_decisions: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        max_body_bytes: 1 << 20,
        max_requests: 256,
        max_followers: 1000,
    }
}

/// What the operator of this cluster seals with and believes.
pub fn trust() -> Trust {
    let key = StampKey::from_slice(&[7; 32]).unwrap();
    Trust::in_keys(StampKeys::new(key, Vec::new(), None), "jct-system")
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ApiSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("jct.db").display()).parse().unwrap();
        let store = Store::open(&StoreSettings::new(url)).await.unwrap();
        let trust = trust();
        let cluster = Cluster::new(store.clone(), trust.clone());
        for (token, user) in [(ADA, "ada"), (ROOT, "root"), (CI, "ci"), (EVE, "eve"), (NOBODY, "nobody")] {
            cluster.tokens.lock().unwrap().insert(token.into(), (user, vec!["jct"]));
        }
        let ada = rules(&["create", "get", "list", "patch"], "team");
        let mut root = rules(&["get", "list"], "*");
        root.extend([("get", "/metrics", "*"), ("get", "/diagnostics", "*"), ("list", "auditentries", "*")]);
        let eve = rules(&["get", "list"], "other");
        for (user, rules) in [("ada", ada), ("root", root), ("ci", vec![("create", "tasks", "team")]), ("eve", eve)] {
            cluster.rights.lock().unwrap().insert(user, rules);
        }
        let mut settings = settings();
        change(&mut settings);
        let root = folder.path().join("traces");
        std::fs::create_dir(&root).unwrap();
        let (traces, stop) = (TraceVolume::new(root), CancellationToken::new());
        let events = Announcer::default();
        let (api, denials) = serve(&store, &cluster, &trust, &settings, 0, &events);
        let router = with_console(api.with_traces(traces.clone(), stop.clone()), &store, &trust, None);
        Self {
            store,
            cluster,
            settings,
            trust,
            router,
            denials,
            events,
            max_recorded: 0,
            configured: None,
            traces,
            stop,
            folder,
        }
    }

    /// The API as it is after a restart: everything is there but what was in memory.
    pub fn restart(&mut self) {
        self.restart_with(None);
    }

    /// The same, where people may sign in to the console at an issuer.
    pub fn restart_with(&mut self, oidc: Option<Oidc>) {
        let (api, denials) =
            serve(&self.store, &self.cluster, &self.trust, &self.settings, self.max_recorded, &self.events);
        let api = match self.configured.clone() {
            Some((executors, models)) => api
                .with_executors(watch::Sender::new(executors).subscribe())
                .with_models(watch::Sender::new(models).subscribe()),
            None => api,
        };
        let api = api.with_traces(self.traces.clone(), self.stop.clone());
        (self.router, self.denials) = (with_console(api, &self.store, &self.trust, oidc), denials);
    }

    /// The API on a port of this machine, until `stop`.
    pub fn listen(&self) -> SocketAddr {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        tokio::spawn(jct::api::serve(address, self.router.clone(), self.stop.clone()));
        address
    }

    /// Locks the record against writing until the connection is closed.
    pub async fn lock_record(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.folder.path().join("jct.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }

    /// Whatever it answers to a browser, which asks for pages.
    pub async fn browse(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().to_string(), request.uri().to_string());
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or_default();
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, text, body };
        let problems = problems(&method, &path, answer.status, answer.header("content-type"), &answer.text);
        assert!(problems.is_empty() || !self.settings.enabled, "{problems:#?}");
        answer
    }

    /// An answer of which nothing is read yet.
    pub async fn unread(&self, token: &str, path: &str) -> Response<Body> {
        self.unread_with(token, path, &[]).await
    }

    /// The same, of a request with these headers.
    pub async fn unread_with(&self, token: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let asked =
            headers.iter().fold(request("GET", token, path), |asked, (name, value)| asked.header(*name, *value));
        self.router.clone().oneshot(asked.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request("GET", token, path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.call("POST", token, path, body).await
    }

    pub async fn call(&self, method: &str, token: &str, path: &str, body: &Value) -> Answer {
        let request = request(method, token, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Gives a user these verbs in a namespace, on Tasks and all work objects.
    pub fn allow(&self, user: &'static str, verbs: &[&'static str], namespace: &'static str) {
        self.cluster.rights.lock().unwrap().entry(user).or_default().extend(rules(verbs, namespace));
    }

    /// Enqueues a Task of Ada's.
    pub async fn enqueue(&self, change: Value) -> Answer {
        self.post(ADA, "/tasks/enqueue", &task(change)).await
    }
}

fn with_console(api: Api, store: &Store, trust: &Trust, oidc: Option<Oidc>) -> Router {
    let trust = tokio::sync::watch::Sender::new(Arc::new(trust.clone())).subscribe();
    let settings = ConsoleSettings { public_url: Some("https://jct.example.org".into()) };
    jct::console::router(Console::with_oidc(jct::api::router(api), store.clone(), trust, settings, oidc))
}

fn rules(verbs: &[&'static str], namespace: &'static str) -> Vec<Rule> {
    let resources = || ["tasks", "tasks/trace"].into_iter().chain(Kind::ALL.iter().map(|kind| kind.plural()));
    verbs.iter().flat_map(|verb| resources().map(|resource| (*verb, resource, namespace))).collect()
}

fn serve(
    store: &Store,
    cluster: &Arc<Cluster>,
    trust: &Trust,
    settings: &ApiSettings,
    max_recorded: u32,
    events: &Announcer,
) -> (Api, Waiting) {
    let metrics = Metrics::default();
    let (denials, waiting) = Denials::new(metrics.denials.clone());
    let denials = denials.announced_by(events.clone());
    let ring = KeyRing::new(SigningKey::from_seed(&[7; 32]).unwrap(), &[], "2026-03-01T12:00:00Z".parse().unwrap());
    let keys = Keys::fixed(Some(ring));
    let gauges = metrics.gauges();
    let health = Health {
        store: store.clone(),
        parts: Arc::default(),
        metrics: metrics.api,
        gauges,
        page: metrics.page,
        keys,
        clock: Clock::default(),
    };
    let policy = Policy::default().allowing("octo/");
    let trust = tokio::sync::watch::Sender::new(Arc::new(trust.clone())).subscribe();
    let limits = NamespaceLimits::new(store.clone(), MAX_OPEN_TASKS, max_recorded, LostTasks::default());
    (Api::new(health, cluster.client(), policy, trust, denials, limits, settings.clone()), waiting)
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
    /// Whether the API made the name: there are 12 random digits in it.
    fn is_made(value: &Value) -> bool {
        let made = value.as_str().and_then(|name| name.strip_prefix("task-"));
        made.is_some_and(|digits| digits.len() == 12)
    }
    fn walk(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(fields) => {
                let of_task = fields.contains_key("requested_by");
                for (name, field) in fields {
                    match name.as_str() {
                        name if (name == "id" || name.ends_with("_id")) && is_id(field) => *field = json!("[id]"),
                        "trace_id" => *field = json!("[trace id]"),
                        "ts" => *field = json!("[now]"),
                        "created_at" if of_task && field.is_string() => *field = json!("[created]"),
                        "queued_at" if of_task && field.is_string() => *field = json!("[queued]"),
                        "name" if is_made(field) => *field = json!("task-[made]"),
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
