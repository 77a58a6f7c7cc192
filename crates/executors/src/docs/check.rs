//! Holds every document against the others and against the files of the commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::document::{Document, Link};
use super::link::{Target, folder, resolve};
use super::options::Options;
use super::places::{Found, Places, is_foreign, is_hidden, name};
use super::report::{ExternalLink, Finding, Kind, Totals};
use jct_untrusted::files::open_regular;
use jct_untrusted::names::escaped;
use jct_untrusted::names::shorten;
use jct_untrusted::path::is_within;
use jct_untrusted::redact::redact;

/// So many findings are listed; the others are counted.
const MAX_FINDINGS: usize = 2000;
/// So many addresses are listed.
const MAX_EXTERNAL: usize = 2000;
/// How much of a destination is shown, in characters.
const MAX_SHOWN_CHARS: usize = 200;
/// How much of a file is read to count its lines, in bytes.
const MAX_COUNTED_BYTES: u64 = 64 << 20;
/// Documents by these names stand for themselves.
const KNOWN_BY_NAME: [&str; 15] = [
    "readme",
    "changelog",
    "changes",
    "history",
    "license",
    "licence",
    "contributing",
    "code_of_conduct",
    "security",
    "support",
    "governance",
    "maintainers",
    "authors",
    "agents",
    "claude",
];
/// Files that say in which order a site shows its documents: links are not the only way to them.
const SITES: [&str; 9] = [
    "mkdocs.yml",
    "mkdocs.yaml",
    "docusaurus.config.js",
    "docusaurus.config.ts",
    "_config.yml",
    "antora.yml",
    "conf.py",
    "sidebars.js",
    "docfx.json",
];

/// What was found.
#[derive(Debug, Default)]
pub struct Checked {
    pub totals: Totals,
    /// How many of each kind.
    pub by_kind: BTreeMap<Kind, u64>,
    /// The first of them, by document and line.
    pub findings: Vec<Finding>,
    /// By address.
    pub external_links: Vec<ExternalLink>,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
}

/// Documents by their paths.
pub type Documents = BTreeMap<Vec<u8>, Document>;

/// Checks the `documents` that are in `scope`, and the folders there, whose files are below `root`.
pub fn check(root: &Path, places: &Places, documents: &Documents, scope: &str, options: &Options) -> Checked {
    let mut checker = Checker {
        root,
        places,
        documents,
        options,
        checked: Checked::default(),
        external: BTreeMap::new(),
        lines: HashMap::new(),
        linked: BTreeSet::new(),
    };
    for (path, document) in documents {
        checker.document(path, document, is_reported(path, scope));
    }
    checker.titles(scope);
    checker.orphans(scope);
    for (folder, why) in places.without_readme() {
        if is_within(folder, scope) {
            checker.find(folder, None, Kind::MissingReadme, why.into());
        }
    }
    checker.finish()
}

/// Whether findings in the document at `path` are told.
pub fn is_reported(path: &[u8], scope: &str) -> bool {
    is_within(path, scope) && !is_foreign(path)
}

struct Checker<'a> {
    root: &'a Path,
    places: &'a Places<'a>,
    documents: &'a Documents,
    options: &'a Options,
    checked: Checked,
    external: BTreeMap<String, (u64, String)>,
    /// Lines of files; none if they can't be counted.
    lines: HashMap<Vec<u8>, Option<u64>>,
    /// Documents that another one leads to.
    linked: BTreeSet<Vec<u8>>,
}

