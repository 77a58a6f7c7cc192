//! Checking traces offline: files against manifest, manifest against provenance, provenance against keys.

mod statement;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::folder::{empty_folders, read_if_there};
use super::inspect::{ReadManifest, file_findings, read_manifest};
use super::remove::ASIDE;
use jct_domain::id::sha256_hex;
use jct_domain::provenance::{Bound, Statement, subjects};
use jct_domain::trace::{
    Expected, INCOMPLETE_FILE, Incomplete, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, Outcome, PROVENANCE_FILE,
    TASK_FILE,
};
use jct_domain::{Id, TraceId};
use jct_signing::PublicKey;
use statement::{Claim, identify, parameters, provenance, same_subjects};

/// The greatest `task.json` that is read, in bytes.
const MAX_TASK_BYTES: u64 = 64 * 1024 * 1024;
/// As if there were a file among the artifacts.
const ARTIFACTS_PLACE: &str = "artifacts/";
/// How deep attempts are looked for.
const MAX_DEPTH: usize = 16;

/// What became of one attempt's folder.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The folder.
    pub path: PathBuf,
    /// The judgement.
    pub verdict: Verdict,
    /// What it holds.
    pub state: State,
    /// Whether it is signed.
    pub signature: Signed,
    /// The id of the key that signed it, where that was checked.
    pub keyid: Option<String>,
    /// The Task, as the folder tells.
    pub task_id: Option<Id>,
    /// Its trace, as the folder tells.
    pub trace_id: Option<TraceId>,
    /// The attempt, as the folder tells.
    pub attempt: Option<u32>,
    /// The namespace of the Task: by the provenance, else by the manifest.
    pub namespace: Option<String>,
    /// `succeeded` or `failed`: by the provenance, else by the manifest.
    pub outcome: Option<String>,
    /// How many files the manifest binds.
    pub files: usize,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
    /// What is there besides, and binds nothing: in sentences.
    pub notes: Vec<String>,
}

/// The judgement of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong, and one of the keys signed it.
    Good,
    /// Nothing is wrong with the files; nobody asked for the signature.
    Unchecked,
    /// Something is wrong.
    Bad,
    /// It could not be read.
    Unreadable,
    /// It is named as what retention removes, and was not looked at.
    Removed,
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A manifest, which binds every file.
    Complete,
    /// The operator's note that the attempt left nothing to be trusted.
    Incomplete,
    /// Neither.
    Unsealed,
}

/// Whether a folder is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signed {
    /// By one of the keys.
    Valid,
    /// Not so that one of the keys can tell.
    Invalid,
    /// There is a signature; no keys were given.
    NotChecked,
    /// There is no provenance.
    Missing,
}

