//! Who asks: a relay shows its pod's token, the API server says which pod that is, and the record which attempt runs in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jct_model_gateway::{Caller, Identity, IdentityError};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::sleep;

use super::caller::caller;
use crate::crd::names::{ATTEMPT_LABEL, TASK_ID_LABEL};
use crate::domain::executor::Executors;
use crate::domain::id::sha256_hex;
use crate::domain::model::{AUDIENCE, Models};
use crate::domain::{Id, Phase};
use crate::store::{Store, TaskRow};

/// The service account of worker pods.
pub const ACCOUNT: &str = "default";
/// How long what the API server said of a token is believed; that the attempt runs is asked each time.
const VERDICT: Duration = Duration::from_secs(60);
/// A refusal is believed no longer than this: a pod may not be there yet.
const REFUSAL: Duration = Duration::from_secs(5);
/// So many verdicts are kept.
const MOST_VERDICTS: usize = 4096;
/// How long a pod's attempt may take to be known as running.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long the API server may take.
const ANSWER: Duration = Duration::from_secs(5);

/// The attempt that a pod was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Of {
    task_id: Id,
    attempt: u32,
    pod: String,
}

/// Knows the pods of attempts.
pub struct PodIdentity {
    client: Client,
    store: Store,
    namespace: String,
    executors: watch::Receiver<Arc<Executors>>,
    models: watch::Receiver<Arc<Models>>,
    /// By the digests of tokens.
    verdicts: Mutex<HashMap<String, (Instant, Option<Of>)>>,
}

impl PodIdentity {
    /// Of the pods in `namespace`, whose attempts `store` knows.
    pub fn new(
        client: Client,
        store: Store,
        namespace: String,
        executors: watch::Receiver<Arc<Executors>>,
        models: watch::Receiver<Arc<Models>>,
    ) -> Self {
        Self { client, store, namespace, executors, models, verdicts: Mutex::default() }
    }

    /// Whose a token is, by an earlier verdict or by the API server's.
    async fn pod(&self, token: &str) -> Result<Of, IdentityError> {
        let digest = sha256_hex(token.as_bytes());
        let known = {
            let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
            verdicts.get(&digest).cloned()
        };
        let found = match known.filter(|(since, verdict)| since.elapsed() < life(verdict.as_ref())) {
            Some((_, verdict)) => verdict,
            None => {
                let verdict = self.review(token).await?;
                let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                if verdicts.len() >= MOST_VERDICTS {
                    verdicts.retain(|_, (since, verdict)| since.elapsed() < life(verdict.as_ref()));
                }
                if verdicts.len() < MOST_VERDICTS {
                    verdicts.insert(digest, (Instant::now(), verdict.clone()));
                }
                verdict
            }
        };
        found.ok_or(IdentityError::Unknown)
    }

    async fn review(&self, token: &str) -> Result<Option<Of>, IdentityError> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec { token: Some(token.into()), audiences: Some(vec![AUDIENCE.into()]) },
            status: None,
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let review = timely(reviews.create(&PostParams::default(), &review)).await?;
        let Some(status) = review.status.filter(|status| status.authenticated == Some(true)) else { return Ok(None) };
        // An authenticator that knows nothing of audiences names none: its word is about another audience.
        let is_ours = status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
        let Some((name, uid)) = status.user.filter(|_| is_ours).and_then(|user| self.pod_of(&user)) else {
            return Ok(None);
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = timely(pods.get_opt(&name)).await?;
        Ok(pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&uid)).and_then(|pod| attempt_of(&pod)))
    }

    /// Name and uid of the pod that the token is bound to, if it is one of a worker's.
    fn pod_of(&self, user: &UserInfo) -> Option<(String, String)> {
        let account = format!("system:serviceaccount:{}:{ACCOUNT}", self.namespace);
        if user.username.as_deref() != Some(&account) {
            return None;
        }
        let extra = user.extra.as_ref()?;
        let one = |name: &str| extra.get(&format!("authentication.kubernetes.io/{name}"))?.first().cloned();
        Some((one("pod-name")?, one("pod-uid")?))
    }

    /// The Task, once its attempt is known to run in this pod.
    async fn running(&self, of: &Of) -> Result<TaskRow, IdentityError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let row =
                self.store.task(of.task_id).await.map_err(|error| IdentityError::Unavailable(error.to_string()))?;
            let row = row.ok_or(IdentityError::Unknown)?;
            if !row.attempt_is_open() || row.attempt != of.attempt {
                return Err(IdentityError::Unknown);
            }
            if row.phase == Phase::Running && row.assigned_to.as_deref() == Some(&of.pod) {
                return Ok(row);
            }
            if Instant::now() + LOOK_AGAIN > until {
                return Err(IdentityError::Unknown);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

fn life(verdict: Option<&Of>) -> Duration {
    if verdict.is_some() { VERDICT } else { REFUSAL }
}

/// The attempt that a pod of the worker namespace is labelled with: nobody but the operator makes pods there.
fn attempt_of(pod: &Pod) -> Option<Of> {
    let labels = pod.metadata.labels.as_ref()?;
    let task_id = labels.get(TASK_ID_LABEL)?.to_ascii_uppercase().parse().ok()?;
    let attempt = labels.get(ATTEMPT_LABEL)?.parse().ok()?;
    Some(Of { task_id, attempt, pod: pod.metadata.name.clone()? })
}

async fn timely<T>(asked: impl Future<Output = kube::Result<T>>) -> Result<T, IdentityError> {
    let unavailable = |why: &dyn std::fmt::Display| IdentityError::Unavailable(format!("the API server: {why}"));
    let answer = tokio::time::timeout(ANSWER, asked).await.map_err(|error| unavailable(&error))?;
    answer.map_err(|error| unavailable(&error))
}

impl Identity for PodIdentity {
    async fn identify(&self, token: &str) -> Result<Arc<Caller>, IdentityError> {
        let of = self.pod(token).await?;
        let row = self.running(&of).await?;
        let (executors, models) = (self.executors.borrow().clone(), self.models.borrow().clone());
        let executor = executors.resolve(&row.namespace, row.task.operation, row.executor.as_deref());
        let granted = executor.ok().and_then(|executor| {
            models.granted(executor, row.model.as_ref(), &row.namespace, &row.task.target.repo).ok().flatten()
        });
        // What was granted when it began may be taken back.
        let granted = granted.ok_or(IdentityError::Unknown)?;
        Ok(Arc::new(caller(&row, granted)))
    }
}
