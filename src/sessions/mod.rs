//! Answers Sessions: whoever may make one gets a token to the API as the person that they are to the API server.
//!
//! Every replica does, for every one comes to the same: the write says which state of the object it answers, and one of them wins.
//! Nothing is kept. What has ended is deleted; a token ends with its object, however that goes.

mod decide;
mod metrics;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jct_session::PublicKey;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::crd::Trust;
use crate::crd::session::token::SessionToken;
use crate::crd::session::{READY, Session, SessionReason};
use crate::domain::Principal;
use crate::shared::Clock;
use decide::{Decision, Live, decide};
pub use metrics::{SessionLabels, SessionMetrics};

/// How often what has ended is deleted, and what could not be answered is answered.
const SWEEP: Duration = Duration::from_secs(5);
/// How many are deleted in one sweep: the others are watched meanwhile.
const DELETED_AT_ONCE: usize = 100;
/// How many are kept that the API server took no answer for.
const MOST_UNANSWERED: usize = 1000;
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Objects in a page of a list: others may have written much into each.
const PAGE: u32 = 50;

/// What answers Sessions.
pub struct Sessions {
    pub client: Client,
    /// Which seals are believed, and what tokens are sealed with.
    pub trust: watch::Receiver<Arc<Trust>>,
    pub clock: Clock,
    pub metrics: SessionMetrics,
    /// How long a token lives, from when its Session was made.
    pub life: Duration,
}

impl Sessions {
    /// Answers them until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let all: Api<Session> = Api::all(self.client.clone());
        let config = watcher::Config::default().page_size(PAGE);
        let mut events = pin!(watcher(all, config).default_backoff());
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut live = Live::default();
        // Those that the API server took no answer for.
        let mut unanswered: Vec<Session> = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(event)) => self.handle(event, &mut live, &mut unanswered).await,
                    Some(Err(error)) => warn!(%error, "Sessions cannot be watched; trying again"),
                    None => return,
                },
                _ = sweep.tick() => {
                    for session in std::mem::take(&mut unanswered) {
                        self.answer(session, &mut live, &mut unanswered).await;
                    }
                    for (namespace, name, uid) in live.ended(self.clock.now()).into_iter().take(DELETED_AT_ONCE) {
                        self.delete(&namespace, &name, uid).await;
                    }
                }
            }
        }
    }

    async fn handle(&self, event: watcher::Event<Session>, live: &mut Live, unanswered: &mut Vec<Session>) {
        match event {
            watcher::Event::Init => {
                live.clear();
                unanswered.clear();
            }
            watcher::Event::InitDone => {}
            watcher::Event::Delete(session) => live.forget(&session),
            watcher::Event::InitApply(session) | watcher::Event::Apply(session) => {
                self.answer(session, live, unanswered).await;
            }
        }
    }

    /// Answers one, if it has no answer yet.
    async fn answer(&self, session: Session, live: &mut Live, unanswered: &mut Vec<Session>) {
        let trust = self.trust.borrow().clone();
        let now = self.clock.now();
        let life = SignedDuration::try_from(self.life).unwrap_or(SignedDuration::from_secs(3600));
        let (status, reason, user, until) = match decide(&session, &trust, now, life, live) {
            Decision::Nothing(until) => return live.note(&session, None, until),
            Decision::Answered(until) => {
                let issued = session.ready().is_some_and(|condition| condition.status == "True");
                let user = session.status.as_ref().and_then(|status| status.user.clone()).filter(|_| issued);
                return live.note(&session, user, Some(until));
            }
            Decision::Issue(owner, until) => match issue(&session, &owner, until, &trust, now) {
                Ok(status) => (status, SessionReason::Issued, Some(owner.user), Some(until)),
                Err(message) => {
                    (refusal(SessionReason::InvalidKey, &message, now), SessionReason::InvalidKey, None, None)
                }
            },
            Decision::Refuse(reason, message) => (refusal(reason, &message, now), reason, None, None),
        };
        match self.write(&session, &status).await {
            Written::Yes => {
                self.metrics.answered.get_or_create(&SessionLabels { result: reason.as_str() }).inc();
                let (namespace, name) = (session.metadata.namespace.as_deref(), session.metadata.name.as_deref());
                info!(namespace, name, reason = reason.as_str(), user, "Session answered");
                live.note(&session, user, until);
            }
            // Its answer, or its end, is about to be told.
            Written::Otherwise => {}
            Written::No if unanswered.len() < MOST_UNANSWERED => unanswered.push(session),
            Written::No => warn!("too many Sessions wait for an answer that the API server does not take"),
        }
    }

    async fn write(&self, session: &Session, status: &Value) -> Written {
        let metadata = &session.metadata;
        let (namespace, name) =
            (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
        let api: Api<Session> = Api::namespaced(self.client.clone(), namespace);
        // This state of this object or none: another replica may have answered it.
        let patch = json!({
            "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "status": status,
        });
        let (patch, parameters) = (Patch::Merge(&patch), PatchParams::default());
        match timeout(PATIENCE, api.patch_status(name, &parameters, &patch)).await {
            Ok(Ok(_)) => Written::Yes,
            Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Written::Otherwise,
            Ok(Err(error)) => {
                warn!(namespace, name, %error, "a Session cannot be answered; trying again");
                Written::No
            }
            Err(_) => Written::No,
        }
    }

    async fn delete(&self, namespace: &str, name: &str, uid: String) {
        let api: Api<Session> = Api::namespaced(self.client.clone(), namespace);
        let preconditions = Preconditions { uid: Some(uid), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match timeout(PATIENCE, api.delete(name, &parameters)).await {
            Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => {}
            Ok(Err(error)) => {
                warn!(namespace, name, %error, "a Session that has ended cannot be deleted; trying again")
            }
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

/// What became of an answer.
enum Written {
    Yes,
    /// The object is not what it was.
    Otherwise,
    /// The API server did not take it.
    No,
}

/// The status with a token.
///
/// # Errors
/// A sentence, if nothing can be encrypted to the key.
fn issue(
    session: &Session,
    owner: &Principal,
    until: Timestamp,
    trust: &Trust,
    now: Timestamp,
) -> Result<Value, String> {
    let metadata = &session.metadata;
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let uid = given(&metadata.uid);
    let token = SessionToken {
        namespace: given(&metadata.namespace),
        name: given(&metadata.name),
        uid: uid.clone(),
        exp: until.as_second(),
    };
    let key = PublicKey::parse(&session.spec.public_key).map_err(|error| format!("spec.publicKey {error}"))?;
    let encrypted = key.encrypt(&token.sign(&trust.keys), &uid).map_err(|error| format!("spec.publicKey {error}"))?;
    let mut status = json!({"user": owner.user, "encryptedToken": encrypted, "expiresAt": seconds(until)});
    status["conditions"] = condition("True", SessionReason::Issued, "the token is in status.encryptedToken", now);
    Ok(status)
}

fn refusal(reason: SessionReason, message: &str, now: Timestamp) -> Value {
    json!({"conditions": condition("False", reason, message, now)})
}

fn condition(status: &str, reason: SessionReason, message: &str, now: Timestamp) -> Value {
    json!([{
        "type": READY, "status": status, "reason": reason.as_str(), "message": message,
        "lastTransitionTime": seconds(now), "observedGeneration": 1,
    }])
}

fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
