//! The OpenAPI document, made from the router, and the page to explore it with.

pub mod bodies;
mod parameters;
mod schemas;
mod work_objects;

pub use schemas::{id, or_null, trace_id};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Api;

/// The document as it is served.
type Served = Bytes;

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub async fn serve(Extension(document): Extension<Served>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}

/// The layer that gives [`serve`] the document.
pub fn provide(document: &Value) -> Extension<Served> {
    Extension(document.to_string().into())
}

/// The explorer at `/docs`: a page that asks for nothing but this server's document.
pub fn explorer() -> Router<Api> {
    SwaggerUi::new("/docs").config(Config::from("../openapi.json").persist_authorization(false)).into()
}

/// The document of all routes. Every guarded one has what guarding means: the token, and the answers to those without.
pub fn document(public: OpenApi, mut guarded: OpenApi) -> Value {
    guarded.merge(public.clone());
    let mut document = serde_json::to_value(&guarded).unwrap_or_default();
    let public = serde_json::to_value(&public.paths).unwrap_or_default();
    document["info"] = json!({
        "title": "JCT",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Control tower for AI-assisted development work on Kubernetes. Callers are Kubernetes users: the \
                        token is one that TokenReview accepts for JCT's audience, and every operation needs the right \
                        to the same verb on the same resource as with kubectl.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["components"]["schemas"] = schemas::all();
    document["components"]["responses"] = schemas::responses();
    document["components"]["securitySchemes"] = json!({
        "token": {"type": "http", "scheme": "bearer",
                  "description": "kubectl create token SERVICE-ACCOUNT --audience jct"},
    });
    // What a path ends with may have slashes: the router's own mark of that is no part of the document.
    if let Some(paths) = document["paths"].as_object_mut() {
        *paths = std::mem::take(paths).into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    }
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        let is_public = public.get(path).is_some();
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
                parameters::refine(path, parameter);
            }
            operation["security"] = if is_public { json!([]) } else { json!([{"token": []}]) };
            for (status, _) in schemas::GUARDED.iter().filter(|_| !is_public) {
                if operation["responses"].get(status).is_none() {
                    operation["responses"][status] = json!({"$ref": format!("#/components/responses/{status}")});
                }
            }
        }
    }
    document
}
