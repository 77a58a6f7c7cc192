//! Work objects: the least body of each kind, and one of each recorded.

use std::collections::BTreeMap;

use jct::domain::cwom::Kind;
use serde_json::{Value, json};

use crate::world::{ADA, World, steady};

/// The path of the collection of `kind`.
pub fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Repo => "/cwom/repos",
        Kind::Issue => "/cwom/issues",
        Kind::ContextPacket => "/cwom/context-packets",
        Kind::ConstraintSnapshot => "/cwom/constraint-snapshots",
        Kind::DoctrineRef => "/cwom/doctrine-refs",
        Kind::Run => "/cwom/runs",
        Kind::Artifact => "/cwom/artifacts",
    }
}

/// The parameter of its collection that names a Kubernetes namespace.
pub fn namespace_parameter(kind: Kind) -> &'static str {
    if kind == Kind::DoctrineRef { "kubernetes_namespace" } else { "namespace" }
}

/// The path of one object.
pub fn one(object: &Value) -> String {
    format!("{}/{}", path(kind(object)), id(object))
}

pub fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap_or_else(|| panic!("{object}"))
}

pub fn kind(object: &Value) -> Kind {
    Kind::parse(object["kind"].as_str().unwrap()).unwrap()
}

/// A reference to it.
pub fn to(object: &Value) -> Value {
    json!({"kind": object["kind"], "id": object["id"]})
}

/// Objects by their kind.
pub type Known = BTreeMap<Kind, Value>;

/// The least body of a kind, which refers to `known` where it must.
pub fn least(kind: Kind, known: &Known) -> Value {
    let to = |kind: Kind| to(&known[&kind]);
    let ada = json!({"actor_kind": "human", "actor_id": "ada"});
    match kind {
        Kind::Repo => json!({"name": "hello", "slug": "octo/hello", "source": {"system": "github"}}),
        Kind::Issue => json!({"repo": to(Kind::Repo), "title": "Greet", "type": "feature"}),
        Kind::ContextPacket => json!({"for_issue": to(Kind::Issue), "version": "1", "summary": "All there is to know"}),
        Kind::ConstraintSnapshot => json!({"scope": "run", "owner": ada}),
        Kind::DoctrineRef => {
            json!({"namespace": "octo", "name": "tests", "version": "1", "type": "policy", "statement": "Test."})
        }
        Kind::Run => {
            json!({"for_issue": to(Kind::Issue), "repo": to(Kind::Repo), "mode": "agent", "executor": {"actor": ada}})
        }
        Kind::Artifact => json!({
            "produced_by": to(Kind::Run), "for_issue": to(Kind::Issue), "type": "report", "title": "Report",
            "uri": "https://octo.example/report",
        }),
    }
}

/// The kinds, each after those that it refers to.
pub const ORDER: [Kind; 7] = [
    Kind::Repo,
    Kind::Issue,
    Kind::ConstraintSnapshot,
    Kind::DoctrineRef,
    Kind::ContextPacket,
    Kind::Run,
    Kind::Artifact,
];

impl World {
    /// An object of Ada's in `team`.
    pub async fn made(&self, kind: Kind, body: &Value) -> Value {
        self.made_in("team", kind, body).await
    }

    /// An object of Ada's in `namespace`.
    pub async fn made_in(&self, namespace: &str, kind: Kind, body: &Value) -> Value {
        let path = format!("{}?{}={namespace}", path(kind), namespace_parameter(kind));
        let answer = self.post(ADA, &path, body).await;
        assert_eq!((answer.status, &answer.body["status"]), (201, &json!("success")), "{}", answer.text);
        answer.body[kind.snake_case()].clone()
    }

    /// One object of each kind, in `team`.
    pub async fn one_of_each(&self) -> Known {
        self.one_of_each_in("team").await
    }

    /// One object of each kind, in `namespace`.
    pub async fn one_of_each_in(&self, namespace: &str) -> Known {
        let mut known = Known::new();
        for kind in ORDER {
            let object = self.made_in(namespace, kind, &least(kind, &known)).await;
            known.insert(kind, object);
        }
        known
    }
}

/// `body` without what differs from run to run.
pub fn settled(mut body: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Object(fields) => {
                for (name, field) in fields {
                    match name.as_str() {
                        "created_at" | "updated_at" | "captured_at" if field.is_string() => *field = json!("[now]"),
                        _ => walk(field),
                    }
                }
            }
            _ => {}
        }
    }
    walk(&mut body);
    steady(body)
}
