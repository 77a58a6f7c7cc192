//! The executor `analysis`: built in, deterministic, without a language model. It reads the checkout and its history, and
//! reports what any newcomer to a repository asks first.
//!
//! Everything in the repository is hostile: files are found by git's listing, opened without following a link, read in a
//! stream, and whatever they or people are called is escaped.

mod dependencies;
mod history;
mod languages;
mod licences;
mod markdown;
mod project;
mod report;
mod scan;
mod todos;
mod xml;

use std::time::Duration;

use anyhow::{Context, anyhow};

use self::report::{History, Report, SCHEMA_VERSION, Totals};
use super::git::{Git, Seen};
use super::{Achieved, Assignment, Executor, tree, write_report};
use jct_untrusted::path::{is_within, normalize};

/// How long each question to git may take.
const GIT_TIME_LIMIT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Analysis;

impl Executor for Analysis {
    fn name(&self) -> &'static str {
        "analysis"
    }

    fn execute(&self, assignment: &Assignment) -> anyhow::Result<Achieved> {
        let report = analyse(assignment)?;
        write_report(&assignment.artifacts, &report, &markdown::render(&report))?;
        let mut summary = format!(
            "analysed {} files with {} lines in {} languages; {} commits by {} people",
            report.totals.files,
            report.totals.lines,
            report.languages.len(),
            report.history.commits,
            report.history.contributor_count,
        );
        let Totals { submodules, lfs_pointers, .. } = report.totals;
        if submodules + lfs_pointers > 0 {
            summary += &format!("; not fetched: {submodules} submodules, {lfs_pointers} files of Git LFS");
        }
        println!("{summary}");
        Ok(summary.into())
    }
}

fn analyse(assignment: &Assignment) -> anyhow::Result<Report> {
    let Assignment { task, source, commit, artifacts: _, tmp: _, git: _ } = assignment;
    let scope = normalize(&task.target.path).map_err(|failure| anyhow!(failure.message))?;
    let git = Git { dir: source, time_limit: GIT_TIME_LIMIT };
    let mut notes = Vec::new();
    let (entries, seen) = tree::list(git, commit).context("cannot list the files")?;
    if seen == Seen::Part {
        notes.push("Not all files were looked at: there are too many.".into());
    }
    let within: Vec<_> = entries.iter().filter(|entry| is_within(&entry.path, &scope)).collect();
    let scan = scan::scan(source, &within);
    let project = project::inspect(source, &entries);
    let history = history::read(git, commit, &scope).unwrap_or_else(|error| {
        notes.push(format!("The history could not be read: {error:#}"));
        History::default()
    });
    if scan.totals.submodules > 0 {
        notes.push(format!("Submodules are not fetched, and their folders are empty: {}.", scan.totals.submodules));
    }
    if scan.totals.lfs_pointers > 0 {
        notes.push(format!(
            "Of files of Git LFS there are pointers, which count in neither lines nor languages: {}.",
            scan.totals.lfs_pointers
        ));
    }
    if scan.todos.total > scan.todos.items.len() as u64 {
        notes.push(format!(
            "Of {} notes in comments the first {} are listed.",
            scan.todos.total,
            scan.todos.items.len()
        ));
    }
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        objective: task.objective.clone(),
        repo: task.target.repo.to_string(),
        git_ref: task.target.git_ref.clone(),
        commit: commit.clone(),
        path: scope,
        totals: scan.totals,
        languages: scan.languages,
        largest_files: scan.largest,
        history,
        licences: project.licences,
        readmes: project.readmes,
        ci: project.ci,
        dependency_manifests: project.dependency_manifests,
        tests: project.tests,
        submodules: project.submodules,
        lfs_pointers: scan.lfs_pointers,
        todos: scan.todos,
        notes,
    })
}
