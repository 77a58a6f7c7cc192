//! `jct check`: admission's judgement of manifests offline, for pre-commit hooks and GitOps CI.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::manifests::{PolicyArgs, executors_of, files, findings, forges_of, is_ours, models_of, objects_in, read};
use super::output::{Output, json};
use crate::crd::names;
use crate::domain::applied::applied;
use crate::domain::executor::Executors;
use crate::domain::forge::Forges;
use crate::domain::model::Models;
use crate::domain::shown::{plain, plain_lines};
use crate::domain::{Finding, Naming};
use crate::manifest::Manifest;
use crate::policy::{Configured, Policy, advice, advice_without_configuration, configured_findings};

/// Arguments of `jct check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Manifests: a file of one or many documents, a folder, a pattern, or - for standard input; can be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required_unless_present = "more")]
    pub files: Vec<PathBuf>,

    /// The same, as a shell or a pre-commit hook gives them
    #[arg(value_name = "FILE")]
    pub more: Vec<PathBuf>,

    /// Folders with all that is below them
    #[arg(short = 'R', long)]
    pub recursive: bool,

    /// The configuration of executors, as the chart's value `executors`: whoever names another one, or one that does something
    /// else, is warned. Without, nothing is said of names
    #[arg(long, env = "JCT_EXECUTORS_FILE", value_name = "FILE")]
    pub executors: Option<PathBuf>,

    /// The configuration of models, as the chart's value `models`, to tell which Tasks ask models that they are not granted. Needs
    /// that of executors, which says who asks which
    #[arg(long, env = "JCT_MODELS_FILE", value_name = "FILE", requires = "executors")]
    pub models: Option<PathBuf>,

    /// The configuration of forges, as the chart's value `forges`, to tell which Tasks deliver where they may not
    #[arg(long, env = "JCT_FORGES_FILE", value_name = "FILE")]
    pub forges: Option<PathBuf>,

    /// The namespace of what names none, for executors that are for some namespaces only
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub namespace: String,

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
    /// What it will fail of though it is admitted.
    warnings: Vec<String>,
}

/// What documents are held against.
struct Judge<'a> {
    policy: Policy,
    executors: Option<Executors>,
    models: Option<Models>,
    forges: Option<Forges>,
    /// Of what names none.
    namespace: &'a str,
}

/// Checks the files. Exit code 0: all objects would be admitted; 1: some would not; 2: something cannot be read. What can be read
/// is told in any case.
pub fn run(args: &CheckArgs) -> ExitCode {
    let judge = match Judge::of(args) {
        Ok(judge) => judge,
        Err(error) => {
            eprintln!("jct check: {}", plain_lines(&format!("{error:#}")));
            return ExitCode::from(2);
        }
    };
    let (mut documents, mut is_all) = (Vec::new(), true);
    for named in args.files.iter().chain(&args.more) {
        let mut complain = |place: &Path, error: String| {
            is_all = false;
            eprintln!("jct check: {}", plain_lines(&format!("{}: {error}", place.display())));
        };
        let files = files(named, args.recursive).unwrap_or_else(|error| {
            complain(named, format!("{error:#}"));
            Vec::new()
        });
        for file in files {
            let shown = file.display().to_string();
            match read(&file) {
                Ok(bytes) => {
                    let (objects, unreadable) = objects_in(&bytes);
                    documents.extend(objects.iter().map(|manifest| judge.document(&shown, manifest)));
                    unreadable.into_iter().for_each(|error| complain(&file, error.to_string()));
                }
                Err(error) => complain(&file, error.to_string()),
            }
        }
    }
    let report = Report {
        allowed: is_all && documents.iter().all(|document| document.allowed != Some(false)),
        checked: documents.iter().filter(|document| document.allowed.is_some()).count(),
        documents,
    };
    let written = match args.output {
        Output::Human => human(&report, &mut io::stdout().lock()),
        Output::Json => json(&mut io::stdout().lock(), &report),
    };
    // Who reads it, such as `| head`, may have enough: the verdict is the same.
    let written = written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
    match (written, report.allowed) {
        (Ok(()), true) => ExitCode::SUCCESS,
        (Ok(()), false) if is_all => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    }
}

impl<'a> Judge<'a> {
    fn of(args: &'a CheckArgs) -> anyhow::Result<Self> {
        Ok(Self {
            policy: args.policy.policy(""),
            executors: args.executors.as_deref().map(executors_of).transpose()?,
            models: args.models.as_deref().map(models_of).transpose()?,
            forges: args.forges.as_deref().map(forges_of).transpose()?,
            namespace: &args.namespace,
        })
    }

    fn document(&self, file: &str, manifest: &Manifest) -> Document {
        let is_ours = is_ours(manifest);
        let mut violations = if is_ours { findings(manifest, &self.policy) } else { Vec::new() };
        if is_ours && manifest.kind() == "Task" {
            let namespace = manifest.text("/metadata/namespace").unwrap_or(self.namespace);
            let configured =
                Configured { models: self.executors.as_ref().zip(self.models.as_ref()), forges: self.forges.as_ref() };
            violations.extend(configured_findings(manifest.spec(), Naming::CustomResource, namespace, configured));
        }
        let is_allowed = is_ours && violations.is_empty();
        Document {
            file: file.into(),
            document: manifest.document,
            kind: manifest.kind().into(),
            namespace: manifest.text("/metadata/namespace").map(str::to_owned),
            name: manifest.name().map(str::to_owned),
            allowed: is_ours.then_some(is_allowed),
            violations,
            warnings: if is_allowed { self.warnings(manifest) } else { Vec::new() },
        }
    }

    /// What the webhook warns of, as far as it can be known here.
    fn warnings(&self, manifest: &Manifest) -> Vec<String> {
        let of_size = applied(manifest.object.to_string().len());
        let of_work = match &self.executors {
            _ if manifest.kind() != "Task" => Vec::new(),
            Some(executors) => {
                let namespace = manifest.text("/metadata/namespace").unwrap_or(self.namespace);
                advice(manifest.spec(), Naming::CustomResource, namespace, executors)
            }
            None => advice_without_configuration(manifest.spec(), Naming::CustomResource)
                .into_iter()
                .map(|warning| format!("{warning}, unless another executor is configured (--executors FILE)"))
                .collect(),
        };
        of_size.into_iter().chain(of_work).collect()
    }
}

fn human(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for document in &report.documents {
        let place = format!("{}#{}", document.file, document.document);
        let name = document.name.as_deref().unwrap_or("(without a name)");
        let what = plain(&format!("{place}: {} {name}", document.kind));
        match document.allowed {
            None if document.kind.is_empty() => writeln!(out, "{place}: skipped, no Kubernetes object")?,
            None => writeln!(out, "{what}: skipped, not of {}", names::GROUP)?,
            Some(true) => {
                writeln!(out, "{what}: allowed")?;
                for warning in &document.warnings {
                    writeln!(out, "  warning: {}", plain(warning))?;
                }
            }
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
