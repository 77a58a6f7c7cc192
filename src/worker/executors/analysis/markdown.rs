//! The report for people. Whatever a repository calls its files and people, it stays text in a table's cell.

use std::fmt::Write as _;

use super::report::{History, Report, Totals};
use crate::worker::trace::{escaped, is_troublesome};

/// How many notes are shown; `report.json` has more.
const MAX_TODOS: usize = 50;
/// How many rows other tables have at most.
const MAX_ROWS: usize = 25;

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
    let Totals { files, binary_files, lines, blank_lines, bytes, symlinks, unreadable_files } = &report.totals;
    let list = |names: Vec<String>| if names.is_empty() { "none found".into() } else { names.join(", ") };
    let licences =
        report.licences.iter().map(|licence| format!("{} ({})", text(&licence.spdx_id), code(&licence.path)));
    let rows = [
        ["Files".into(), format!("{}, {}; {} binary", n(*files), size(*bytes), n(*binary_files))],
        ["Lines".into(), format!("{}, of which {} blank", n(*lines), n(*blank_lines))],
        ["Symlinks (not followed)".into(), n(*symlinks)],
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

fn table<const N: usize>(
    out: &mut String,
    title: &str,
    columns: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
) {
    let all = rows.len();
    table_of(out, title, columns, rows, MAX_ROWS, all);
}

/// A table with its title; nothing where there are no rows.
fn table_of<const N: usize>(
    out: &mut String,
    title: &str,
    columns: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
    max_rows: usize,
    all: usize,
) {
    if rows.len() == 0 {
        return;
    }
    let shown = rows.len().min(max_rows);
    let _ = writeln!(out, "\n## {title}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(N));
    for row in rows.take(max_rows) {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    if all > shown {
        let _ = writeln!(out, "\n{} more are not shown.", n((all - shown) as u64));
    }
}

/// Free text: every character that Markdown could take for markup is escaped.
fn text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_ascii_punctuation() && !matches!(c, ',' | '/' | '\'' | '"' | ';' | '%') => out.extend(['\\', c]),
            c if is_troublesome(c) => out.push_str(&escaped(c.encode_utf8(&mut [0; 4]).as_bytes())),
            c => out.push(c),
        }
        out
    })
}

/// A code span: nothing in it is markup but backticks, and in a table the pipe.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let plain = escaped(text.as_bytes()).replace('`', "%60").replace('|', "\\|");
    // A span of blanks alone or with blanks at an end would lose them.
    format!("`{}`", if plain.trim() == plain { plain } else { plain.replace(' ', "%20") })
}

/// A number with thin groups of three digits.
fn n(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in the greatest unit that leaves at least 1 of it.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = "B";
    for next in units {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0")]
    #[case(999, "999")]
    #[case(1000, "1,000")]
    #[case(1_234_567, "1,234,567")]
    fn numbers_are_grouped(#[case] number: u64, #[case] expected: &str) {
        assert_eq!(n(number), expected);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([size(0), size(1023), size(1536), size(4 << 30)], ["0 B", "1023 B", "1.5 KiB", "4.0 GiB"]);
    }

    #[test]
    fn markup_in_names_stays_text() {
        assert_eq!(text("**x** <b> [a](b) | `c`"), "\\*\\*x\\*\\* &lt;b&gt; \\[a\\]\\(b\\) \\| \\`c\\`");
        assert_eq!(code("a|b`c\n</td>"), "`a\\|b%60c%0A</td>`");
    }

    proptest! {
        #[test]
        fn no_cell_leaves_its_row(name in any::<String>()) {
            for cell in [text(&name), code(&name)] {
                prop_assert!(!cell.chars().any(|c| c != '\\' && is_troublesome(c)), "{cell:?}");
                // Every pipe is escaped: an odd number of backslashes stands before it.
                for (at, _) in cell.match_indices('|') {
                    let slashes = cell[..at].chars().rev().take_while(|c| *c == '\\').count();
                    prop_assert!(slashes % 2 == 1, "{cell:?}");
                }
            }
            let span = code(&name);
            prop_assert!(span.matches('`').count() == 2 || span.is_empty());
        }
    }
}
