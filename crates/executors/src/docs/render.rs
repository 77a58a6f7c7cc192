//! The report for people.

use std::fmt::Write as _;

use super::report::{Report, Totals};
use crate::markup::{code, n, table, table_of, text};

/// How many findings are shown; `report.json` has more.
const MAX_FINDINGS: usize = 200;
/// How many documents are shown with their outline.
const MAX_OUTLINES: usize = 100;
/// How many headings of each.
const MAX_HEADINGS: usize = 60;

/// The report as Markdown.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# Documentation of {}\n", text(&report.repo));
    for line in report.objective.lines() {
        let _ = writeln!(out, "> {}", text(line));
    }
    let scope = if report.path.is_empty() { "the whole repository".into() } else { code(&report.path) };
    let _ = writeln!(out, "\nCommit {} ({}), {scope}.", code(&report.commit), code(&report.git_ref));
    let Totals { documents, headings, links, external_links, unchecked_links, findings } = report.totals;
    let rows = [
        ["Documents", &n(documents)],
        ["Headings", &n(headings)],
        ["Links and images", &n(links)],
        ["Links to the web (not fetched)", &n(external_links)],
        ["Links that were not checked", &n(unchecked_links)],
        ["Findings", &n(findings)],
    ];
    table(&mut out, "Overview", ["What", "Found"], rows.map(|row| row.map(str::to_owned)).into_iter());
    let kinds = report.findings_by_kind.iter();
    let kinds = kinds.map(|(kind, count)| [code(kind.as_str()), n(*count), text(kind.explanation())]);
    table(&mut out, "Kinds of findings", ["Kind", "Findings", "Meaning"], kinds);
    let rows = report.findings.iter().take(MAX_FINDINGS).map(|finding| {
        let place = finding.line.map_or_else(|| finding.path.clone(), |line| format!("{}:{line}", finding.path));
        [code(&place), code(finding.kind.as_str()), text(&finding.message)]
    });
    table_of(&mut out, "Findings", ["Where", "Kind", "What"], rows, MAX_FINDINGS, findings as usize);
    outlines(&mut out, report);
    let external = report.external_links.iter().map(|link| [code(&link.url), n(link.count), code(&link.first)]);
    table(&mut out, "Links to the web (not fetched)", ["Address", "Links", "First"], external);
    if !report.notes.is_empty() {
        out.push_str("\n## What was left out\n\n");
        for note in &report.notes {
            let _ = writeln!(out, "- {}", text(note));
        }
    }
    out
}

fn outlines(out: &mut String, report: &Report) {
    if report.outlines.is_empty() {
        return;
    }
    out.push_str("\n## Outline\n");
    for outline in report.outlines.iter().take(MAX_OUTLINES) {
        let _ = writeln!(out, "\n{}\n", code(&outline.path));
        for heading in outline.headings.iter().take(MAX_HEADINGS) {
            let indent = "  ".repeat(usize::from(heading.level.saturating_sub(1)));
            let _ = writeln!(out, "{indent}- {}", text(&heading.text));
        }
        let more = outline.headings.len().saturating_sub(MAX_HEADINGS);
        if more > 0 {
            let _ = writeln!(out, "- {} more headings are not shown", n(more as u64));
        }
    }
    let more = report.outlines.len().saturating_sub(MAX_OUTLINES);
    if more > 0 {
        let _ = writeln!(out, "\n{} more documents are not shown.", n(more as u64));
    }
}
