//! Keeps the webhook's certificates: in a Secret, renewed in time, served without a restart, and trusted by the webhook
//! configurations.
//!
//! Several replicas may do this at once: the Secret is written with compare-and-set, and all serve what it holds.
//!
//! It keeps the stamp keys too. One that was replaced in the Secret seals after a moment in which every replica has seen it,
//! and the one before goes on verifying. And it looks since when the webhook configurations have been there, by which seals
//! are believed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use super::certificates::{CertificateError, Identity, service_names};
use super::metrics::WebhookMetrics;
use super::stamp_keys::{Kept, KeyRotation};
use crate::crd::Trust;
use crate::domain::StampKey;
use crate::serve::{Tls, TlsError};
use crate::shared::Clock;

/// How often Secret and configurations are looked at. A configuration whose caBundle was reset blocks writes until then.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while configurations are missing: an installation may be under way.
const INTERVAL_MISSING: Duration = Duration::from_secs(1);
/// How long after the start a missing configuration counts as one that is about to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where things are.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    pub namespace: String,
    pub secret: String,
    /// The Service through which the API server reaches the webhook.
    pub service: String,
    /// The Service through which worker pods reach the broker of models, if there is one.
    pub model_service: Option<String>,
    /// Name of both webhook configurations.
    pub configuration: String,
    pub life: Duration,
}

/// What went wrong; tried again at the next interval.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The API server refused or did not answer.
    #[error("{action}: {source}")]
    Api { action: &'static str, source: Box<kube::Error> },
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
    metrics: WebhookMetrics,
    clock: Clock,
    trusted: Option<bool>,
    rotation: KeyRotation,
    trust: Option<watch::Sender<Arc<Trust>>>,
    identity: watch::Sender<Option<Identity>>,
}

impl Keeper {
    /// A keeper that has done nothing yet.
    pub fn new(client: Client, settings: KeeperSettings, metrics: WebhookMetrics, clock: Clock) -> Self {
        Self {
            client,
            settings,
            metrics,
            clock,
            trusted: None,
            rotation: KeyRotation::default(),
            trust: None,
            identity: watch::Sender::new(None),
        }
    }

