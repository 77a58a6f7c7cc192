//! `jct check`: admission's judgement of manifests offline, for pre-commit hooks and GitOps CI.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::manifests::{Manifest, PolicyArgs, manifests, read};
use super::output::{Output, json};
use crate::crd::names;
use crate::domain::Finding;
use crate::domain::shown::{plain, plain_lines};
use crate::policy::Policy;

/// Arguments of `jct check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Manifests of one or many documents; - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,

    /// What the gate goes by.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// What was found in all documents.
#[derive(Debug, Serialize)]
struct Report {
    allowed: bool,
    checked: usize,
    documents: Vec<Document>,
}

/// What was found in one document.
#[derive(Debug, Serialize)]
struct Document {
    file: String,
    /// Counts from 1 within the file.
    document: usize,
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
    /// None for a document that is not ours: it is left alone.
    allowed: Option<bool>,
    violations: Vec<Finding>,
}

/// Checks the files. Exit code 0: all objects would be admitted; 1: some would not; 2: a file cannot be read.
pub fn run(args: &CheckArgs) -> ExitCode {
    let policy = args.policy.policy("");
    let mut documents = Vec::new();
    for file in &args.files {
        let shown = file.display().to_string();
        let read = read(file).map_err(|error| error.to_string());
        match read.and_then(|text| check(&shown, &text, &policy)) {
            Ok(found) => documents.extend(found),
            Err(error) => {
                eprintln!("jct check: {}", plain_lines(&format!("{shown}: {error}")));
                return ExitCode::from(2);
            }
        }
    }
    let report = Report {
        allowed: documents.iter().all(|document| document.allowed != Some(false)),
        checked: documents.iter().filter(|document| document.allowed.is_some()).count(),
        documents,
    };
    let written = match args.output {
        Output::Human => human(&report, &mut io::stdout().lock()),
        Output::Json => json(&mut io::stdout().lock(), &report),
    };
    match (written, report.allowed) {
        (Err(_), _) => ExitCode::from(2),
        (Ok(()), true) => ExitCode::SUCCESS,
        (Ok(()), false) => ExitCode::FAILURE,
    }
}

fn check(file: &str, text: &str, policy: &Policy) -> Result<Vec<Document>, String> {
    Ok(manifests(text)?.iter().map(|manifest| judge(file, manifest, policy)).collect())
}

fn judge(file: &str, manifest: &Manifest, policy: &Policy) -> Document {
    let violations = if manifest.is_ours() { manifest.findings(policy) } else { Vec::new() };
    Document {
        file: file.into(),
        document: manifest.document,
        kind: manifest.kind().into(),
        namespace: manifest.text("/metadata/namespace").map(str::to_owned),
        name: manifest.name().map(str::to_owned),
        allowed: manifest.is_ours().then_some(violations.is_empty()),
        violations,
    }
}

fn human(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for document in &report.documents {
        let place = format!("{}#{}", document.file, document.document);
        let name = document.name.as_deref().unwrap_or("(without a name)");
        let what = plain(&format!("{place}: {} {name}", document.kind));
        match document.allowed {
            None => writeln!(out, "{what}: skipped, not of {}", names::GROUP)?,
            Some(true) => writeln!(out, "{what}: allowed")?,
            Some(false) => {
                writeln!(out, "{what}: refused")?;
                for finding in &document.violations {
                    writeln!(out, "  {}", plain(&finding.to_string()))?;
                }
            }
        }
    }
    let refused = report.documents.iter().filter(|document| document.allowed == Some(false)).count();
    writeln!(out, "{} checked, {refused} refused", report.checked)
}
