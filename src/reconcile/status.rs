//! How statuses are written: conditions that keep their times, and a patch only where something differs.

use std::collections::HashSet;

use http::{HeaderValue, header};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::core::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Error;
use super::by_uid::ByUid;

/// One condition, but for its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `type`.
    pub type_: &'static str,
    /// `status`: True, False or Unknown.
    pub status: &'static str,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
}

impl Fact {
    pub fn yes(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { type_, status: "True", reason: reason.into(), message: message.into() }
    }

    /// It is not so.
    pub fn no(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { type_, status: "False", reason: reason.into(), message: message.into() }
    }

    /// Nobody knows yet.
    pub fn unknown(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { type_, status: "Unknown", reason: reason.into(), message: message.into() }
    }
}

/// The conditions that say `facts`. One whose status stays as it was `before` keeps its time.
pub fn conditions(facts: Vec<Fact>, generation: Option<i64>, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let condition = |Fact { type_, status, reason, message }| {
        let since = before
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status)
            .map_or_else(|| seconds(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason,
            message,
            observed_generation: generation,
            last_transition_time: since,
        }
    };
    facts.into_iter().map(condition).collect()
}

/// A time as the API server keeps it: finer ones would differ from what comes back, and be written again and again.
pub fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// Statuses are read by people; the whole text is in the record.
pub fn shorten(message: &str) -> String {
    const MOST: usize = 1024;
    if message.chars().count() <= MOST {
        return message.into();
    }
    message.chars().take(MOST - 1).chain(['…']).collect()
}

/// The statuses last written, by uid, until the cache shows them: one that lags would make the controller write them again.
#[derive(Debug)]
pub struct Written<S>(ByUid<(u64, S)>);

impl<S> Default for Written<S> {
    fn default() -> Self {
        Self(ByUid::default())
    }
}

impl<S: Clone> Written<S> {
    /// The status as it stands: what was last written, unless the cache has caught up with that write.
    ///
    /// Resource versions are comparable numbers (Kubernetes API concepts, 1.35).
    pub fn current(&self, uid: &str, resource_version: Option<&str>, cached: Option<S>) -> Option<S> {
        let seen = number(resource_version).unwrap_or(u64::MAX);
        self.0.forget_if(uid, |(version, _)| *version <= seen);
        self.0.get(uid).map_or(cached, |(_, status)| Some(status))
    }

    /// Notes what was written, and the resource version that it made.
    pub fn note(&self, uid: &str, resource_version: Option<&str>, status: S) {
        if let Some(version) = number(resource_version) {
            self.0.put(uid, (version, status));
        }
    }

    /// The cache has the object in this version, and no pass began with an older one.
    pub fn seen(&self, uid: &str, seen: u64) {
        self.0.forget_if(uid, |(version, _)| *version <= seen);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }

    /// Forgets all objects but these.
    pub fn keep(&self, there: &HashSet<String>) {
        self.0.keep(there);
    }

    /// Of how many objects the cache lags behind.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the cache has all that was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn number(resource_version: Option<&str>) -> Option<u64> {
    resource_version?.parse().ok()
}

/// An answer that has the metadata of an object alone.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The object whose status is written.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    /// Its resource version in the cache.
    pub resource_version: Option<&'a str>,
}

/// Writes the status that `project` makes of the one that stands there, if it differs from that. Says whether it did.
///
/// # Errors
/// [`Error::Api`] if the API server refuses. An object that is gone needs no status: that is no error.
pub async fn write<K, S>(
    api: &Api<K>,
    written: &Written<S>,
    subject: Subject<'_>,
    cached: Option<S>,
    project: impl FnOnce(Option<&S>) -> S,
) -> Result<bool, Error>
where
    K: Resource + Clone,
    S: Clone + Default + PartialEq + Serialize,
{
    write_kept(api, written, subject, cached, project, S::clone).await
}

/// As [`write()`], for statuses that caches hold in short: `cached` is what `keep` made of one.
///
/// # Errors
/// As for [`write()`].
pub async fn write_kept<K, S>(
    api: &Api<K>,
    written: &Written<S>,
    subject: Subject<'_>,
    cached: Option<S>,
    project: impl FnOnce(Option<&S>) -> S,
    keep: impl FnOnce(&S) -> S,
) -> Result<bool, Error>
where
    K: Resource + Clone,
    S: Clone + Default + PartialEq + Serialize,
{
    let Subject { name, uid, resource_version } = subject;
    let current = written.current(uid, resource_version, cached);
    let wanted = project(current.as_ref());
    let kept = keep(&wanted);
    if current.as_ref() == Some(&kept) {
        return Ok(false);
    }
    // The uid makes it a conflict where the name has passed to another object.
    let patch = json!({"metadata": {"uid": uid}, "status": merge(&current.unwrap_or_default(), &wanted)});
    let Some(metadata) = Error::unless_gone("write a status", patch_status(api, name, patch).await)? else {
        return Ok(false);
    };
    written.note(uid, metadata.resource_version.as_deref(), kept);
    Ok(true)
}

/// Patches a status, and has only the metadata sent back: the spec may have half a megabyte, and is known.
async fn patch_status<K: Resource + Clone>(api: &Api<K>, name: &str, patch: Value) -> kube::Result<ObjectMeta> {
    #[derive(Deserialize)]
    struct Answer {
        metadata: ObjectMeta,
    }
    let request = Request::new(api.resource_url());
    let request = request.patch_subresource("status", name, &PatchParams::default(), &Patch::Merge(patch));
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(METADATA));
    api.clone().into_client().request::<Answer>(request).await.map(|answer| answer.metadata)
}

/// A JSON merge patch (RFC 7396) that makes `wanted` of `current`: what is no longer there is null.
fn merge<S: Serialize>(current: &S, wanted: &S) -> Value {
    let object = |status: &S| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let mut patch = object(wanted);
    for name in object(current).keys() {
        patch.entry(name.clone()).or_insert(Value::Null);
    }
    Value::Object(patch)
}
