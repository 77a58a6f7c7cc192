//! In words why a patch does not apply: git says where, the file says why. Pure.

use std::collections::BTreeMap;

use super::sections::{Hunk, Sections};
use jct_untrusted::names::shorten;

/// Of a line that is without_prefix more is not, in characters.
const MAX_LINE_CHARS: usize = 80;
/// How to give a patch whose line ends are to stay.
const KEEP_CR: &str = "a YAML block such as `patch: |` makes every line end a line feed: give the patch as JSON, or as a \
                       double-quoted text with \\r\\n";

/// The files that git's complaint is about.
pub fn files(complaint: &str) -> Vec<&str> {
    complaint.lines().filter_map(|line| Some(failed_place(without_prefix(line))?.0)).collect()
}

/// Why the patch does not apply, by what git said and what those [`files`] hold: each complaint, with the hunk that it is
/// about.
pub fn explain(sections: &Sections, complaint: &str, contents: &BTreeMap<String, Vec<u8>>) -> String {
    let mut explained = Vec::new();
    let mut failed = Vec::new();
    for line in complaint.lines().map(without_prefix).filter(|line| !line.is_empty() && !line.starts_with("hint:")) {
        let place = failed_place(line);
        let hunk = place.and_then(|(file, start)| {
            let hunks = &sections.of(file)?.hunks;
            hunks.iter().enumerate().find(|(_, hunk)| hunk.old_start == start)
        });
        match (place, hunk) {
            (Some((file, _)), Some((index, hunk))) => {
                failed.push(file);
                let why = contents.get(file).map(|content| why(hunk, content)).unwrap_or_default();
                explained.push(format!("{file}, hunk {} ({}){why}", index + 1, hunk.header));
            }
            // Git says it of every file once more.
            _ if line.strip_suffix(": patch does not apply").is_some_and(|file| failed.contains(&file)) => {}
            _ => explained.push(format!("{line}{}", hint(sections, line))),
        }
    }
    format!("inputs.patch does not apply: {}", explained.join("; "))
}

fn without_prefix(line: &str) -> &str {
    line.trim().trim_start_matches("error: ").trim_start_matches("fatal: ")
}

/// File and line of `patch failed: FILE:LINE`.
fn failed_place(line: &str) -> Option<(&str, u64)> {
    let (file, start) = line.strip_prefix("patch failed: ")?.rsplit_once(':')?;
    Some((file, start.parse().ok()?))
}

/// What git's complaint mostly means.
fn hint(sections: &Sections, line: &str) -> String {
    if line.starts_with("corrupt patch") {
        return " (a hunk has not as many lines as its header says: was one left out, or blanks at the end of the text?)"
            .into();
    }
    if line.starts_with("No valid patches in input") {
        return " (it has no hunk: were its line ends lost, as in a YAML text after `>` or without `|`?)".into();
    }
    let missing = line.strip_suffix(": does not exist in index").and_then(|file| sections.odd_prefix(file));
    missing.map_or_else(String::new, |prefix| {
        format!(" ({prefix:?} was taken for a prefix as `a/` and `b/` are: make the patch with `git diff`)")
    })
}

/// Why `hunk` does not fit a file that holds `content`; begins with a colon.
fn why(hunk: &Hunk, content: &[u8]) -> String {
    let content = String::from_utf8_lossy(content);
    let file: Vec<&str> = content.split('\n').collect();
    let (old, new) = (hunk.old_lines(), hunk.new_lines());
    let without_cr = |line: &str| line.strip_suffix('\r').unwrap_or(line).to_owned();
    let without_blanks = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(at) = find(&file, &old, without_cr) {
        let has_cr = |lines: &[&str]| lines.iter().any(|line| line.ends_with('\r'));
        let of_file = file.get(at..at + old.len()).unwrap_or_default();
        return match (has_cr(of_file), has_cr(&old)) {
            (true, false) => format!(": its lines end with CRLF in the file and with LF in the patch; {KEEP_CR}"),
            (false, true) => ": its lines end with LF in the file and with CRLF in the patch".into(),
            (true, true) => ": its line ends are CRLF and LF mixed, and others in the patch".into(),
            (false, false) => {
                ": its lines are there, but not at this place, or the file's last line has an end where the patch says that it has none"
                    .into()
            }
        };
    }
    if !new.is_empty() && find(&file, &new, without_cr).is_some() {
        return ": the file has the new lines already; was the patch applied before?".into();
    }
    if find(&file, &old, without_blanks).is_some() {
        return ": its lines differ from the file's in blanks alone".into();
    }
    let first = usize::try_from(hunk.old_start).unwrap_or(usize::MAX).saturating_sub(1);
    let differing = old.iter().enumerate().find(|(at, line)| file.get(first.saturating_add(*at)) != Some(*line));
    let Some((at, wanted)) = differing else { return String::new() };
    let line = first.saturating_add(at);
    let show = |text: &str| format!("{:?}", shorten(text, MAX_LINE_CHARS));
    match file.get(line) {
        Some(found) => format!(": line {} of the file is {}, in the patch {}", line + 1, show(found), show(wanted)),
        None => format!(": the file has only {} lines", content.lines().count()),
    }
}

