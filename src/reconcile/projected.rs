//! What is kept of Jobs and pods: what passes read of them, packed. There may be ten thousand of each, and as values of their types
//! they would take some ten KiB.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::workers::AttemptKey;
use crate::crd::names;
use crate::jobs::{EXECUTOR_CONTAINER, SOURCE_CONTAINER, WORKER_CONTAINER};

/// What is cached of a Job or a pod.
pub trait Projected: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Default {
    /// What passes read of it besides its metadata.
    type Rest: Serialize + DeserializeOwned;

    /// Takes that out of it.
    fn take(&mut self) -> Self::Rest;

    /// Puts it back.
    fn put(&mut self, rest: Self::Rest);

    /// Takes off what nobody reads.
    fn project(&mut self) {
        let rest = self.take();
        let metadata = projected(std::mem::take(self.meta_mut()));
        *self = Self::default();
        *self.meta_mut() = metadata;
        self.put(rest);
    }
}

/// What passes read of a Job: how long it stays once it has ended, if that is said, and whether it ended well or not.
#[derive(Debug, Serialize, Deserialize)]
pub struct RestOfJob(Option<i32>, bool, bool);

impl Projected for Job {
    type Rest = RestOfJob;

    fn take(&mut self) -> RestOfJob {
        let conditions = self.status.take().and_then(|status| status.conditions).unwrap_or_default();
        let is = |type_: &str| conditions.iter().any(|one| one.type_ == type_ && one.status == "True");
        let ttl = self.spec.take().and_then(|spec| spec.ttl_seconds_after_finished);
        RestOfJob(ttl, is("Complete"), is("Failed"))
    }

    fn put(&mut self, RestOfJob(ttl, is_complete, is_failed): RestOfJob) {
        self.spec = ttl.map(|ttl| JobSpec { ttl_seconds_after_finished: Some(ttl), ..JobSpec::default() });
        let so = |type_: &str| JobCondition { type_: type_.into(), status: "True".into(), ..JobCondition::default() };
        let all = [(is_complete, "Complete"), (is_failed, "Failed")];
        let conditions: Vec<_> = all.into_iter().filter(|(is, _)| *is).map(|(_, type_)| so(type_)).collect();
        self.status = Some(conditions)
            .filter(|conditions| !conditions.is_empty())
            .map(|conditions| JobStatus { conditions: Some(conditions), ..JobStatus::default() });
    }
}

impl Projected for Pod {
    type Rest = Option<PodStatus>;

    fn take(&mut self) -> Option<PodStatus> {
        let PodStatus {
            phase,
            reason,
            message,
            host_ip,
            start_time,
            conditions,
            init_container_statuses,
            container_statuses,
            ..
        } = self.status.take()?;
        let conditions = conditions.map(|all| {
            let read = |type_: &str| ["PodScheduled", "DisruptionTarget"].contains(&type_);
            all.into_iter().filter(|one| read(&one.type_)).collect()
        });
        Some(PodStatus {
            phase,
            reason,
            message,
            host_ip,
            start_time,
            conditions,
            init_container_statuses: init_container_statuses.map(containers),
            container_statuses: container_statuses.map(containers),
            ..PodStatus::default()
        })
    }

    fn put(&mut self, rest: Option<PodStatus>) {
        self.status = rest;
    }
}

fn containers(all: Vec<ContainerStatus>) -> Vec<ContainerStatus> {
    let ours = [SOURCE_CONTAINER, EXECUTOR_CONTAINER, WORKER_CONTAINER];
    let of_ours = all.into_iter().filter(|status| ours.contains(&status.name.as_str()));
    let read = |ContainerStatus { name, state, image, image_id, .. }: ContainerStatus| ContainerStatus {
        name,
        state,
        image,
        image_id,
        ..ContainerStatus::default()
    };
    of_ours.map(read).collect()
}

fn projected(metadata: ObjectMeta) -> ObjectMeta {
    let kept = |map: Option<BTreeMap<String, String>>, names: [&str; 2]| {
        map.map(|map| map.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect())
    };
    ObjectMeta {
        name: metadata.name,
        uid: metadata.uid,
        labels: kept(metadata.labels, [names::TASK_ID_LABEL, names::ATTEMPT_LABEL]),
        annotations: kept(metadata.annotations, [names::TASK_NAMESPACE, names::TASK_NAME]),
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

/// Name, uid, times in seconds, and whose Task it is; then the rest. What the attempt says by itself is left out: the labels, and
/// of the name what all objects of the attempt are called.
#[derive(Serialize, Deserialize)]
struct Line<R>(Option<String>, Option<String>, Option<i64>, Option<i64>, Option<String>, Option<String>, R);

/// Stands for the name of the attempt's Job.
const JOB_NAME: char = '+';

/// Packs an object of this attempt.
pub fn packed<K: Projected>(key: AttemptKey, mut object: K) -> Option<Box<[u8]>> {
    let rest = object.take();
    let metadata = std::mem::take(object.meta_mut());
    let mut annotations = metadata.annotations.unwrap_or_default();
    let job_name = key.job_name();
    let name = metadata.name.map(|name| match name.strip_prefix(&job_name) {
        Some(more) => format!("{JOB_NAME}{more}"),
        None => name,
    });
    let seconds = |time: Option<Time>| time.map(|time| time.0.as_second());
    let line = Line(
        name,
        metadata.uid,
        seconds(metadata.creation_timestamp),
        seconds(metadata.deletion_timestamp),
        annotations.remove(names::TASK_NAMESPACE),
        annotations.remove(names::TASK_NAME),
        rest,
    );
    serde_json::to_vec(&line).ok().map(Vec::into_boxed_slice)
}

/// The object that was packed.
pub fn unpacked<K: Projected>(key: AttemptKey, packed: &[u8]) -> Option<K> {
    let Line(name, uid, created, deleted, namespace, task, rest) = serde_json::from_slice(packed).ok()?;
    let mut object = K::default();
    let time = |seconds: Option<i64>| Timestamp::from_second(seconds?).ok().map(Time);
    let annotations = [(names::TASK_NAMESPACE, namespace), (names::TASK_NAME, task)];
    let annotations = annotations.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    *object.meta_mut() = ObjectMeta {
        name: name.map(|name| whole(key, name)),
        uid,
        labels: Some(key.labels()),
        annotations: Some(annotations.collect()),
        creation_timestamp: time(created),
        deletion_timestamp: time(deleted),
        ..ObjectMeta::default()
    };
    object.put(rest);
    Some(object)
}

/// Whether what is packed is called so.
pub fn is_called(key: AttemptKey, packed: &[u8], name: &str) -> bool {
    // The name comes first, and has no comma in it.
    let first = packed.split(|byte| *byte == b',').next().unwrap_or_default();
    let first: Option<(Option<String>,)> = serde_json::from_slice(&[first, b"]"].concat()).ok();
    first.and_then(|(found,)| found).is_some_and(|found| whole(key, found) == name)
}

fn whole(key: AttemptKey, name: String) -> String {
    match name.strip_prefix(JOB_NAME) {
        Some(more) => key.job_name() + more,
        None => name,
    }
}
