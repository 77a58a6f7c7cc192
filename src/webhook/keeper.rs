//! Keeps the webhook's certificates: in a Secret, renewed in time, served without a restart, and trusted by the webhook
//! configurations.
//!
//! Several replicas may do this at once: the Secret is written with compare-and-set, and all serve what it holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use super::certificates::{CertificateError, Identity, service_names};
use crate::domain::StampKey;
use crate::runtime::Metrics;
use crate::serve::{Tls, TlsError};

/// How often Secret and configurations are looked at. A configuration whose caBundle was reset blocks writes until then.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while configurations are missing: an installation may be under way.
const INTERVAL_MISSING: Duration = Duration::from_secs(1);
/// How long after the start a missing configuration counts as one that is about to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where things are.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// The operator's namespace.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The Service through which the API server reaches the webhook.
    pub service: String,
    /// Name of both webhook configurations.
    pub configuration: String,
    /// Life of a certificate.
    pub life: Duration,
}

/// What went wrong; tried again at the next interval.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The API server refused or did not answer.
    #[error("{action}: {source}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// Certificates could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS server did not take the certificate.
    #[error("cannot serve the certificate: {0}")]
    Serve(#[from] TlsError),
    /// No randomness.
    #[error("cannot get random bytes: {0}")]
    Random(getrandom::Error),
}

/// Keeps the certificates of one process.
pub struct Keeper {
    client: Client,
    settings: KeeperSettings,
    metrics: Metrics,
    trusted: Option<bool>,
}

impl Keeper {
    /// A keeper that has done nothing yet.
    pub fn new(client: Client, settings: KeeperSettings, metrics: Metrics) -> Self {
        Self { client, settings, metrics, trusted: None }
    }

    /// The certificates and the stamp key, made and stored if the Secret holds none that will do.
    ///
    /// # Errors
    /// [`KeeperError`] names the step that failed.
    pub async fn ensure(&self) -> Result<(Identity, StampKey), KeeperError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let names = service_names(&self.settings.service, &self.settings.namespace);
        loop {
            let found = secrets.get_opt(&self.settings.secret).await.map_err(api("read the webhook's Secret"))?;
            let (current, key) = found.as_ref().map_or((None, None), read);
            let identity = Identity::maintained(current.as_ref(), &names, self.settings.life, SystemTime::now())?;
            let stamp_key = match &key {
                Some(key) => key.clone(),
                None => new_stamp_key()?,
            };
            if current.as_ref() == Some(&identity) && key.is_some() {
                return Ok((identity, stamp_key));
            }
            let exists = found.is_some();
            let mut secret = found.unwrap_or_default();
            secret.metadata.name = Some(self.settings.secret.clone());
            secret.data = Some(data(&identity, &stamp_key));
            let written = if exists {
                secrets.replace(&self.settings.secret, &PostParams::default(), &secret).await
            } else {
                secrets.create(&PostParams::default(), &secret).await
            };
            match written {
                Ok(_) => {
                    info!(secret = self.settings.secret, "webhook certificates renewed");
                    return Ok((identity, stamp_key));
                }
                // Another replica was faster: take what it wrote.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(api("write the webhook's Secret")(error)),
            }
        }
    }

    /// Makes the webhook configurations trust `identity`. One that is missing is waited for: without it nothing is called.
    ///
    /// # Errors
    /// [`KeeperError::Api`] if the configurations cannot be read or patched.
    pub async fn publish(&mut self, identity: &Identity) -> Result<(), KeeperError> {
        let bundle = ByteString(identity.bundle().into_bytes());
        let name = self.settings.configuration.clone();
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let one = mutating.get_opt(&name).await.map_err(api("read the mutating webhook configuration"))?;
        let other = validating.get_opt(&name).await.map_err(api("read the validating webhook configuration"))?;
        let complete = one.is_some() && other.is_some();
        if !complete && self.trusted != Some(false) {
            warn!(configuration = name, "a webhook configuration is missing: Tasks are gated by the controller alone");
        }
        self.trusted = Some(complete);
        if let Some(configuration) = one {
            let hooks = configuration.webhooks.unwrap_or_default();
            let bundles = hooks.iter().map(|hook| (hook.name.as_str(), hook.client_config.ca_bundle.as_ref()));
            trust(&mutating, &name, bundles.collect(), &bundle).await?;
        }
        if let Some(configuration) = other {
            let hooks = configuration.webhooks.unwrap_or_default();
            let bundles = hooks.iter().map(|hook| (hook.name.as_str(), hook.client_config.ca_bundle.as_ref()));
            trust(&validating, &name, bundles.collect(), &bundle).await?;
        }
        Ok(())
    }

    /// Does all of it for ever: what fails is logged and tried again.
    ///
    /// Says on `ready` when the API server can call the webhook, or when nobody is going to configure it.
    pub async fn run(mut self, tls: Tls, mut served: Identity, ready: watch::Sender<bool>) {
        let began = Instant::now();
        loop {
            if let Err(error) = self.pass(&tls, &mut served).await {
                warn!(%error, "webhook certificates cannot be kept current; trying again");
            }
            let trusted = self.trusted == Some(true);
            if trusted || began.elapsed() > PATIENCE {
                ready.send_replace(true);
            }
            tokio::time::sleep(if trusted { INTERVAL } else { INTERVAL_MISSING }).await;
        }
    }

    async fn pass(&mut self, tls: &Tls, served: &mut Identity) -> Result<(), KeeperError> {
        let (identity, _) = self.ensure().await?;
        if identity != *served {
            tls.reload(&identity.certificate, &identity.key)?;
            *served = identity;
            info!("webhook serves its new certificate");
        }
        self.metrics.certificate_expires_at(served.expires_at()?);
        self.publish(served).await
    }
}

