//! The report for people. Whatever a repository calls its files and people, it stays text in a table's cell.

use std::fmt::Write as _;

use super::report::{History, Report, Totals};
use crate::markup::{code, n, size, table, table_of, text};

/// How many notes are shown; `report.json` has more.
const MAX_TODOS: usize = 50;

/// The report as Markdown.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, report);
    overview(&mut out, report);
    let languages =
        report.languages.iter().map(|l| [text(&l.language), n(l.files), n(l.lines), n(l.blank_lines), size(l.bytes)]);
    table(&mut out, "Languages", ["Language", "Files", "Lines", "Blank", "Size"], languages);
    let largest =
        report.largest_files.iter().map(|f| [code(&f.path), size(f.bytes), f.lines.map_or_else(|| "binary".into(), n)]);
    table(&mut out, "Largest files", ["File", "Size", "Lines"], largest);
    history(&mut out, &report.history);
    let manifests = report
        .dependency_manifests
        .iter()
        .map(|d| [code(&d.path), text(&d.ecosystem), d.direct_dependencies.map_or_else(|| "not counted".into(), n)]);
    table(&mut out, "Dependencies", ["Manifest", "Ecosystem", "Direct dependencies"], manifests);
    let submodules = report.submodules.iter().map(|path| [code(path)]);
    table(&mut out, "Submodules (not fetched)", ["Path"], submodules);
    let pointers = report.lfs_pointers.iter().map(|path| [code(path)]);
    table(&mut out, "Files of Git LFS (not fetched)", ["Path"], pointers);
    todos(&mut out, report);
    if !report.notes.is_empty() {
        out.push_str("\n## What was left out\n\n");
        for note in &report.notes {
            let _ = writeln!(out, "- {}", text(note));
        }
    }
    out
}

fn head(out: &mut String, report: &Report) {
    let _ = writeln!(out, "# Analysis of {}\n", text(&report.repo));
    for line in report.objective.lines() {
        let _ = writeln!(out, "> {}", text(line));
    }
    let scope = if report.path.is_empty() { "the whole repository".into() } else { code(&report.path) };
    let _ = writeln!(out, "\nCommit {} ({}), {scope}.", code(&report.commit), code(&report.git_ref));
}

fn overview(out: &mut String, report: &Report) {
    let Totals { files, binary_files, lines, blank_lines, bytes, symlinks, submodules, lfs_pointers, unreadable_files } =
        &report.totals;
    let list = |names: Vec<String>| if names.is_empty() { "none found".into() } else { names.join(", ") };
    let licences =
        report.licences.iter().map(|licence| format!("{} ({})", text(&licence.spdx_id), code(&licence.path)));
    let rows = [
        ["Files".into(), format!("{}, {}; {} binary", n(*files), size(*bytes), n(*binary_files))],
        ["Lines".into(), format!("{}, of which {} blank", n(*lines), n(*blank_lines))],
        ["Symlinks (not followed)".into(), n(*symlinks)],
        ["Submodules (not fetched)".into(), n(*submodules)],
        ["Files of Git LFS (pointers, contents not fetched)".into(), n(*lfs_pointers)],
        ["Unreadable files".into(), n(*unreadable_files)],
        ["Readme".into(), list(report.readmes.iter().map(|path| code(path)).collect())],
        ["Licence".into(), list(licences.collect())],
        ["Continuous integration".into(), list(report.ci.iter().map(|ci| text(&ci.system)).collect())],
        ["Test files".into(), n(report.tests.files)],
        ["Notes in comments".into(), n(report.todos.total)],
    ];
    table(out, "Overview", ["What", "Found"], rows.into_iter());
}

fn history(out: &mut String, history: &History) {
    let day = |time: &Option<String>| {
        time.as_deref().map_or("unknown", |time| time.split('T').next().unwrap_or(time)).to_owned()
    };
    let at_least = if history.complete { "" } else { "at least " };
    let _ = writeln!(
        out,
        "\n## History\n\n{at_least}{} commits by {} people, from {} to {}.",
        n(history.commits),
        n(history.contributor_count),
        day(&history.first_commit_at),
        day(&history.last_commit_at),
    );
    let people = history
        .contributors
        .iter()
        .map(|c| [text(&c.name), text(&c.email_domain), n(c.commits), day(&c.first_commit_at), day(&c.last_commit_at)]);
    table(out, "Contributors", ["Name", "E-mail domain", "Commits", "First", "Last"], people);
    let changed =
        history.most_changed_files.iter().map(|f| [code(&f.path), n(f.commits), n(f.lines_added), n(f.lines_deleted)]);
    let title = format!("Most changed files (latest {} commits)", n(history.changes_of_commits));
    table(out, &title, ["File", "Commits", "Lines added", "Lines deleted"], changed);
}

fn todos(out: &mut String, report: &Report) {
    let shown = report.todos.items.iter().take(MAX_TODOS);
    let rows = shown.map(|todo| [code(&format!("{}:{}", todo.path, todo.line)), text(&todo.kind), code(&todo.text)]);
    table_of(out, "Notes in comments", ["Where", "Kind", "Text"], rows, MAX_TODOS, report.todos.total as usize);
}
