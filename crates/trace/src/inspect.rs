//! Whether a trace is what its manifest says: asked by the operator when an attempt has ended, and by anybody later.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use super::folder::{digest_beneath, finding, read_if_there, strangers};
use jct_domain::id::sha256_hex;
use jct_domain::trace::{Expected, INCOMPLETE_FILE, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, PROVENANCE_FILE};

/// The most findings on files that are listed.
const MAX_FINDINGS: usize = 20;

/// What the worker left.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A manifest, believable and with every digest right.
    Complete {
        /// The manifest.
        manifest: Box<Manifest>,
        /// Its SHA-256.
        sha256: String,
    },
    /// No manifest: the worker ended before it could seal.
    Incomplete,
    /// A manifest that is not to be believed, and why.
    Invalid(String),
}

/// A manifest that could be read.
pub(super) struct ReadManifest {
    pub manifest: Manifest,
    pub sha256: String,
}

/// Holds what is in `directory` against what the operator knows of the attempt.
pub(super) fn inspect(directory: &File, expected: &Expected) -> io::Result<Found> {
    let ReadManifest { manifest, sha256 } = match read_manifest(directory)? {
        None => return Ok(Found::Incomplete),
        Some(Err(why)) => return Ok(Found::Invalid(why)),
        Some(Ok(read)) => read,
    };
    if let Err(problem) = manifest.check(expected) {
        return Ok(Found::Invalid(problem.to_string()));
    }
    // Both are the operator's to write, and what lies there now is replaced.
    let found = file_findings(directory, &manifest, &[INCOMPLETE_FILE, PROVENANCE_FILE])?;
    match found.into_iter().next() {
        Some(why) => Ok(Found::Invalid(why)),
        None => Ok(Found::Complete { manifest: Box::new(manifest), sha256 }),
    }
}

/// The manifest, none if there is no file of that name, or why it is not one. Nothing in it is checked.
pub(super) fn read_manifest(directory: &File) -> io::Result<Option<Result<ReadManifest, String>>> {
    let bytes = match read_if_there(directory, MANIFEST_FILE, MAX_MANIFEST_BYTES)? {
        None => return Ok(None),
        Some(Err(why)) => return Ok(Some(Err(why))),
        Some(Ok(bytes)) => bytes,
    };
    let manifest = serde_json::from_slice(&bytes).map_err(|error| format!("{MANIFEST_FILE} cannot be read: {error}"));
    Ok(Some(manifest.map(|manifest| ReadManifest { manifest, sha256: sha256_hex(&bytes) })))
}

/// What is wrong with the files of a checked manifest, and which files besides `others` it does not name; at most
/// [`MAX_FINDINGS`] sentences.
pub(super) fn file_findings(directory: &File, manifest: &Manifest, others: &[&str]) -> io::Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in &manifest.files {
        match digest_beneath(directory, &file.path, file.size_bytes) {
            Ok(sha256) if sha256 == file.sha256 => {}
            Ok(_) => findings.push(format!("{:?} does not match its digest", file.path)),
            Err(error) => findings.push(finding(error, &file.path)?),
        }
        if findings.len() == MAX_FINDINGS {
            return Ok(findings);
        }
    }
    let own = [MANIFEST_FILE].into_iter().chain(others.iter().copied());
    let known: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).chain(own).collect();
    findings.extend(strangers(directory, &known)?);
    Ok(findings)
}
