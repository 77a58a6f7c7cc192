//! Whether what a Task left is what was sealed and signed: looked at as the page is made.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use serde_json::Value;

use super::Head;
use crate::console::failure::{Failure, rendered};
use crate::console::pages::Ask;
use crate::console::pages::Shell;
use crate::console::rest::encoded_path;
use crate::console::view::{cut, list, plain, pretty, text};
use crate::domain::id::sha256_hex;
use crate::domain::provenance::Envelope;
use crate::domain::trace::{MANIFEST_FILE, PROVENANCE_FILE};
use crate::signing::{public_keys, verify};

/// How many files are looked at: each is hashed, unless it was lately.
const MOST: usize = 100;
/// The most that is read of a manifest or a statement.
const DOCUMENT: usize = 4 << 20;

const GOOD: &str = "good";
const WARN: &str = "warn";
const BAD: &str = "bad";

fn of(is_good: bool) -> &'static str {
    if is_good { GOOD } else { BAD }
}

/// Something that was looked at.
#[derive(Clone, Debug)]
struct Check {
    class: &'static str,
    name: &'static str,
    detail: String,
}

#[derive(Template)]
#[template(path = "provenance.html")]
struct ProvenancePage {
    shell: Shell,
    head: Head,
    attempt: String,
    checks: Vec<Check>,
    /// Files that are not what was sealed, and why.
    changed: Vec<(String, String)>,
    /// The class of its colour, and what it is.
    verdict: (&'static str, &'static str),
    statement: Option<String>,
    note: String,
}

/// The page.
///
/// # Errors
/// What the API says.
pub async fn page(Path(id): Path<String>, ask: Ask) -> Result<Response, Failure> {
    let head = Head::of(&ask, &id, "provenance").await?;
    let attempt = head.attempt(ask.query("attempt")).cloned();
    let mut page = ProvenancePage {
        shell: head.shell.clone(),
        attempt: attempt.as_ref().map(|attempt| text(attempt, "/attempt")).unwrap_or_default(),
        checks: Vec::new(),
        changed: Vec::new(),
        verdict: (BAD, ""),
        statement: None,
        note: String::new(),
        head,
    };
    match attempt {
        Some(attempt) if !attempt["removed_at"].is_null() => {
            page.note = "Retention removed this trace; its digests stay in the record.".into();
        }
        Some(attempt) if attempt["sealed"] == true => page.look(&ask, &attempt).await?,
        Some(_) => page.note = "This attempt is not sealed: there is nothing to verify yet.".into(),
        None => page.note = page.head.no_traces.clone().unwrap_or_else(|| "There was no attempt yet.".into()),
    }
    rendered(&page)
}

impl ProvenancePage {
    async fn look(&mut self, ask: &Ask, attempt: &Value) -> Result<(), Failure> {
        let announced = attempt["verified"] == true;
        let detail = if announced {
            "the worker itself announced the digest of the manifest as it ended"
        } else {
            "the manifest was found on the volume; the worker did not announce it"
        };
        self.checks.push(Check {
            class: if announced { GOOD } else { WARN },
            name: "Announced",
            detail: detail.into(),
        });
        let manifest = self.manifest(ask, attempt).await?;
        self.signature(ask, attempt, &manifest).await?;
        self.files(ask, attempt).await?;
        self.verdict = match (self.checks.iter().any(|check| check.class == BAD), &self.statement) {
            (true, _) => (BAD, "Not what was sealed and signed"),
            (false, None) => (WARN, "Sealed, not signed"),
            (false, Some(_)) => (GOOD, "Verified"),
        };
        Ok(())
    }

    fn at(&self, path: &str) -> String {
        format!("/tasks/{}/trace/{}/{}", self.head.id, self.attempt, encoded_path(path))
    }

    /// What a file of the trace says; none, and why in a check, where it can't be had.
    async fn read(&mut self, ask: &Ask, path: &str, name: &'static str) -> Result<Option<Vec<u8>>, Failure> {
        match ask.rest.file(&self.at(path), DOCUMENT).await {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(failure) if failure.is_signed_out() => Err(failure),
            Err(failure) => {
                self.checks.push(Check { class: BAD, name, detail: failure.message });
                Ok(None)
            }
        }
    }

