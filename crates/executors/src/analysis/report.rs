//! What the analysis found, as `report.json` says it. Names of files are escaped: `%XX` for bytes that are not plain text.

use std::collections::BTreeMap;

use serde::Serialize;

/// The version of this form; fields may be added in 1.x.
pub const SCHEMA_VERSION: &str = "1.1";

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: &'static str,
    pub objective: String,
    /// `owner/name`.
    pub repo: String,
    /// As asked for.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The commit that was analysed.
    pub commit: String,
    /// What the file statistics are limited to; empty for all.
    pub path: String,
    pub totals: Totals,
    /// By lines, most first.
    pub languages: Vec<Language>,
    /// By size, largest first.
    pub largest_files: Vec<LargeFile>,
    /// Commits and people.
    pub history: History,
    /// Files that say under which terms the source may be used.
    pub licences: Vec<Licence>,
    /// Readme files at the root.
    pub readmes: Vec<String>,
    /// Continuous integration that is set up.
    pub ci: Vec<Ci>,
    /// Files that declare dependencies.
    pub dependency_manifests: Vec<Dependencies>,
    /// Files that look like tests.
    pub tests: Tests,
    /// Submodules, which were not fetched: the first of them.
    pub submodules: Vec<String>,
    /// Pointers to files of Git LFS, whose contents were not fetched: the first of them.
    pub lfs_pointers: Vec<String>,
    /// Notes that somebody left in comments.
    pub todos: Todos,
    /// What was left out because of a bound.
    pub notes: Vec<String>,
}

/// Sums over the files in scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Regular files.
    pub files: u64,
    /// Of these, files with a NUL byte at their beginning.
    pub binary_files: u64,
    /// Lines of the others.
    pub lines: u64,
    /// Of these, blank ones.
    pub blank_lines: u64,
    pub bytes: u64,
    /// Symlinks, which were not followed.
    pub symlinks: u64,
    /// Submodules, which were not fetched.
    pub submodules: u64,
    /// Of the files, pointers to files of Git LFS; not among the lines.
    pub lfs_pointers: u64,
    /// Files that are in the commit but could not be read.
    pub unreadable_files: u64,
}

/// The files of one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Language {
    pub language: String,
    pub files: u64,
    /// Lines, blank ones too.
    pub lines: u64,
    /// Of these, blank ones.
    pub blank_lines: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LargeFile {
    pub path: String,
    pub bytes: u64,
    /// Its lines; none if it is binary.
    pub lines: Option<u64>,
}

/// Commits and people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// Commits that lead to the one analysed, itself too.
    pub commits: u64,
    /// Whether all were counted.
    pub complete: bool,
    /// Time of the earliest commit.
    pub first_commit_at: Option<String>,
    /// Time of the latest commit.
    pub last_commit_at: Option<String>,
    pub contributor_count: u64,
    /// By commits, most first.
    pub contributors: Vec<Contributor>,
    /// How many of the latest commits were looked at for changed files.
    pub changes_of_commits: u64,
    /// By commits, most first.
    pub most_changed_files: Vec<ChangedFile>,
}

/// Somebody who wrote commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contributor {
    /// As `.mailmap` has it.
    pub name: String,
    /// The part of the e-mail address behind the `@`.
    pub email_domain: String,
    pub commits: u64,
    /// Time of their first.
    pub first_commit_at: Option<String>,
    /// Time of their last.
    pub last_commit_at: Option<String>,
}

/// A file that changes often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Where; it may not exist any more.
    pub path: String,
    /// Commits that changed it.
    pub commits: u64,
    /// Lines added by them.
    pub lines_added: u64,
    /// Lines deleted by them.
    pub lines_deleted: u64,
}

/// A licence file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Licence {
    pub path: String,
    /// SPDX id, or `unrecognised`.
    pub spdx_id: String,
}

/// A system of continuous integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ci {
    pub system: String,
    pub files: Vec<String>,
}

/// A file that declares dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependencies {
    pub path: String,
    pub ecosystem: String,
    /// How many it declares directly; none if that is not easily told.
    pub direct_dependencies: Option<u64>,
}

/// Files that look like tests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tests {
    pub files: u64,
    /// The first of them.
    pub examples: Vec<String>,
}

/// Notes in comments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Todos {
    pub total: u64,
    /// By their first word.
    pub by_kind: BTreeMap<String, u64>,
    /// The first of them, by path and line.
    pub items: Vec<Todo>,
}

/// One note.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Todo {
    pub path: String,
    /// From 1.
    pub line: u64,
    /// `TODO`, `FIXME`, `XXX` or `HACK`.
    pub kind: String,
    pub text: String,
}