impl Checker<'_> {
    fn find(&mut self, path: &[u8], line: Option<u64>, kind: Kind, message: String) {
        if self.options.ignore.contains(&kind) {
            return;
        }
        self.checked.totals.findings += 1;
        *self.checked.by_kind.entry(kind).or_default() += 1;
        let path = if path.is_empty() { ".".into() } else { escaped(path) };
        self.checked.findings.push(Finding { path, line, kind, message });
        if self.checked.findings.len() > 2 * MAX_FINDINGS {
            self.keep_first();
        }
    }

    fn keep_first(&mut self) {
        self.checked.findings.sort();
        self.checked.findings.truncate(MAX_FINDINGS);
    }

    /// Links count for orphans wherever they are; all else only where it is reported.
    fn document(&mut self, path: &[u8], document: &Document, reported: bool) {
        for link in &document.links {
            self.link(path, link, reported);
        }
        if !reported {
            return;
        }
        let totals = &mut self.checked.totals;
        totals.documents += 1;
        totals.headings += document.headings.len() as u64;
        if document.in_part {
            self.checked.notes.push(format!("{}: not all of its links and headings were looked at.", escaped(path)));
        }
        for (label, line) in &document.undefined {
            let message = format!("the label [{}] is defined nowhere", shown(label));
            self.find(path, Some(*line), Kind::UndefinedReference, message);
        }
        if document.title.is_none() && !is_hidden(path) {
            self.find(
                path,
                None,
                Kind::MissingTitle,
                "the document has no heading of the first level, nor any that it begins with".into(),
            );
        }
        let pairs = document.headings.iter().zip(document.headings.iter().skip(1));
        for (before, heading) in pairs.filter(|(before, heading)| heading.level > before.level + 1) {
            let message = format!("a heading of level {} follows one of level {}", heading.level, before.level);
            self.find(path, Some(heading.line), Kind::SkippedLevel, message);
        }
    }

    fn link(&mut self, document: &[u8], link: &Link, reported: bool) {
        let Link { destination, line, blind_image } = link;
        let target = resolve(document, destination);
        if let Target::Inside { path, .. } = &target {
            self.note_linked(document, path);
        }
        if !reported {
            return;
        }
        self.checked.totals.links += 1;
        if *blind_image {
            let message = format!("the image {} has no text", shown(destination));
            self.find(document, Some(*line), Kind::ImageWithoutText, message);
        }
        match target {
            Target::External(url) => {
                self.checked.totals.external_links += 1;
                let url = shown(&url);
                let first = || (0, format!("{}:{line}", escaped(document)));
                if self.external.len() < MAX_EXTERNAL || self.external.contains_key(&url) {
                    self.external.entry(url).or_insert_with(first).0 += 1;
                }
            }
            Target::Other => self.checked.totals.unchecked_links += 1,
            Target::Empty => self.find(document, Some(*line), Kind::EmptyLink, "the link leads nowhere".into()),
            Target::Outside => {
                let message = format!("{} leads above the root of the repository", shown(destination));
                self.find(document, Some(*line), Kind::LeavesRepository, message);
            }
            Target::Inside { path, literal, fragment } => {
                let found = match self.places.find(&path) {
                    Found::Nothing => self.places.find(&literal),
                    found => found,
                };
                if let Some((kind, message)) = self.problem(found, &path, destination, fragment.as_deref()) {
                    self.find(document, Some(*line), kind, message);
                }
            }
        }
    }

    /// Who leads to a folder leads to its README; nobody leads to himself.
    fn note_linked(&mut self, from: &[u8], path: &[u8]) {
        let target = match self.places.find(path) {
            Found::File(path) => Some(path),
            Found::Folder(path) => self.places.readme(path),
            Found::Beyond | Found::Nothing => None,
        };
        if let Some(target) = target.filter(|target| *target != from) {
            self.linked.insert(target.to_vec());
        }
    }

    fn problem(
        &mut self,
        found: Found,
        path: &[u8],
        destination: &str,
        fragment: Option<&str>,
    ) -> Option<(Kind, String)> {
        let file = match found {
            Found::Beyond => {
                self.checked.totals.unchecked_links += 1;
                return None;
            }
            Found::Nothing => {
                let alike = self.places.alike(path).map(|alike| format!("; did you mean {:?}?", escaped(alike)));
                let message = format!("{} is not there{}", shown(destination), alike.unwrap_or_default());
                return Some((Kind::BrokenLink, message));
            }
            Found::Folder(folder) => self.places.readme(folder)?,
            Found::File(file) => file,
        };
        let fragment = fragment.filter(|fragment| !["", "top", "readme"].contains(fragment))?;
        if let Some((first, last)) = lines(fragment)
            && !self.has_anchor(file, fragment)
        {
            let count = self.count_lines(file)?;
            let message = format!("{} names line {}; the file has {count}", shown(destination), first.max(last));
            return (first.max(last) > count || first.min(last) == 0).then_some((Kind::LineOutOfRange, message));
        }
        let document = self.documents.get(file)?;
        if document.in_part || self.has_anchor(file, fragment) {
            return None;
        }
        let lower = fragment.to_lowercase();
        let alike = document.anchors.contains(&lower).then(|| format!("; did you mean #{lower}?"));
        let message = format!("{} has no anchor #{}{}", escaped(file), shown(fragment), alike.unwrap_or_default());
        Some((Kind::BrokenAnchor, message))
    }

    fn has_anchor(&self, file: &[u8], fragment: &str) -> bool {
        let plain = fragment.strip_prefix("user-content-").unwrap_or(fragment);
        let anchors = self.documents.get(file).map(|document| &document.anchors);
        anchors.is_some_and(|anchors| anchors.contains(fragment) || anchors.contains(plain))
    }

    fn count_lines(&mut self, path: &[u8]) -> Option<u64> {
        let root = self.root;
        *self.lines.entry(path.into()).or_insert_with(|| count_lines(&root.join(OsStr::from_bytes(path))))
    }

    fn titles(&mut self, scope: &str) {
        let mut by_title: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
        for (path, document) in self.documents.iter().filter(|(path, _)| is_reported(path, scope) && !is_hidden(path)) {
            if let Some(title) = &document.title {
                by_title.entry(title.trim().to_lowercase()).or_default().push(path);
            }
        }
        for paths in by_title.into_values() {
            let Some((first, others)) = paths.split_first() else { continue };
            for path in others {
                let message = format!("{} has the same title", escaped(first));
                self.find(path, None, Kind::DuplicateTitle, message);
            }
        }
    }

    fn orphans(&mut self, scope: &str) {
        let is_site = |path: &&[u8]| SITES.iter().any(|site| site.as_bytes() == name(path));
        if let Some(site) = self.places.files().filter(is_site).min() {
            let note = format!("Orphaned documents were not looked for: {} may list them.", escaped(site));
            self.checked.notes.push(note);
            return;
        }
        for path in self.documents.keys().filter(|path| is_reported(path, scope)) {
            if !self.linked.contains(path) && !is_known_by_name(path) && !is_hidden(path) {
                let message = "no other document leads to this one".into();
                self.find(path, None, Kind::OrphanedDocument, message);
            }
        }
    }

    fn finish(mut self) -> Checked {
        self.keep_first();
        if self.checked.totals.findings > MAX_FINDINGS as u64 {
            let total = self.checked.totals.findings;
            self.checked.notes.push(format!("Of {total} findings the first {MAX_FINDINGS} are listed."));
        }
        if self.external.len() >= MAX_EXTERNAL {
            self.checked.notes.push(format!("Of the addresses on the web the first {MAX_EXTERNAL} are listed."));
        }
        let external = self.external.into_iter().map(|(url, (count, first))| ExternalLink { url, count, first });
        Checked { external_links: external.collect(), ..self.checked }
    }
}