async fn trust<K>(
    configurations: &Api<K>,
    name: &str,
    hooks: Vec<(&str, Option<&ByteString>)>,
    bundle: &ByteString,
) -> Result<(), KeeperError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let stale = hooks.iter().enumerate().filter(|(_, (_, found))| *found != Some(bundle));
    let operations: Vec<Value> = stale
        .flat_map(|(index, (hook, _))| {
            let path = format!("/webhooks/{index}");
            [
                json!({"op": "test", "path": format!("{path}/name"), "value": hook}),
                json!({"op": "add", "path": format!("{path}/clientConfig/caBundle"), "value": bundle}),
            ]
        })
        .collect();
    if operations.is_empty() {
        return Ok(());
    }
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap_or_default();
    configurations
        .patch(name, &PatchParams::default(), &Patch::<()>::Json(patch))
        .await
        .map_err(api("patch the caBundle of a webhook configuration"))?;
    info!(configuration = name, "webhook configuration trusts the current CA");
    Ok(())
}

fn api(action: &'static str) -> impl Fn(kube::Error) -> KeeperError {
    move |source| KeeperError::Api { action, source: Box::new(source) }
}

fn new_stamp_key() -> Result<StampKey, KeeperError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(KeeperError::Random)?;
    // 32 bytes always make a key.
    StampKey::from_slice(&bytes).ok_or(KeeperError::Random(getrandom::Error::UNEXPECTED))
}

fn read(secret: &Secret) -> (Option<Identity>, Option<StampKey>) {
    let empty = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let text = |name: &str| data.get(name).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    let identity = || {
        Some(Identity {
            ca: text("ca.crt")?,
            ca_key: text("ca.key")?,
            previous_ca: text("previous-ca.crt").unwrap_or_default(),
            certificate: text("tls.crt")?,
            key: text("tls.key")?,
        })
    };
    (identity(), data.get("stamp.key").and_then(|bytes| StampKey::from_slice(&bytes.0)))
}

fn data(identity: &Identity, stamp_key: &StampKey) -> BTreeMap<String, ByteString> {
    let Identity { ca, ca_key, previous_ca, certificate, key } = identity;
    let texts = [
        ("ca.crt", ca),
        ("ca.key", ca_key),
        ("previous-ca.crt", previous_ca),
        ("tls.crt", certificate),
        ("tls.key", key),
    ];
    let mut data: BTreeMap<String, ByteString> =
        texts.into_iter().map(|(name, text)| (name.to_owned(), ByteString(text.clone().into_bytes()))).collect();
    data.insert("stamp.key".into(), ByteString(stamp_key.as_bytes().to_vec()));
    data
}
