//! Keeps the keys in a Secret: made when there are none, rotated with compare-and-set, looked at again and again, so that
//! every replica signs with the current one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::public_keys;
use super::{InvalidKey, KeyRing, PublicKey, SigningKey};

/// The entry with the private key in use, PKCS#8 PEM.
const SIGNING_KEY: &str = "signing.key";
/// The entry with the public keys, a JSON Web Key Set.
const PUBLIC_KEYS: &str = "jwks.json";
/// How often the Secret is looked at.
const INTERVAL: Duration = Duration::from_secs(15);
/// How often a write that another replica came before is tried again.
const TRIES: usize = 10;

/// Where the keys are kept.
#[derive(Clone, Debug)]
pub struct SecretSettings {
    pub namespace: String,
    pub secret: String,
    /// The age at which a key is replaced; none for never.
    pub max_age: Option<Duration>,
}

/// What went wrong with the keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The API server refused or did not answer.
    #[error("cannot {action} the Secret with the signing keys: {source}")]
    Api { action: &'static str, source: Box<kube::Error> },
    /// An entry is there that cannot be used. It is left alone: it may be somebody's only copy.
    #[error("entry {entry} of Secret {secret} has {problem}; mend it, or remove the entry to have a new one made")]
    Entry { secret: String, entry: &'static str, problem: InvalidKey },
    /// No new key could be made.
    #[error(transparent)]
    Make(InvalidKey),
    /// The Secret has no key yet.
    #[error("Secret {0} has no signing key yet; a running operator makes one")]
    None(String),
    /// Others write all the time.
    #[error("Secret {0} is written by others all the time; try again")]
    Contended(String),
}

/// The keys that are current, for those who sign or publish. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys(watch::Receiver<Option<Arc<KeyRing>>>);

impl Keys {
    /// Keys that never change; without `ring` there are none.
    pub fn fixed(ring: Option<KeyRing>) -> Self {
        Self(watch::channel(ring.map(Arc::new)).1)
    }

    /// The keys, once the Secret was read.
    pub fn current(&self) -> Option<Arc<KeyRing>> {
        self.0.borrow().clone()
    }
}

/// The keys in the Secret.
#[derive(Clone)]
pub struct SecretKeys {
    secrets: Api<Secret>,
    settings: SecretSettings,
}

/// What the Secret holds.
#[derive(Default)]
struct Held {
    signing: Option<SigningKey>,
    public: Vec<PublicKey>,
}

impl SecretKeys {
    /// The keys where `settings` says.
    pub fn new(client: Client, settings: SecretSettings) -> Self {
        Self { secrets: Api::namespaced(client, &settings.namespace), settings }
    }

    /// The keys as they are. Writes nothing.
    ///
    /// # Errors
    /// [`KeyError::None`] if there are none yet; else what stands in the way.
    pub async fn read(&self) -> Result<KeyRing, KeyError> {
        let found = self.secrets.get_opt(&self.settings.secret).await.map_err(api("read"))?;
        let held = self.held(found.as_ref())?;
        let signing = held.signing.ok_or_else(|| KeyError::None(self.settings.secret.clone()))?;
        Ok(KeyRing::new(signing, &held.public, Timestamp::now()))
    }

    /// The keys, with a new one in use if there was none or it is too old. Into a Secret that has lost its private key those
    /// of `known` that are not there are put back, as retired.
    ///
    /// # Errors
    /// [`KeyError`] names what stands in the way.
    pub async fn ensure(&self, known: &[PublicKey]) -> Result<KeyRing, KeyError> {
        self.update(known, |ring, now| self.settings.max_age.is_some_and(|age| ring.is_older_than(age, now))).await
    }

    /// Puts a new key into use. The one before stays among the public keys.
    ///
    /// # Errors
    /// [`KeyError`] names what stands in the way; nothing has changed then.
    pub async fn rotate(&self) -> Result<KeyRing, KeyError> {
        self.update(&[], |_, _| true).await
    }

    /// Reads, makes what is missing, and writes if that differs, until nobody else wrote in between.
    async fn update(
        &self,
        known: &[PublicKey],
        is_due: impl Fn(&KeyRing, Timestamp) -> bool,
    ) -> Result<KeyRing, KeyError> {
        for _ in 0..TRIES {
            let found = match self.secrets.get_opt(&self.settings.secret).await.map_err(api("read"))? {
                Some(secret) => secret,
                None => self.create().await?,
            };
            let held = self.held(Some(&found))?;
            let now = Timestamp::now();
            let is_new = held.signing.is_none();
            // Who takes a public key out and leaves the private one means it.
            let known = if is_new { known } else { &[] };
            let lost = known.iter().filter(|key| held.public.iter().all(|there| there.id() != key.id())).cloned();
            let public: Vec<PublicKey> = held.public.iter().cloned().chain(lost).collect();
            let ring = match held.signing {
                Some(signing) => {
                    let ring = KeyRing::new(signing, &public, now);
                    if is_due(&ring, now) {
                        KeyRing::rotated(ring.public(), now).map_err(KeyError::Make)?
                    } else {
                        ring
                    }
                }
                None => KeyRing::rotated(&public, now).map_err(KeyError::Make)?,
            };
            if !is_new && ring.public() == held.public {
                return Ok(ring);
            }
            if is_new && !known.is_empty() {
                warn!(
                    secret = self.settings.secret,
                    namespace = self.settings.namespace,
                    key = ring.signing().public().id(),
                    "the Secret with the signing key was deleted or emptied: a new key is made; public keys that are \
                     not in it any more and not known here can be had from copies alone"
                );
            }
            match self.write(found, &ring).await {
                Ok(()) => {
                    info!(secret = self.settings.secret, key = ring.signing().public().id(), "signing keys written");
                    return Ok(ring);
                }
                // Another replica was faster: look at what it wrote.
                Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
                Err(error) => return Err(api("write")(error)),
            }
        }
        Err(KeyError::Contended(self.settings.secret.clone()))
    }

    /// Makes the Secret, empty. By apply, as the right to create can be bound to its name then; an apply without data takes
    /// none away that another replica has written meanwhile.
    async fn create(&self) -> Result<Secret, KeyError> {
        let empty = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": self.settings.secret, "namespace": self.settings.namespace,
                "labels": {"app.kubernetes.io/part-of": "jct", "app.kubernetes.io/managed-by": "jct"},
            },
        });
        let apply = PatchParams::apply("jct");
        self.secrets.patch(&self.settings.secret, &apply, &Patch::Apply(empty)).await.map_err(api("create"))
    }

    async fn write(&self, mut secret: Secret, ring: &KeyRing) -> Result<(), kube::Error> {
        let jwks = serde_json::to_vec_pretty(&ring.to_jwks()).map_err(kube::Error::SerdeError)?;
        let data = secret.data.get_or_insert_with(BTreeMap::new);
        data.insert(SIGNING_KEY.into(), ByteString(ring.signing().pem().as_bytes().to_vec()));
        data.insert(PUBLIC_KEYS.into(), ByteString(jwks));
        // With its resourceVersion: refused if somebody wrote since it was read.
        self.secrets.replace(&self.settings.secret, &PostParams::default(), &secret).await.map(drop)
    }

    fn held(&self, secret: Option<&Secret>) -> Result<Held, KeyError> {
        let data = secret.and_then(|secret| secret.data.as_ref());
        let entry = |name| data.and_then(|data| data.get(name)).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
        let failed = |entry| move |problem| KeyError::Entry { secret: self.settings.secret.clone(), entry, problem };
        let signing = match entry(SIGNING_KEY) {
            pem if pem.trim_ascii().is_empty() => None,
            pem => Some(SigningKey::from_pem(&String::from_utf8_lossy(pem)).map_err(failed(SIGNING_KEY))?),
        };
        let public = match entry(PUBLIC_KEYS) {
            jwks if jwks.trim_ascii().is_empty() => Vec::new(),
            jwks => public_keys(jwks).map_err(failed(PUBLIC_KEYS))?,
        };
        Ok(Held { signing, public })
    }
}

/// Keeps the keys until `stop`, and those who sign or publish informed: what fails is logged and tried again, the keys
/// known so far stay in use. Returns at once.
pub fn keep(keys: SecretKeys, stop: CancellationToken) -> Keys {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        stop.run_until_cancelled(async {
            loop {
                let known = sender.borrow().as_ref().map(|ring: &Arc<KeyRing>| ring.public().to_vec());
                match keys.ensure(&known.clone().unwrap_or_default()).await {
                    Ok(ring) if known.as_deref() != Some(ring.public()) => {
                        info!(key = ring.signing().public().id(), keys = ring.public().len(), "signing key in use");
                        sender.send_replace(Some(Arc::new(ring)));
                    }
                    Ok(_) => {}
                    Err(error) => warn!(%error, "signing keys cannot be kept current; trying again"),
                }
                tokio::time::sleep(INTERVAL).await;
            }
        })
        .await;
    });
    Keys(receiver)
}

fn api(action: &'static str) -> impl Fn(kube::Error) -> KeyError {
    move |source| KeyError::Api { action, source: Box::new(source) }
}