/// The lines that an anchor such as `L10` or `L10-L20` names.
fn lines(fragment: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.strip_prefix('L')?.split('C').next()?.parse::<u64>().ok();
    match fragment.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(fragment).map(|line| (line, line)),
    }
}

/// The lines of a file; none if it can't be read, or not in full.
fn count_lines(path: &Path) -> Option<u64> {
    let mut file = open_regular(path).ok()?.take(MAX_COUNTED_BYTES + 1);
    let mut buffer = vec![0; 64 * 1024];
    let (mut lines, mut bytes, mut in_line) = (0, 0, false);
    loop {
        let read = file.read(&mut buffer).ok()?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        bytes += part.len() as u64;
        lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        in_line = part.last() != Some(&b'\n');
    }
    (bytes <= MAX_COUNTED_BYTES).then_some(lines + u64::from(in_line))
}

fn is_known_by_name(path: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name(path)).to_lowercase().replace('-', "_");
    let stem = name.split('.').next().unwrap_or(&name);
    KNOWN_BY_NAME.contains(&stem) || (folder(path).is_empty() && stem == "index")
}

/// A text of a document's, for a message: short, plain, without secrets.
fn shown(text: &str) -> String {
    escaped(shorten(&redact(text), MAX_SHOWN_CHARS).as_bytes())
}
