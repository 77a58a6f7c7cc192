//! `jct check`: admission's judgement of manifests offline, for pre-commit hooks and GitOps CI.

use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::crd::{names, pinned_id};
use crate::domain::cwom::Kind;
use crate::domain::task::{MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS};
use crate::domain::{Code, Finding};
use crate::policy::{Policy, Subject};

/// Arguments of `jct check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Manifests of one or many documents; - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,

    /// Comma-separated prefixes of owner/name; a Task's repository must start with one. None allow nothing
    #[arg(long, env = "JCT_ALLOWED_REPO_PREFIXES", default_value = "")]
    pub allowed_repo_prefixes: String,

    /// The least time budget of a Task, in seconds
    #[arg(long, env = "JCT_MIN_TIME_BUDGET_SECONDS", default_value_t = MIN_TIME_BUDGET_SECONDS)]
    pub min_time_budget_seconds: u32,

    /// The greatest time budget of a Task, in seconds
    #[arg(long, env = "JCT_MAX_TIME_BUDGET_SECONDS", default_value_t = MAX_TIME_BUDGET_SECONDS)]
    pub max_time_budget_seconds: u32,
}

/// Form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line for each document and finding.
    Human,
    /// One JSON object.
    Json,
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
    let policy = Policy {
        min_time_budget_seconds: args.min_time_budget_seconds,
        max_time_budget_seconds: args.max_time_budget_seconds,
        ..Policy::default()
    }
    .allowing(&args.allowed_repo_prefixes);
    let mut documents = Vec::new();
    for file in &args.files {
        let shown = file.display().to_string();
        let read = read(file).map_err(|error| error.to_string());
        match read.and_then(|text| check(&shown, &text, &policy)) {
            Ok(found) => documents.extend(found),
            Err(error) => {
                eprintln!("jct check: {shown}: {error}");
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
        Output::Json => serde_json::to_writer_pretty(io::stdout().lock(), &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(io::stdout())),
    };
    match (written, report.allowed) {
        (Err(_), _) => ExitCode::from(2),
        (Ok(()), true) => ExitCode::SUCCESS,
        (Ok(()), false) => ExitCode::FAILURE,
    }
}

fn read(file: &PathBuf) -> io::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn check(file: &str, text: &str, policy: &Policy) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let document = Value::deserialize(document).map_err(|error| format!("document {}: {error}", index + 1))?;
        for object in objects(document) {
            documents.push(judge(file, index + 1, &object, policy));
        }
    }
    Ok(documents)
}

/// The objects of a document: those of a List, none of an empty one.
fn objects(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut map) if map.get("kind").is_some_and(|kind| kind == "List") => match map.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        document => vec![document],
    }
}

fn judge(file: &str, document: usize, object: &Value, policy: &Policy) -> Document {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let kind = text("/kind").unwrap_or_default();
    let api_version = text("/apiVersion").unwrap_or_default();
    let ours = api_version.starts_with(&format!("{}/", names::GROUP));
    let violations = if ours { findings(&kind, object, policy) } else { Vec::new() };
    Document {
        file: file.into(),
        document,
        kind,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").or_else(|| text("/metadata/generateName")),
        allowed: ours.then_some(violations.is_empty()),
        violations,
    }
}

fn findings(kind: &str, object: &Value, policy: &Policy) -> Vec<Finding> {
    let Some(subject) = Subject::parse(kind) else {
        let kinds: Vec<&str> = ["Task"].iter().chain(Kind::NAMES).copied().collect();
        return vec![Finding::new(Code::InvalidSpec, "kind", format!("must be one of {}", kinds.join(", ")))];
    };
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let mut findings = Vec::new();
    if object.get("apiVersion") != Some(&Value::from(format!("{}/v1", names::GROUP))) {
        let message = format!("must be {}/v1, the only version there is", names::GROUP);
        findings.push(Finding::new(Code::InvalidSpec, "apiVersion", message));
    }
    let named = |pointer| object.pointer(pointer).and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !named("/metadata/name") && !named("/metadata/generateName") {
        findings.push(Finding::new(Code::InvalidSpec, "metadata.name", "is required"));
    }
    findings.extend(subject.check_new(spec, policy));
    let annotations = object.pointer("/metadata/annotations").cloned().unwrap_or(Value::Null);
    let annotations = serde_json::from_value(annotations).ok().flatten();
    findings.extend(pinned_id(annotations.as_ref()).err());
    findings
}

fn human(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for document in &report.documents {
        let place = format!("{}#{}", document.file, document.document);
        let name = document.name.as_deref().unwrap_or("(without a name)");
        match document.allowed {
            None => writeln!(out, "{place}: {} {name}: skipped, not of {}", document.kind, names::GROUP)?,
            Some(true) => writeln!(out, "{place}: {} {name}: allowed", document.kind)?,
            Some(false) => {
                writeln!(out, "{place}: {} {name}: refused", document.kind)?;
                for finding in &document.violations {
                    writeln!(out, "  {finding}")?;
                }
            }
        }
    }
    let refused = report.documents.iter().filter(|document| document.allowed == Some(false)).count();
    writeln!(out, "{} checked, {refused} refused", report.checked)
}
