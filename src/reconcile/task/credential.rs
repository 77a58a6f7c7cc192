//! The Secret by which an attempt reads a private repository: there from when its pod has a node until its source is fetched.
//!
//! The operator may make and delete such Secrets, and read none: what it knows of them is what it has done itself. Doing it twice
//! does it once, and what is left over goes with its Job.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jct_forges::{Login, Purpose};
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DeleteParams, PostParams};

use super::observe::{scheduled_at, source_has_ended};
use crate::crd::names;
use crate::domain::forge::secret::{TOKEN, TROUBLE, USERNAME};
use crate::domain::forge::{Credential, Forge};
use crate::jobs::{SourceForge, credential_name};
use crate::reconcile::by_uid::ByUid;
use crate::reconcile::workers::AttemptKey;
use crate::reconcile::{Context, Error};
use crate::store::TaskRow;

/// How long a forge may take to make a token, from when the pod has a node; then the attempt fails with what is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pod whose source has not begun by then waits for a Secret that nobody is granted any more.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// What this process has done for the attempts of Tasks.
#[derive(Debug, Default)]
pub struct AttemptSecrets(ByUid<Option<(String, Done)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Made,
    Deleted,
}

impl AttemptSecrets {
    /// Forgets all Tasks but those with these uids.
    pub fn keep(&self, there: &HashSet<String>) {
        self.0.keep(there);
    }
}

/// Where an attempt of a Task reads from, if a forge is configured for its repository.
pub fn source_forge(context: &Context, row: &TaskRow) -> Option<SourceForge> {
    let (forges, repo) = (context.forges(), &row.task.target.repo);
    let forge = forges.for_repository(repo)?;
    let has_credential = forges.reads(&row.namespace, repo).is_some();
    if forge.read.is_some() && !has_credential {
        // For administrators alone: whoever made the Task is told what those are told who name what is not there.
        tracing::info!(
            task_id = %row.id, forge = forge.name, namespace = row.namespace, %repo,
            "read without the forge's credential, for no grant with read: true names this namespace and repository"
        );
    }
    let (name, authorities) = (forge.name.clone(), forge.ca_bundle.clone());
    let trailers = forge.delivery.trailers.clone();
    Some(SourceForge { name, url: forge.git_url(repo), authorities, has_credential, trailers })
}

/// Makes the Secret when the pod of the open attempt has a node, and deletes it when its source is fetched. What fails is told in
/// the log and tried again by the next pass.
pub async fn tend(context: &Context, row: &TaskRow, job: Option<&Job>, pods: &[&Pod]) {
    if let Err(error) = try_to_tend(context, row, job, pods).await {
        tracing::warn!(task_id = %row.id, trace_id = %row.trace_id, %error, "the credential of an attempt");
    }
}

async fn try_to_tend(context: &Context, row: &TaskRow, job: Option<&Job>, pods: &[&Pod]) -> Result<(), Error> {
    let (forges, repo) = (context.forges(), &row.task.target.repo);
    if forges.for_repository(repo).is_none_or(|forge| forge.read.is_none()) {
        return Ok(());
    }
    let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
    let done = context.attempt_secrets.0.get(&row.uid).flatten();
    let has = |pod: &Pod, what: Done| done.as_ref() == Some(&(uid(pod), what));
    let granted = forges.reads(&row.namespace, repo);
    let waits = |pod: &Pod| !source_has_ended(pod) && pod.metadata.deletion_timestamp.is_none();
    if let Some((pod, since)) = pods.iter().find_map(|pod| Some((*pod, scheduled_at(pod).filter(|_| waits(pod))?))) {
        let waited = Duration::try_from(context.clock.now().duration_since(since)).unwrap_or_default();
        if has(pod, Done::Made) || (granted.is_none() && waited < FORGOTTEN) {
            return Ok(());
        }
        // Whose Job is not known yet is known by the next pass.
        let Some(job_uid) = job.and_then(|job| job.metadata.uid.clone()) else { return Ok(()) };
        let data = match granted {
            Some(granted) => data(context, row, granted, waited).await?,
            None => BTreeMap::new(),
        };
        put(context, row, job_uid, data).await?;
        context.attempt_secrets.0.put(&row.uid, Some((uid(pod), Done::Made)));
    } else if let Some(pod) = pods.iter().find(|pod| source_has_ended(pod))
        && !has(pod, Done::Deleted)
        && (granted.is_some() || has(pod, Done::Made))
    {
        let deleted = secrets(context).delete(&credential_name(row.id, row.attempt), &DeleteParams::default()).await;
        Error::unless_gone("delete the credential of an attempt", deleted)?;
        context.attempt_secrets.0.put(&row.uid, Some((uid(pod), Done::Deleted)));
    }
    Ok(())
}

/// What the Secret holds: a login, or why there is none.
async fn data(
    context: &Context,
    row: &TaskRow,
    (forge, credential): (&Forge, &Credential),
    waited: Duration,
) -> Result<BTreeMap<String, String>, Error> {
    let (repo, now) = (&row.task.target.repo, context.clock.now());
    let pairs = match context.credentials.login(forge, credential, repo, Purpose::Read, now).await {
        Ok(Login { username, token }) => vec![(USERNAME, username), (TOKEN, token)],
        Err(error) if error.is_passing && waited < PATIENCE => return Err(Error::Forge(error)),
        Err(error) => {
            tracing::error!(task_id = %row.id, trace_id = %row.trace_id, %error, "a forge can't be read by its credential");
            let name = &forge.name;
            let told = format!(
                "the forge {name} can't be read: its credential can't be used, and the operator's log says why"
            );
            vec![(TROUBLE, told)]
        }
    };
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

async fn put(context: &Context, row: &TaskRow, job_uid: String, data: BTreeMap<String, String>) -> Result<(), Error> {
    let (name, key) = (credential_name(row.id, row.attempt), AttemptKey::new(row.id, row.attempt));
    let owner = OwnerReference {
        api_version: "batch/v1".into(),
        kind: "Job".into(),
        name: key.job_name(),
        uid: job_uid,
        ..OwnerReference::default()
    };
    let mut labels = key.labels();
    labels.insert(names::MANAGED_BY_LABEL.into(), names::MANAGED_BY.into());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect()),
        ..Secret::default()
    };
    match secrets(context).create(&PostParams::default(), &secret).await {
        // Made by a process that has ended since: its token may have, too.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let replaced = secrets(context).replace(&name, &PostParams::default(), &secret).await;
            replaced.map(drop).map_err(Error::api("replace the credential of an attempt"))
        }
        made => made.map(drop).map_err(Error::api("make the credential of an attempt")),
    }
}

fn secrets(context: &Context) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &context.jobs.namespace)
}
