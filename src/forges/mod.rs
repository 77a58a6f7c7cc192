//! The credentials of forges in the cluster: Secrets of the operator's namespace, by which short-lived logins are had.
//!
//! They are read anew each time, so that a changed one counts at once, and are kept nowhere. What speaks to forges is the crate
//! `jct-forges`.

mod check;

use std::collections::BTreeMap;

use jct_forges::{CallError, Login, Purpose, Secret};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Client;
use kube::api::Api;

use crate::domain::forge::{Credential, Forge};
use crate::domain::task::Repo;

pub use check::{Line, advice};

/// Why there is no login. For administrators: it names the forge and the Secret, and nothing of what is in it.
#[derive(Debug, thiserror::Error)]
#[error("forge {forge}: Secret {secret}: {what}")]
pub struct NoLogin {
    /// Which.
    pub forge: String,
    /// Which.
    pub secret: String,
    /// What is wrong.
    pub what: String,
    /// Whether it may be so for a while only.
    pub is_passing: bool,
}

/// Has logins made.
#[derive(Clone)]
pub struct Credentials {
    client: Client,
    /// The operator's own.
    namespace: String,
}

impl Credentials {
    /// By the Secrets of this namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    /// What the Secret of a credential holds.
    ///
    /// # Errors
    /// [`NoLogin`] if it can't be read, or is none that can be used.
    pub async fn secret(&self, forge: &Forge, credential: &Credential) -> Result<Secret, NoLogin> {
        let no_login = |what: String, is_passing: bool| NoLogin {
            forge: forge.name.clone(),
            secret: credential.secret.clone(),
            what,
            is_passing,
        };
        let secrets: Api<KubeSecret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = secrets.get(&credential.secret).await.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 404 => {
                no_login(format!("there is none in namespace {}", self.namespace), false)
            }
            kube::Error::Api(status) if status.code == 403 => {
                no_login("the operator may not read it: a new name needs a helm upgrade".into(), false)
            }
            _ => no_login(format!("it can't be read: {error}"), true),
        })?;
        let data: BTreeMap<_, _> =
            found.data.unwrap_or_default().into_iter().map(|(key, ByteString(value))| (key, value)).collect();
        Secret::read(&data).map_err(|error| no_login(error.to_string(), false))
    }

    /// A login for one repository, with no other rights than are needed.
    ///
    /// # Errors
    /// [`NoLogin`], also if the forge makes none.
    pub async fn login(
        &self,
        forge: &Forge,
        credential: &Credential,
        repo: &Repo,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Login, NoLogin> {
        let secret = self.secret(forge, credential).await?;
        let no_login = |error: &CallError| NoLogin {
            forge: forge.name.clone(),
            secret: credential.secret.clone(),
            what: error.to_string(),
            is_passing: error.is_passing(),
        };
        jct_forges::login(forge, &secret, repo, purpose, now).await.map_err(|error| no_login(&error))
    }
}
