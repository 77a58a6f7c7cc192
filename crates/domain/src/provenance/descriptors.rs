//! The files, sources and images that a statement names.

use serde_json::{Map, json};

use super::super::trace::{
    ARTIFACTS_DIR, EVENTS_FILE, FileEntry, INCOMPLETE_FILE, LOG_FILE, MANIFEST_FILE, MODEL_FILE, STDERR_FILE,
    STDOUT_FILE,
};
use super::super::url::percent_encoded;
use super::{Bound, DigestSet, Facts, OUTCOME_URI, ResourceDescriptor};

/// The container that an executor runs in.
const EXECUTOR: &str = "executor";

/// The subjects of a statement about these files.
pub fn subjects(bound: &Bound) -> Vec<ResourceDescriptor> {
    match bound {
        Bound::Manifest { manifest, sha256 } => {
            let outputs = manifest.files.iter().filter(|file| is_output(file)).map(file_descriptor);
            std::iter::once(file(MANIFEST_FILE, sha256)).chain(outputs).collect()
        }
        Bound::Incomplete { sha256 } => vec![file(INCOMPLETE_FILE, sha256)],
    }
}

fn is_output(file: &FileEntry) -> bool {
    file.path.strip_prefix(ARTIFACTS_DIR).is_some_and(|rest| rest.starts_with('/'))
}

fn file(name: &str, sha256: &str) -> ResourceDescriptor {
    ResourceDescriptor {
        name: Some(name.into()),
        digest: sha256_of(sha256),
        media_type: Some("application/json".into()),
        ..ResourceDescriptor::default()
    }
}

fn file_descriptor(file: &FileEntry) -> ResourceDescriptor {
    ResourceDescriptor {
        name: Some(file.path.clone()),
        digest: sha256_of(&file.sha256),
        media_type: Some(file.media_type.clone()),
        ..ResourceDescriptor::default()
    }
}

fn sha256_of(digits: &str) -> DigestSet {
    DigestSet::from([("sha256".to_owned(), digits.to_owned())])
}

pub(super) fn dependencies(facts: &Facts) -> Vec<ResourceDescriptor> {
    let source = match &facts.bound {
        Bound::Manifest { manifest, .. } => manifest.source.as_ref(),
        Bound::Incomplete { .. } => None,
    };
    let repository = match source {
        Some(source) => Some((source.url.as_str(), source.git_ref.as_str(), source.commit.as_str())),
        None => facts.commit.map(|commit| (facts.source_url, facts.git_ref, commit)),
    };
    let repository = repository.map(|(url, git_ref, commit)| ResourceDescriptor {
        uri: Some(format!("git+{url}@{}", escaped(git_ref))),
        digest: DigestSet::from([("gitCommit".to_owned(), commit.to_owned())]),
        ..ResourceDescriptor::default()
    });
    let images = facts.images.iter().map(|image| ResourceDescriptor {
        name: Some(image.container.clone()),
        uri: Some(image.image.clone()),
        digest: image_sha256(&image.image_id).map(sha256_of).unwrap_or_default(),
        ..ResourceDescriptor::default()
    });
    // Where the pod tells nothing any more, the manifest knows at least what was configured.
    let configured = match &facts.bound {
        Bound::Manifest { manifest, .. } if facts.images.is_empty() => manifest.image.as_ref(),
        _ => None,
    };
    let configured = configured.map(|image| ResourceDescriptor {
        name: Some(EXECUTOR.into()),
        uri: Some(image.clone()),
        ..ResourceDescriptor::default()
    });
    repository.into_iter().chain(images).chain(configured).collect()
}

/// The digits of an image id such as `registry/name@sha256:…`, `docker-pullable://…` or `sha256:…`.
pub(super) fn image_sha256(image_id: &str) -> Option<&str> {
    let (_, digits) = image_id.rsplit_once("sha256:")?;
    let is_digest = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_digest.then_some(digits)
}

/// A git ref within a URI: what would end it or be taken for something else is percent-encoded.
fn escaped(git_ref: &str) -> String {
    percent_encoded(git_ref.as_bytes(), b"-._/+=,!")
}

pub(super) fn byproducts(facts: &Facts) -> Vec<ResourceDescriptor> {
    const LOGS: [&str; 4] = [EVENTS_FILE, LOG_FILE, STDOUT_FILE, STDERR_FILE];
    let files = match &facts.bound {
        Bound::Manifest { manifest, .. } => manifest.files.as_slice(),
        Bound::Incomplete { .. } => &[],
    };
    let logs = LOGS.iter().filter_map(|name| files.iter().find(|file| file.path == *name)).map(file_descriptor);
    let mut annotations = Map::new();
    annotations.insert("outcome".into(), json!(facts.outcome));
    if let Some((reason, message)) = facts.failure {
        annotations.insert("reason".into(), json!(reason));
        annotations.insert("message".into(), json!(message));
    }
    if let Some(exit_code) = facts.exit_code {
        annotations.insert("exitCode".into(), json!(exit_code));
    }
    if let Some(announced) = facts.announced {
        annotations.insert("manifestAnnounced".into(), json!(announced));
    }
    let outcome = ResourceDescriptor {
        name: Some("outcome".into()),
        uri: Some(OUTCOME_URI.into()),
        annotations,
        ..ResourceDescriptor::default()
    };
    logs.chain(models(facts)).chain([outcome]).collect()
}

/// What models were asked, with the sums of that: by the broker's account, which the recorder put in the place of the executor's.
fn models(facts: &Facts) -> Option<ResourceDescriptor> {
    let Bound::Manifest { manifest, .. } = &facts.bound else { return None };
    let file = manifest.files.iter().find(|file| file.path == MODEL_FILE)?;
    let cost = manifest.result.as_ref().and_then(|result| result.cost).unwrap_or_default();
    let usd = cost.usd.map(|usd| ("usd".to_owned(), json!(usd)));
    let tokens = cost.tokens.map(|tokens| ("tokens".to_owned(), json!(tokens)));
    Some(ResourceDescriptor { annotations: usd.into_iter().chain(tokens).collect(), ..file_descriptor(file) })
}
