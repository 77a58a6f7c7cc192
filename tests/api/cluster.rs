//! A Kubernetes API server: tokens, rights and Tasks, and a controller that records each Task by the code of the real one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body as Sent;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use jct::crd::Trust;
use jct::policy::{Policy, Verdict};
use jct::reconcile::task::Object;
use jct::reconcile::task::validate::{Specification, validate};
use jct::store::{NewTask, Refusal, Shown, Store};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What a user may do: verb, resource, and a namespace or all of them (`*`).
pub type Rule = (&'static str, &'static str, &'static str);

/// What the controller does with a new Task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Records,
    Refuses,
    Sleeps,
}

pub struct Cluster {
    store: Store,
    trust: Trust,
    pub controller: Mutex<Controller>,
    /// Answers every call with this failure.
    pub failure: Mutex<Option<(u16, &'static str)>>,
    /// Token, user, and the audiences that the authenticator says it is for.
    pub tokens: Mutex<BTreeMap<String, (&'static str, Vec<&'static str>)>>,
    pub rights: Mutex<BTreeMap<&'static str, Vec<Rule>>>,
    pub objects: Mutex<BTreeMap<(String, String), Value>>,
    /// Sessions, by namespace and name.
    pub sessions: Mutex<BTreeMap<(String, String), Value>>,
    /// What was asked about rights: the specs of the reviews.
    pub asked: Mutex<Vec<Value>>,
    /// Method and path of every call.
    pub calls: Mutex<Vec<String>>,
    count: AtomicUsize,
}

impl Cluster {
    pub fn new(store: Store, trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            store,
            trust,
            controller: Mutex::new(Controller::Records),
            failure: Mutex::default(),
            tokens: Mutex::default(),
            rights: Mutex::default(),
            objects: Mutex::default(),
            sessions: Mutex::default(),
            asked: Mutex::default(),
            calls: Mutex::default(),
            count: AtomicUsize::new(0),
        })
    }

    pub fn client(self: &Arc<Self>) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// How many calls contain `part`.
    pub fn called(&self, part: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.contains(part)).count()
    }

    async fn answer(self: &Arc<Self>, request: Request<Body>) -> Response<Sent> {
        let (head, body) = request.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
        let path = head.uri.path().to_owned();
        self.calls.lock().unwrap().push(format!("{} {path}", head.method));
        let failure = *self.failure.lock().unwrap();
        if path.ends_with("/v1/sessions") && head.uri.query().unwrap_or_default().contains("watch=true") {
            // Nothing comes.
            let nothing = futures::stream::pending::<Result<axum::body::Bytes, Infallible>>();
            return Response::new(Sent::from_stream(nothing));
        }
        let (status, answer) = match (failure, path.split('/').collect::<Vec<_>>().as_slice()) {
            (Some((code, reason)), _) => failed(code, reason),
            (None, [.., "tokenreviews"]) => (201, self.review_token(body)),
            (None, [.., "subjectaccessreviews"]) => (201, self.review_access(body)),
            (None, ["", "apis", "jct.dev", "v1", "sessions"]) => self.list_sessions(),
            (None, [.., namespace, "sessions", name]) => self.session(&head.method, namespace, name, &body),
            (None, [.., namespace, "sessions", name, "status"]) => self.session(&head.method, namespace, name, &body),
            (None, ["", "api", "v1", "namespaces", name]) => namespace(name),
            (None, [.., "nowhere", "tasks"]) => failed(404, "NotFound"),
            (None, [.., namespace, "tasks"]) => self.create(namespace, body),
            (None, [.., namespace, "tasks", name]) => self.touch(&head.method, namespace, name, &body),
            (None, other) => panic!("unexpected call: {} {other:?}", head.method),
        };
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        response.body(Sent::from(serde_json::to_vec(&answer).unwrap())).unwrap()
    }

    fn review_token(&self, mut review: Value) -> Value {
        let asked = review["spec"]["audiences"].as_array().unwrap().clone();
        let tokens = self.tokens.lock().unwrap();
        review["status"] = match tokens.get(review["spec"]["token"].as_str().unwrap()) {
            Some((user, audiences))
                if audiences.is_empty() || audiences.iter().any(|one| asked.contains(&json!(one))) =>
            {
                json!({"authenticated": true, "audiences": audiences, "user": {"username": user, "groups": ["g"]}})
            }
            _ => json!({"authenticated": false, "error": "invalid bearer token"}),
        };
        review
    }

    fn review_access(&self, mut review: Value) -> Value {
        let spec = &review["spec"];
        self.asked.lock().unwrap().push(spec.clone());
        let (verb, resource, namespace) = match &spec["resourceAttributes"] {
            Value::Null => (&spec["nonResourceAttributes"]["verb"], spec["nonResourceAttributes"]["path"].clone(), "*"),
            resource => {
                assert_eq!(resource["group"], "jct.dev");
                let name = match resource["subresource"].as_str() {
                    Some(subresource) => json!(format!("{}/{subresource}", resource["resource"].as_str().unwrap())),
                    None => resource["resource"].clone(),
                };
                (&resource["verb"], name, resource["namespace"].as_str().unwrap_or("*"))
            }
        };
        let rights = self.rights.lock().unwrap();
        let rules = rights.get(spec["user"].as_str().unwrap());
        let allowed = rules.into_iter().flatten().any(|(may_verb, may_resource, may_namespace)| {
            verb == may_verb && resource == *may_resource && (*may_namespace == "*" || *may_namespace == namespace)
        });
        review["status"] = json!({"allowed": allowed});
        review
    }

    fn list_sessions(&self) -> (u16, Value) {
        let items: Vec<Value> = self.sessions.lock().unwrap().values().cloned().collect();
        let metadata = json!({"resourceVersion": "7"});
        (200, json!({"kind": "SessionList", "apiVersion": "jct.dev/v1", "metadata": metadata, "items": items}))
    }

    /// Reads, answers or deletes a Session: this state of this one, or none.
    fn session(&self, method: &Method, namespace: &str, name: &str, body: &Value) -> (u16, Value) {
        let mut sessions = self.sessions.lock().unwrap();
        let key = (namespace.to_owned(), name.to_owned());
        let Some(session) = sessions.get_mut(&key) else { return failed(404, "NotFound") };
        let given = [&body["metadata"]["uid"], &body["preconditions"]["uid"]];
        if given.iter().any(|uid| !uid.is_null() && **uid != session["metadata"]["uid"]) {
            return failed(409, "Conflict");
        }
        if method == Method::DELETE {
            sessions.remove(&key);
            return (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
        }
        if method == Method::PATCH {
            if body["metadata"]["resourceVersion"] != session["metadata"]["resourceVersion"] {
                return failed(409, "Conflict");
            }
            session["status"] = body["status"].clone();
            let version: u64 = session["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            session["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        }
        (200, session.clone())
    }

    fn create(self: &Arc<Self>, namespace: &str, mut object: Value) -> (u16, Value) {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let metadata = &mut object["metadata"];
        if metadata["name"].is_null() {
            metadata["name"] = json!(format!("{}{number}", metadata["generateName"].as_str().unwrap()));
        }
        metadata["namespace"] = json!(namespace);
        metadata["uid"] = json!(format!("uid-{number}"));
        metadata["resourceVersion"] = json!("1");
        metadata["creationTimestamp"] = json!(Timestamp::now().round(jiff::Unit::Second).unwrap().to_string());
        let name = (namespace.to_owned(), metadata["name"].as_str().unwrap().to_owned());
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(&name) {
            return failed(409, "AlreadyExists");
        }
        objects.insert(name, object.clone());
        tokio::spawn(self.clone().control(object.clone()));
        (201, object)
    }

    fn touch(&self, method: &Method, namespace: &str, name: &str, patch: &Value) -> (u16, Value) {
        let mut objects = self.objects.lock().unwrap();
        let Some(object) = objects.get_mut(&(namespace.to_owned(), name.to_owned())) else {
            return failed(404, "NotFound");
        };
        if method == Method::PATCH {
            if patch["metadata"]["uid"] != object["metadata"]["uid"] {
                return failed(409, "Conflict");
            }
            json_patch::merge(object, patch);
            // The answer to a request for metadata alone.
            return (
                200,
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]}),
            );
        }
        (200, object.clone())
    }

    async fn control(self: Arc<Self>, object: Value) {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let controller = *self.controller.lock().unwrap();
        let spec = object["spec"].clone();
        let object: Object = serde_json::from_value(object).unwrap();
        let policy = match controller {
            Controller::Records => Policy::default().allowing("octo/"),
            Controller::Refuses => Policy::default(),
            Controller::Sleeps => return,
        };
        let task = validate(&object, &self.trust).unwrap();
        let Specification { verdict, controls, sha256 } = Specification::of(&Ok(spec), &task.head, &policy);
        match verdict {
            Verdict::Accepted(accepted) => {
                let new = NewTask {
                    id: task.head.id,
                    trace_id: task.head.trace_id,
                    namespace: task.head.namespace,
                    name: task.head.name,
                    uid: task.head.uid,
                    submitted_by: task.head.submitted_by,
                    actor: task.actor,
                    task: *accepted,
                    executor: controls.executor,
                    model: controls.model,
                    delivery: controls.delivery,
                    max_attempts: controls.max_attempts,
                    create_cwom: controls.create_cwom,
                    for_run: None,
                    client: task.head.client,
                    suspended: controls.suspend,
                    shown: Shown::default(),
                    created_at: task.head.created_at,
                    recorded_at: Timestamp::now(),
                };
                self.store.record_task(new).await.unwrap();
            }
            Verdict::Refused(findings) => {
                let refusal = Refusal {
                    id: task.head.id,
                    trace_id: task.head.trace_id,
                    namespace: task.head.namespace,
                    name: task.head.name,
                    uid: task.head.uid,
                    actor: task.actor,
                    findings,
                    spec_sha256: sha256,
                    refused_at: Timestamp::now(),
                };
                self.store.record_refusal(refusal).await.unwrap();
            }
        }
    }
}

/// Every namespace is there but `nowhere`; `going` is being deleted.
fn namespace(name: &str) -> (u16, Value) {
    let gone = (name == "going").then_some("2026-03-01T12:00:00Z");
    match name {
        "nowhere" => failed(404, "NotFound"),
        _ => (
            200,
            json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": name, "deletionTimestamp": gone},
            }),
        ),
    }
}

fn failed(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("scripted: {reason}");
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": reason}),
    )
}