    async fn manifest(&mut self, ask: &Ask, attempt: &Value) -> Result<Vec<u8>, Failure> {
        let recorded = text(attempt, "/manifest_sha256");
        let Some(bytes) = self.read(ask, MANIFEST_FILE, "Manifest").await? else { return Ok(Vec::new()) };
        let is_good = sha256_hex(&bytes) == recorded;
        let detail = if is_good {
            format!("its SHA-256 is the one in the record: {recorded}")
        } else {
            "its SHA-256 is not the one in the record".to_owned()
        };
        self.checks.push(Check { class: of(is_good), name: "Manifest", detail });
        Ok(bytes)
    }

    async fn signature(&mut self, ask: &Ask, attempt: &Value, manifest: &[u8]) -> Result<(), Failure> {
        let there = list(&attempt["files"]).iter().any(|file| file["path"] == PROVENANCE_FILE);
        if !there {
            let detail = "there is no signed statement: the digests are in the record alone".into();
            self.checks.push(Check { class: WARN, name: "Signature", detail });
            return Ok(());
        }
        let Some(bytes) = self.read(ask, PROVENANCE_FILE, "Signature").await? else { return Ok(()) };
        let keys = ask.rest.get("/keys").await?.body;
        let keys = public_keys(&serde_json::to_vec(&keys).unwrap_or_default()).unwrap_or_default();
        let envelope: Result<Envelope, _> = serde_json::from_slice(&bytes);
        let verified = envelope.map_err(|_| "it is no envelope".to_owned());
        let verified = verified.and_then(|envelope| verify(&envelope, &keys).map_err(|problem| problem.to_string()));
        let (payload, key) = match verified {
            Ok(verified) => verified,
            Err(why) => {
                self.checks.push(Check { class: BAD, name: "Signature", detail: plain(&why) });
                return Ok(());
            }
        };
        let detail = format!("of the statement holds, by the installation's key {}", cut(&key, 80));
        self.checks.push(Check { class: GOOD, name: "Signature", detail });
        let statement: Value = serde_json::from_slice(&payload).unwrap_or_default();
        self.subjects(&statement, manifest);
        self.statement = Some(pretty(&statement, 60_000));
        Ok(())
    }

    /// That the statement is about this manifest.
    fn subjects(&mut self, statement: &Value, manifest: &[u8]) {
        let digest = sha256_hex(manifest);
        let subjects = list(&statement["subject"]);
        let is_good = subjects.iter().any(|subject| subject["digest"]["sha256"] == *digest);
        let detail = if is_good {
            format!("names {} files by their digests, this manifest among them", subjects.len())
        } else {
            "is about another manifest".to_owned()
        };
        self.checks.push(Check { class: of(is_good), name: "Statement", detail });
    }

    /// That each file is what was sealed: the API hashes it before it hands out a byte.
    async fn files(&mut self, ask: &Ask, attempt: &Value) -> Result<(), Failure> {
        let sealed: Vec<String> = list(&attempt["files"])
            .iter()
            .filter(|file| file["sha256"].is_string() && file["path"] != MANIFEST_FILE)
            .filter_map(|file| file["path"].as_str().map(str::to_owned))
            .collect();
        for path in sealed.iter().take(MOST) {
            match ask.rest.file(&self.at(path), 0).await {
                Ok(_) => {}
                Err(failure) if failure.is_signed_out() => return Err(failure),
                Err(failure) => self.changed.push((plain(path), failure.message)),
            }
        }
        let looked = sealed.len().min(MOST);
        let detail = match (self.changed.len(), sealed.len() > MOST) {
            (0, false) => format!("all {looked} are what was sealed"),
            (0, true) => format!("the first {looked} of {} are what was sealed", sealed.len()),
            (bad, _) => format!("{bad} of {looked} are not what was sealed"),
        };
        self.checks.push(Check { class: of(self.changed.is_empty()), name: "Files", detail });
        Ok(())
    }
}