/// Where `wanted` is in `lines`, as far as `form` leaves a difference.
fn find(lines: &[&str], wanted: &[&str], form: impl Fn(&str) -> String) -> Option<usize> {
    let formed = |lines: &[&str]| lines.iter().map(|line| form(line)).collect::<Vec<_>>();
    let (lines, wanted) = (formed(lines), formed(wanted));
    if wanted.is_empty() { None } else { lines.windows(wanted.len()).position(|window| window == wanted) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const PATCH: &str = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -10 +10 @@\n-a\n+b\n\
        diff --git a/src/a.rs b/src/a.rs\n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,2 +1,2 @@ fn a()\n-a\n+b\n c\n\
        @@ -10,2 +10,2 @@ @@ odd\n-a\n+b\n c\n";

    fn explained(patch: &str, complaint: &str, file: &str, content: &str) -> String {
        let contents = BTreeMap::from([(file.to_owned(), content.as_bytes().to_vec())]);
        let message = explain(&Sections::read(patch).unwrap(), complaint, &contents);
        message.strip_prefix("inputs.patch does not apply: ").unwrap().to_owned()
    }

    #[rstest]
    #[case("error: patch failed: src/a.rs:10\n", "src/a.rs, hunk 2 (@@ -10,2 +10,2 @@)")]
    #[case("error: patch failed: x:10\nerror: x: patch does not apply\n", "x, hunk 1 (@@ -10 +10 @@)")]
    #[case("error: patch failed: y:10\n", "patch failed: y:10")]
    #[case(
        "error: corrupt patch at line 7\n",
        "corrupt patch at line 7 (a hunk has not as many lines as its header says: was one left out, or blanks at the end of the text?)"
    )]
    #[case("error: x: does not exist in index\n", "x: does not exist in index")]
    fn the_hunk_is_named(#[case] complaint: &str, #[case] expected: &str) {
        assert_eq!(explained(PATCH, complaint, "none", ""), expected);
    }

    #[rstest]
    #[case::crlf("a\r\nc\r\n", "its lines end with CRLF in the file and with LF in the patch; a YAML block")]
    #[case::applied("b\nc\n", "the file has the new lines already")]
    #[case::blanks("\ta\nc \n", "its lines differ from the file's in blanks alone")]
    #[case::other("a\nd\n", "line 2 of the file is \"d\", in the patch \"c\"")]
    #[case::short("a", "the file has only 1 lines")]
    fn the_cause_is_named(#[case] content: &str, #[case] expected: &str) {
        let message = explained(PATCH, "error: patch failed: src/a.rs:1\n", "src/a.rs", content);
        assert!(message.contains(&format!("(@@ -1,2 +1,2 @@): {expected}")), "{message}");
    }

    #[test]
    fn line_ends_of_the_patch_are_named_too() {
        let patch = PATCH.replace('\n', "\r\n");
        let message = explained(&patch, "error: patch failed: src/a.rs:1\n", "src/a.rs", "a\nc\n");
        assert!(message.contains("with LF in the file and with CRLF in the patch"), "{message}");
    }

    #[test]
    fn an_odd_prefix_is_named() {
        let patch = "--- src/x\n+++ lib/x\n@@ -1 +1 @@\n-a\n+b\n";
        let message = explained(patch, "error: x: does not exist in index", "none", "");
        assert!(message.starts_with("x: does not exist in index (\"lib/\" was taken for a prefix"), "{message}");
    }

    proptest! {
        #[test]
        fn any_patch_is_explained(
            patch in "(@@ -1|--- a/x|@@ -1,2 \\+1,2 @@|[ -~é\n]){0,30}",
            complaint in "(error: patch failed: x:1\n|.|\n){0,5}",
            content in "[a-c\r\n\t ]{0,20}",
        ) {
            if let Ok(sections) = Sections::read(&patch) {
                let contents = BTreeMap::from([("x".to_owned(), content.into_bytes())]);
                let message = explain(&sections, &complaint, &contents);
                prop_assert!(message.starts_with("inputs.patch does not apply: "));
            }
        }
    }
}
