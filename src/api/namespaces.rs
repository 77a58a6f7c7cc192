//! Which namespaces there are: the record takes no new objects of others.

use std::time::Duration;

use axum::http::StatusCode;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::Api as Objects;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::auth::Cache;
use super::error::Problem;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a namespace that is there counts as being there.
const KEEP: Duration = Duration::from_secs(10);
/// How long one that is not, or goes.
const KEEP_MISSING: Duration = Duration::from_secs(2);

/// Asks the API server, and remembers what it said for seconds.
pub struct Namespaces {
    client: Client,
    known: Cache<String, Found>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    There,
    Going,
    Missing,
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Namespaces(…)")
    }
}

impl Namespaces {
    /// Those of the cluster behind `client`.
    pub fn new(client: Client) -> Self {
        Self { client, known: Cache::default() }
    }

    /// That an object can be made in the namespace called `name`.
    ///
    /// # Errors
    /// 404 if it is not there, 409 if it is being deleted, 503 if the API server does not answer.
    pub async fn require(&self, name: &str) -> Result<(), Problem> {
        let found = self.known.get(name.to_owned(), Instant::now(), self.fetch(name)).await?;
        match found {
            Found::There => Ok(()),
            Found::Missing => Err(Problem::not_found(format!("Namespace '{name}' not found"))),
            Found::Going => {
                let message = format!("namespace '{name}' is being deleted: nothing can be made in it");
                Err(Problem::named(StatusCode::CONFLICT, "namespace_terminating", message))
            }
        }
    }

    async fn fetch(&self, name: &str) -> Result<(Found, Instant), Problem> {
        let namespaces: Objects<Namespace> = Objects::all(self.client.clone());
        let away = |cause: String| {
            warn!(namespace = name, cause, "the API server does not say whether a namespace is there");
            Problem::unavailable("the Kubernetes API server cannot be asked whether the namespace is there; try again")
        };
        let found = match timeout(PATIENCE, namespaces.get_metadata_opt(name)).await {
            Ok(Ok(Some(namespace))) if namespace.metadata.deletion_timestamp.is_some() => Found::Going,
            Ok(Ok(Some(_))) => Found::There,
            Ok(Ok(None)) => Found::Missing,
            // Roles of an installation's own may be from before this was asked.
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                warn!(namespace = name, "no right to get namespaces: a row may be made in one that is not there");
                Found::There
            }
            Ok(Err(error)) => return Err(away(error.to_string())),
            Err(_) => return Err(away(format!("no answer within {} s", PATIENCE.as_secs()))),
        };
        let keep = if found == Found::There { KEEP } else { KEEP_MISSING };
        Ok((found, Instant::now() + keep))
    }
}
