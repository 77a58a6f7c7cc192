//! The executor `docs`: built in, deterministic, without a language model. It reads the Markdown of a checkout, and reports
//! what is broken or missing in it, with an outline of every document.
//!
//! Links into the repository are followed in git's listing of the commit, never in the file system; links to the web are
//! listed, never fetched.

mod check;
mod document;
mod link;
mod options;
mod places;
mod render;
mod report;
mod slug;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use self::check::{Checked, Documents, check, is_reported};
use self::document::Document;
use self::options::Options;
use self::places::Places;
use self::report::{Finding, Kind, Outline, OutlineHeading, Report, SCHEMA_VERSION};
use super::git::{Git, Seen};
use super::tree::Entry;
use super::{Achieved, Assignment, Executor, step, tree, write_report};
use jct_untrusted::files::read_regular;
use jct_untrusted::names::escaped;
use jct_untrusted::path::normalize;
use jct_untrusted::redact::redact;

/// How long git may take to list the files.
const GIT_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Larger documents are not read, in bytes.
const MAX_DOCUMENT_BYTES: u64 = 2 << 20;
/// More documents are not read.
const MAX_DOCUMENTS: usize = 10_000;
/// More bytes of documents are not read.
const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// After so many links in all, further documents are not read.
const MAX_TOTAL_LINKS: usize = 300_000;
/// So many headings are in the report.
const MAX_OUTLINE_HEADINGS: usize = 20_000;
/// Extensions of Markdown.
const MARKDOWN: [&str; 4] = [".md", ".markdown", ".mdown", ".mkd"];

/// See the module.
#[derive(Debug)]
pub struct Docs;

impl Executor for Docs {
    fn name(&self) -> &'static str {
        "docs"
    }

    fn execute(&self, assignment: &Assignment) -> anyhow::Result<Achieved> {
        let options = Options::read(&assignment.task.inputs)?;
        let report = check_documents(assignment, &options)?;
        write_report(&assignment.artifacts, &report, &render::render(&report))?;
        let summary = summary(&report);
        println!("{summary}");
        if options.fail_on_findings && report.totals.findings > 0 {
            bail!("{summary} (inputs.failOnFindings); see report.md");
        }
        Ok(Achieved { summary, decision_log: report.notes })
    }
}

fn summary(report: &Report) -> String {
    let kinds: Vec<String> =
        report.findings_by_kind.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    format!("looked at {} documents; {} findings{kinds}", report.totals.documents, report.totals.findings)
}

fn check_documents(assignment: &Assignment, options: &Options) -> anyhow::Result<Report> {
    let Assignment { task, source, commit, artifacts: _, tmp: _, git: _ } = assignment;
    let scope = normalize(&task.target.path)?;
    let git = Git { dir: source, time_limit: GIT_TIME_LIMIT };
    step("Reading the documents");
    let (entries, seen) = tree::list(git, commit).context("cannot list the files")?;
    if seen == Seen::Part {
        // Whatever is not in the list would be called broken.
        bail!("the files could not be listed in full: there are too many, or it took too long");
    }
    let read = read_all(source, &entries, &scope);
    step("Checking the links");
    let checked = check(source, &Places::of(&entries), &read.documents, &scope, options);
    let Checked { mut totals, mut by_kind, mut findings, external_links, mut notes } = checked;
    notes.extend(read.notes);
    for finding in read.unread.into_iter().filter(|finding| !options.ignore.contains(&finding.kind)) {
        totals.findings += 1;
        *by_kind.entry(finding.kind).or_default() += 1;
        findings.push(finding);
    }
    findings.sort();
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        objective: task.objective.clone(),
        repo: task.target.repo.to_string(),
        git_ref: task.target.git_ref.clone(),
        commit: commit.clone(),
        outlines: outlines(&read.documents, &scope, &mut notes),
        path: scope,
        totals,
        findings_by_kind: by_kind,
        findings,
        external_links,
        notes,
    })
}

/// What was read, and what was not.
#[derive(Default)]
struct Read {
    documents: Documents,
    unread: Vec<Finding>,
    notes: Vec<String>,
}

/// Reads the documents of the whole repository, for links from elsewhere count too; those in scope first.
fn read_all(root: &Path, entries: &[Entry], scope: &str) -> Read {
    let mut read = Read::default();
    let is_document = |entry: &&Entry| entry.kind == tree::Kind::File && is_markdown(&entry.path);
    let (mut list, others): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().filter(is_document).partition(|entry| is_reported(&entry.path, scope));
    list.extend(others);
    let (mut bytes, mut links) = (0, 0);
    for (at, entry) in list.iter().enumerate() {
        if at >= MAX_DOCUMENTS || bytes > MAX_TOTAL_BYTES || links > MAX_TOTAL_LINKS {
            read.notes.push(format!("Of {} documents {at} were looked at: there is too much in them.", list.len()));
            break;
        }
        let text = read_regular(&root.join(OsStr::from_bytes(&entry.path)), MAX_DOCUMENT_BYTES)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".into()));
        match text {
            Ok(text) => {
                bytes += text.len() as u64;
                // What some editors begin a text with is none of it.
                let document = Document::parse(text.trim_start_matches('\u{feff}'));
                links += document.links.len();
                read.documents.insert(entry.path.clone(), document);
            }
            Err(why) if is_reported(&entry.path, scope) => {
                let message = format!("the document was not read: {why}");
                read.unread.push(Finding { path: escaped(&entry.path), line: None, kind: Kind::NotRead, message });
            }
            Err(_) => {}
        }
    }
    read
}

fn is_markdown(path: &[u8]) -> bool {
    let lower = path.to_ascii_lowercase();
    MARKDOWN.iter().any(|extension| lower.ends_with(extension.as_bytes()))
}

fn outlines(documents: &Documents, scope: &str, notes: &mut Vec<String>) -> Vec<Outline> {
    let plain = |text: &str| escaped(redact(text).as_bytes());
    let mut room = MAX_OUTLINE_HEADINGS;
    let mut outlines = Vec::new();
    for (path, document) in documents.iter().filter(|(path, _)| is_reported(path, scope)) {
        let taken = document.headings.iter().take(room);
        let headings: Vec<OutlineHeading> = taken
            .map(|heading| OutlineHeading {
                level: heading.level,
                text: plain(&heading.text),
                anchor: plain(&heading.anchor),
                line: heading.line,
            })
            .collect();
        room -= headings.len();
        outlines.push(Outline { path: escaped(path), title: document.title.as_deref().map(plain), headings });
    }
    if room == 0 {
        notes.push(format!("Of the headings the first {MAX_OUTLINE_HEADINGS} are in the outlines."));
    }
    outlines
}
