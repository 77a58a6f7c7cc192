use std::collections::BTreeSet;

use axum::body::Body;
use jct::domain::cwom::Kind;
use serde_json::{Value, json};

use crate::work::{ORDER, least, one, path};
use crate::world::{ADA, NOBODY, ROOT, World, request, task};

/// Well-formed, and nothing's.
const NOTHING: &str = "01KJMMA2G027CE4HT1RZKZBW4A";

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Every operation of the document: method and path, with something for each parameter of the path.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path}: {method}");
            let path = path.replace("{id}", NOTHING).replace("{trace_id}", "some-trace-id");
            let path = path.replace("{attempt}", "1").replace("{path}", "task.json").replace("{archive}", "1.tar.gz");
            found.push((method.to_uppercase(), path, operation.clone()));
        }
    }
    assert!(found.len() > 36, "routes are missing in the document");
    found
}

#[tokio::test]
async fn the_document_is_frozen() {
    let mut document = jct::api::document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    document["info"]["version"] = json!("[version]");
    insta::assert_json_snapshot!("openapi", document);
    let world = World::new().await;
    let served = world.get("", "/openapi.json").await;
    assert_eq!(served.body["paths"], document["paths"], "what is served is what is frozen");
    assert_eq!(served.header("content-type"), "application/json");
}

#[tokio::test]
async fn no_route_but_the_public_ones_answers_without_a_token() {
    const PUBLIC: [&str; 6] = ["/healthz", "/health", "/readyz", "/version", "/keys", "/openapi.json"];
    let world = World::new().await;
    {
        let mut tokens = world.cluster.tokens.lock().unwrap();
        tokens.insert("for-another-audience".into(), ("root", vec!["https://kubernetes.default.svc"]));
        tokens.insert("of-a-naive-authenticator".into(), ("root", vec![]));
    }
    for (method, path, operation) in operations(&jct::api::document()) {
        let is_public = PUBLIC.contains(&path.as_str());
        assert_eq!(operation["security"] == json!([]), is_public, "{path}");
        for token in ["", "made-up-or-expired", "for-another-audience", "of-a-naive-authenticator"] {
            let body = Body::from(task(json!({})).to_string());
            let answer = world.send(request(&method, token, &path).body(body).unwrap()).await;
            let expected = if is_public { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{method} {path} with token {token:?}");
            if !is_public {
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
                assert_eq!(answer.body["detail"]["error"], "unauthenticated");
            }
        }
        // Methods that are not in the document are behind the token too.
        for method in METHODS.map(str::to_uppercase) {
            let answer = world.send(request(&method, "", &path).body(Body::empty()).unwrap()).await;
            assert!([200, 401, 405].contains(&answer.status) && (is_public || answer.status == 401), "{method} {path}");
        }
    }
    assert!(world.cluster.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_route_tells_anything_to_those_without_rights() {
    let world = World::new().await;
    let known = world.one_of_each().await;
    let task = world.enqueue(json!({})).await.body["task"].clone();
    let entries = || async { world.get(ROOT, "/audit?limit=1000").await.body.as_array().unwrap().len() };
    let before = entries().await;
    for (method, path, operation) in operations(&jct::api::document()) {
        // Who they are, everybody may know.
        let of_oneself = (method.as_str(), path.as_str()) == ("GET", "/session");
        if operation["security"] == json!([]) || of_oneself {
            continue;
        }
        let refused = world.call(&method, NOBODY, &path, &json!({})).await;
        let expected = if path.contains("/status") { vec![422] } else { vec![403, 404, 405] };
        assert!(expected.contains(&refused.status), "{method} {path}: {}", refused.text);
        // What is there is answered as what is not.
        let objects = known.values().chain([&task]);
        for there in objects.map(|object| object["id"].as_str().unwrap()) {
            let answer = world.call(&method, NOBODY, &path.replace(NOTHING, there), &json!({})).await;
            let text = answer.text.replace(there, NOTHING);
            assert_eq!((answer.status, text), (refused.status, refused.text.clone()), "{method} {path} {there}");
        }
    }
    assert_eq!(entries().await, before, "and nothing is done");
    let trace = format!("/trace/{}", task["trace_id"].as_str().unwrap());
    assert_eq!(world.get(NOBODY, &trace).await.status, 404);
}

#[tokio::test]
async fn without_the_rest_api_health_and_metrics_stay() {
    let world = World::with(|settings| settings.enabled = false).await;
    let kept = ["/healthz", "/readyz", "/version", "/keys", "/metrics"].map(|path| (path, 200));
    for (path, status) in kept.into_iter().chain([("/tasks", 404)]) {
        assert_eq!(world.get(ROOT, path).await.status, status, "{path}");
    }
    assert!(world.get("", "/openapi.json").await.body["paths"].get("/tasks").is_none());
}

#[test]
fn every_operation_has_a_name_of_its_own_and_its_parameters() {
    let document = jct::api::document();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
            assert!(names.insert(name.to_owned()), "{name} is the name of two");
            assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{name}");
            assert_ne!(operation.get("parameters"), Some(&Value::Null), "{name}");
            let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
            for placeholder in path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                let is_it = |parameter: &&Value| parameter["name"] == placeholder && parameter["in"] == "path";
                assert!(parameters.iter().any(is_it), "{method} {path}: {placeholder}");
            }
        }
    }
    assert!(names.len() > 36);
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            _ => {}
        }
    }
    let document = jct::api::document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