/// Checks the attempt at `path`, or every attempt below it, and hands each to `report`. Reads, follows no link below
/// `path`, and writes nothing. Without `keys` signatures are not checked.
///
/// # Errors
/// If `path` cannot be read, or there is no attempt in it.
pub fn verify(path: &Path, keys: Option<&[PublicKey]>, report: &mut dyn FnMut(Checked)) -> io::Result<()> {
    let mut any = false;
    walk(path, keys, 0, &mut |checked| {
        any = true;
        report(checked);
    })?;
    if any {
        return Ok(());
    }
    let message = format!("no attempt is here: no folder with {MANIFEST_FILE}, {INCOMPLETE_FILE} or {TASK_FILE}");
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

fn walk(path: &Path, keys: Option<&[PublicKey]>, depth: usize, report: &mut dyn FnMut(Checked)) -> io::Result<()> {
    let mut folders = Vec::new();
    let mut is_attempt = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        is_attempt |= [MANIFEST_FILE, INCOMPLETE_FILE, PROVENANCE_FILE, TASK_FILE].iter().any(|own| name == *own);
        let kind = entry.file_type()?;
        let is_going = name.as_encoded_bytes().starts_with(ASIDE.as_bytes());
        if kind.is_dir() && is_going {
            // Retention removes it, if it was retention that named it so.
            let note = "it was set aside to be removed; nothing in it is checked".into();
            let removed = Checked { verdict: Verdict::Removed, notes: vec![note], ..Checked::new(&entry.path()) };
            report(removed);
        } else if kind.is_dir() || kind.is_symlink() {
            folders.push((entry.path(), kind.is_symlink()));
        }
    }
    if is_attempt {
        let checked = attempt(path, keys);
        // One that retention removed meanwhile is none, and not one that was changed.
        if fs::symlink_metadata(path).is_ok() {
            report(checked);
        }
        return Ok(());
    }
    folders.sort();
    for (folder, is_link) in folders {
        if is_link {
            report(Checked::bad(&folder, "it is a link; what it leads to is not checked".into()));
        } else if depth == MAX_DEPTH {
            report(Checked::bad(&folder, format!("it is more than {MAX_DEPTH} folders deep")));
        } else if let Err(error) = walk(&folder, keys, depth + 1, report)
            && error.kind() != io::ErrorKind::NotFound
        {
            report(Checked::unreadable(&folder, &error));
        }
    }
    Ok(())
}

fn attempt(path: &Path, keys: Option<&[PublicKey]>) -> Checked {
    File::open(path)
        .and_then(|directory| check(path, &directory, keys))
        .unwrap_or_else(|error| Checked::unreadable(path, &error))
}

impl Checked {
    fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            verdict: Verdict::Bad,
            state: State::Unsealed,
            signature: Signed::Missing,
            keyid: None,
            task_id: None,
            trace_id: None,
            attempt: None,
            namespace: None,
            outcome: None,
            files: 0,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn bad(path: &Path, problem: String) -> Self {
        Self { problems: vec![problem], ..Self::new(path) }
    }

    /// What was read, if it is there and sound; what is wrong with it is noted.
    fn sound<T>(&mut self, read: Option<Result<T, String>>) -> Option<T> {
        match read? {
            Ok(sound) => Some(sound),
            Err(why) => {
                self.problems.push(why);
                None
            }
        }
    }

    fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self { verdict: Verdict::Unreadable, ..Self::bad(path, error.to_string()) }
    }
}

fn check(path: &Path, directory: &File, keys: Option<&[PublicKey]>) -> io::Result<Checked> {
    let mut checked = Checked::new(path);
    let statement = provenance(directory, keys, &mut checked)?;
    let task = checked.sound(read_if_there(directory, TASK_FILE, MAX_TASK_BYTES)?);
    let manifest = checked.sound(read_manifest(directory)?);
    let note = read_if_there(directory, INCOMPLETE_FILE, MAX_MANIFEST_BYTES)?;
    let is_incomplete = match &statement {
        Some(statement) => statement.subject.iter().any(|subject| subject.name.as_deref() == Some(INCOMPLETE_FILE)),
        None => note.is_some(),
    };
    match (note, manifest) {
        (Some(Err(why)), _) => checked.problems.push(why),
        (Some(Ok(bytes)), _) if is_incomplete => incomplete(&bytes, statement.as_ref(), &mut checked),
        (_, Some(read)) => complete(directory, &read, task.as_deref(), statement.as_ref(), &mut checked)?,
        (Some(Ok(bytes)), None) => incomplete(&bytes, statement.as_ref(), &mut checked),
        (_, None) if checked.problems.is_empty() => checked.problems.push(format!(
            "there is neither {MANIFEST_FILE} nor {INCOMPLETE_FILE}: the attempt has not ended, or they were removed"
        )),
        (_, None) => {}
    }
    if let Some(statement) = &statement {
        parameters(statement, task.as_deref(), &mut checked);
    }
    position(path, &mut checked);
    checked.verdict = match (checked.problems.is_empty(), keys) {
        (false, _) => Verdict::Bad,
        (true, Some(_)) => Verdict::Good,
        (true, None) => Verdict::Unchecked,
    };
    Ok(checked)
}