    /// The certificates as they are, now and whenever they are renewed.
    pub fn identity(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    /// The certificates, made if there are none, and which seals are believed from now on.
    ///
    /// # Errors
    /// [`KeeperError`] names the step that failed.
    pub async fn begin(&mut self) -> Result<(Identity, watch::Receiver<Arc<Trust>>), KeeperError> {
        let (identity, kept) = self.ensure().await?;
        let configurations = self.configurations().await?;
        let trust = self.publish_trust(&kept, &configurations)?;
        Ok((identity, trust))
    }

    /// The certificates and the stamp keys, made and stored if the Secret holds none that will do.
    async fn ensure(&self) -> Result<(Identity, Kept), KeeperError> {
        let services = std::iter::once(&self.settings.service).chain(&self.settings.model_service);
        let names: Vec<_> = services.flat_map(|service| service_names(service, &self.settings.namespace)).collect();
        let (identity, kept) = self.ensure_for(&names).await?;
        self.identity.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&identity);
            if is_new {
                *known = Some(identity.clone());
            }
            is_new
        });
        Ok((identity, kept))
    }

    async fn ensure_for(&self, names: &[String]) -> Result<(Identity, Kept), KeeperError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        loop {
            let found = secrets.get_opt(&self.settings.secret).await.map_err(api("read the webhook's Secret"))?;
            let (current, found_keys) = found.as_ref().map_or_else(Default::default, read);
            // By the clock of the answer that has just come: who calls the webhook goes by that, too.
            let now = self.clock.system_time();
            let identity = Identity::maintained(current.as_ref(), names, self.settings.life, now)?;
            let kept = found_keys.maintained(new_stamp_key()?, self.rotation.sealing(), self.clock.now());
            if current.as_ref() == Some(&identity) && kept == found_keys {
                return Ok((identity, kept));
            }
            let exists = found.is_some();
            let mut secret = found.unwrap_or_default();
            secret.metadata.name = Some(self.settings.secret.clone());
            secret.data = Some(data(&identity, &kept));
            let written = if exists {
                secrets.replace(&self.settings.secret, &PostParams::default(), &secret).await
            } else {
                secrets.create(&PostParams::default(), &secret).await
            };
            match written {
                Ok(_) => {
                    info!(secret = self.settings.secret, "the webhook's certificates and stamp keys are written");
                    return Ok((identity, kept));
                }
                // Another replica was faster: take what it wrote.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(api("write the webhook's Secret")(error)),
            }
        }
    }

    async fn configurations(&self) -> Result<Configurations, KeeperError> {
        let name = &self.settings.configuration;
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let found = mutating.get_opt(name).await.or_else(unless_forbidden);
        let mutating = found.map_err(api("read the mutating webhook configuration"))?;
        let found = validating.get_opt(name).await.or_else(unless_forbidden);
        let validating = found.map_err(api("read the validating webhook configuration"))?;
        Ok(Configurations { mutating, validating })
    }

    /// Has everybody know what is believed from now on.
    fn publish_trust(
        &mut self,
        kept: &Kept,
        configurations: &Configurations,
    ) -> Result<watch::Receiver<Arc<Trust>>, KeeperError> {
        // What is maintained has a key.
        let missing = KeeperError::Random(getrandom::Error::UNEXPECTED);
        let keys = self.rotation.keys(kept, Instant::now()).ok_or(missing)?;
        let covered_since = configurations.cover_since();
        let trust = Arc::new(Trust { keys, covered_since, own_namespace: self.settings.namespace.clone() });
        let sender = self.trust.get_or_insert_with(|| watch::Sender::new(trust.clone()));
        let before = sender.send_replace(trust.clone());
        if before.keys.sealing() != trust.keys.sealing() {
            info!("stamps are sealed with a new key from now on");
        }
        Ok(sender.subscribe())
    }

    /// Makes the webhook configurations trust `identity`. One that is missing is waited for: without it nothing is called.
    ///
    /// # Errors
    /// [`KeeperError::Api`] if the configurations cannot be read or patched.
    async fn publish(&mut self, identity: &Identity, configurations: Configurations) -> Result<(), KeeperError> {
        let bundle = ByteString(identity.bundle().into_bytes());
        let name = self.settings.configuration.clone();
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let Configurations { mutating: one, validating: other } = configurations;
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

    /// Looks for ever which seals are believed, in a process that serves no webhook.
    pub async fn follow(mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = self.begin().await {
                warn!(%error, "cannot look which stamps are believed; trying again");
            }
        }
    }

    async fn pass(&mut self, tls: &Tls, served: &mut Identity) -> Result<(), KeeperError> {
        let (identity, kept) = self.ensure().await?;
        if identity != *served {
            tls.reload(&identity.certificate, &identity.key)?;
            *served = identity;
            info!("webhook serves its new certificate");
        }
        self.metrics.certificate_expires_at(served.expires_at()?);
        let configurations = self.configurations().await?;
        self.publish_trust(&kept, &configurations)?;
        self.publish(served, configurations).await
    }
}

/// An installation without webhooks may not even ask for their configurations.
fn unless_forbidden<T>(error: kube::Error) -> kube::Result<Option<T>> {
    match error {
        kube::Error::Api(status) if status.code == 403 => Ok(None),
        error => Err(error),
    }
}

/// The webhook configurations, as far as they are there.
struct Configurations {
    mutating: Option<MutatingWebhookConfiguration>,
    validating: Option<ValidatingWebhookConfiguration>,
}

impl Configurations {
    /// Since when no object can have come past both of them.
    fn cover_since(&self) -> Option<Timestamp> {
        let (mutating, validating) = (self.mutating.as_ref()?, self.validating.as_ref()?);
        let of_mutating = mutating.webhooks.iter().flatten();
        let stamps = of_mutating.into_iter().any(|hook| holds(hook.failure_policy.as_deref(), hook.rules.as_deref()));
        let of_validating = validating.webhooks.iter().flatten();
        let checks = of_validating.into_iter().any(|hook| holds(hook.failure_policy.as_deref(), hook.rules.as_deref()));
        let one = mutating.metadata.creation_timestamp.as_ref()?.0;
        let other = validating.metadata.creation_timestamp.as_ref()?.0;
        (stamps && checks).then(|| one.max(other))
    }
}

/// Whether a webhook is asked about every new object, and none comes into being that it has not answered.
fn holds(failure_policy: Option<&str>, rules: Option<&[RuleWithOperations]>) -> bool {
    let operations = rules.into_iter().flatten().flat_map(|rule| rule.operations.iter().flatten());
    let asked = operations.into_iter().any(|operation| operation == "CREATE" || operation == "*");
    asked && failure_policy != Some("Ignore")
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

fn read(secret: &Secret) -> (Option<Identity>, Kept) {
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
    (identity(), Kept::read(data))
}

fn data(identity: &Identity, kept: &Kept) -> BTreeMap<String, ByteString> {
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
    kept.write(&mut data);
    data
}