/// The fields of `object` are those of `schema`, objects within it too.
fn fits(path: &str, schema: &Value, object: &Value) {
    let (Some(properties), Some(fields)) = (schema["properties"].as_object(), object.as_object()) else { return };
    for name in fields.keys() {
        assert!(properties.contains_key(name), "{path}.{name} is not in the document");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{path}.{name} is required by the document");
    }
    for (name, property) in properties {
        fits(&format!("{path}.{name}"), property, &object[name]);
    }
}

#[tokio::test]
async fn bodies_are_as_documented() {
    let document = jct::api::document();
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let world = World::new().await;
    let created = world.enqueue(json!({"target": {"repo": "octo/more"}})).await;
    assert!(created.body["cwom"].is_object());
    fits("Enqueued", &schema("Enqueued"), &created.body);
    let task = &created.body["task"];
    fits("Task", &schema("Task"), task);
    let properties = schema("Task")["properties"].clone();
    // Of most Tasks there is nothing to say there.
    let rare = ["restored_by", "adopted_by"];
    for name in properties.as_object().unwrap().keys().filter(|name| !rare.contains(&name.as_str())) {
        assert!(task.get(name).is_some(), "Task.{name} is not answered");
    }
    let id = created.body["task_id"].as_str().unwrap();
    fits("Task", &schema("Task"), &world.get(ADA, &format!("/tasks/{id}")).await.body);
    fits("AuditEntry", &schema("AuditEntry"), &world.get(ROOT, "/audit").await.body[0]);
    let mut known = crate::work::Known::new();
    for kind in ORDER {
        let answer = world.post(ADA, path(kind), &least(kind, &known)).await;
        fits(&format!("{kind}Answer"), &schema(&format!("{kind}Answer")), &answer.body);
        let object = answer.body[kind.snake_case()].clone();
        fits(kind.as_str(), &schema(kind.as_str()), &object);
        fits(kind.as_str(), &schema(kind.as_str()), &world.get(ADA, &one(&object)).await.body);
        known.insert(kind, object);
    }
    let immutable = world.call("PUT", ADA, &one(&known[&Kind::ContextPacket]), &json!({})).await;
    fits("Problem.detail", &schema("Problem")["properties"]["detail"]["anyOf"][1], &immutable.body["detail"]);
    let trace = format!("/trace/{}", created.body["trace_id"].as_str().unwrap());
    fits("Trace", &schema("Trace"), &world.get(ADA, &trace).await.body);
}

#[tokio::test]
async fn the_explorer_needs_nothing_from_elsewhere() {
    let world = World::new().await;
    assert_eq!(world.get("", "/docs").await.header("location"), "/docs/");
    for (path, kind) in [
        ("/docs/", "text/html"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
    ] {
        let page = world.get("", path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-type").starts_with(kind), "{path} {}", page.header("content-type"));
    }
    let page = world.get("", "/docs/nothing").await;
    assert_eq!((page.status, &page.body["detail"]), (404, &json!("Not Found")));
}