fn complete(
    directory: &File,
    read: &ReadManifest,
    task: Option<&[u8]>,
    statement: Option<&Statement>,
    checked: &mut Checked,
) -> io::Result<()> {
    let ReadManifest { manifest, sha256 } = read;
    checked.state = State::Complete;
    checked.files = manifest.files.len();
    let claim = Claim {
        task_id: manifest.task_id,
        trace_id: &manifest.trace_id,
        attempt: manifest.attempt,
        namespace: Some(&manifest.namespace),
    };
    identify(&claim, statement, checked);
    let by_worker = match manifest.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
    };
    checked.outcome.get_or_insert_with(|| by_worker.into());
    let bound = Bound::Manifest { manifest, sha256 };
    if let Some(statement) = statement {
        same_subjects(statement, &subjects(&bound), checked);
    }
    if let Err(problem) = manifest.check(&claimed(manifest, &sha256_hex(task.unwrap_or_default()))) {
        // Paths that lead elsewhere are not opened.
        checked.problems.push(problem.to_string());
        return Ok(());
    }
    checked.problems.extend(file_findings(directory, manifest, &[PROVENANCE_FILE])?);
    // There in any case, before there is an artifact.
    let known = manifest.files.iter().map(|file| file.path.as_str()).chain([ARTIFACTS_PLACE]).collect();
    if checked.problems.is_empty() {
        let folders = empty_folders(directory, &known)?;
        checked.notes.extend(folders.iter().map(|name| format!("{name:?} is a folder without a file of the manifest")));
    }
    Ok(())
}

/// What the manifest itself says, as there is nobody to ask: only its form is checked then, and `task.json`.
fn claimed<'a>(manifest: &'a Manifest, task_sha256: &'a str) -> Expected<'a> {
    Expected {
        task_id: manifest.task_id,
        trace_id: &manifest.trace_id,
        namespace: &manifest.namespace,
        attempt: manifest.attempt,
        task_sha256,
    }
}

fn incomplete(bytes: &[u8], statement: Option<&Statement>, checked: &mut Checked) {
    checked.state = State::Incomplete;
    let note: Incomplete = match serde_json::from_slice(bytes) {
        Ok(note) => note,
        Err(error) => {
            checked.problems.push(format!("{INCOMPLETE_FILE} cannot be read: {error}"));
            return;
        }
    };
    let claim = Claim { task_id: note.task_id, trace_id: &note.trace_id, attempt: note.attempt, namespace: None };
    identify(&claim, statement, checked);
    if let Some(statement) = statement {
        same_subjects(statement, &subjects(&Bound::Incomplete { sha256: &sha256_hex(bytes) }), checked);
    }
}

/// A folder that is named like an attempt is that attempt's, and the folder around its Task's is called like the namespace.
fn position(path: &Path, checked: &mut Checked) {
    let Ok(path) = path.canonicalize() else { return };
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let (attempt, task) = (name(&path), path.parent().and_then(name));
    let attempt = attempt.and_then(|name| name.parse::<u32>().ok());
    let task = task.and_then(|name| name.parse::<Id>().ok());
    let (Some(attempt), Some(task)) = (attempt, task) else { return };
    let elsewhere =
        checked.task_id.is_some_and(|found| found != task) || checked.attempt.is_some_and(|found| found != attempt);
    if elsewhere {
        checked.problems.push(format!("it lies where attempt {attempt} of Task {task} should lie, and is another one"));
    }
    let namespace = path.ancestors().nth(2).and_then(name);
    if let (Some(lies_in), Some(is_of)) = (namespace, &checked.namespace)
        && lies_in != *is_of
    {
        checked.problems.push(format!("it lies in the folder {lies_in:?}, and is a trace of the namespace {is_of:?}"));
    }
}
