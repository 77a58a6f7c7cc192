//! Words of strangers on a forge: nothing in them may notify somebody, close an issue, command a robot, hide from a reader or be markup.
//!
//! Forges and their robots look for such things in different ways, some in the text as it is written and some in the page that it
//! makes. So both are seen to: what would be found is taken apart by a blank, which a reader sees, and stands in code, where no markup counts.

use std::sync::LazyLock;

use regex::Regex;

#[cfg(test)]
use crate::shown::is_troublesome;
use crate::shown::{cut, plain, plain_lines};

/// What begins a mention, a reference, a tag or a comment, with what would make it one.
const PATTERNS: [(&str, &str); 5] = [
    // @name and @team/name; also in addresses, which some forges cut at the @.
    (r"@([\p{L}\p{N}_-])", "@ $1"),
    // #12, owner/name#12, !12, &12, ~label and $12, %milestone of GitLab.
    (r"([#!&~$%])([\p{L}\p{N}\x22])", "$1 $2"),
    // GH-12, and PROJ-12 after a word that closes.
    (r"(?i-u:\b(gh|(?:clos|fix|resolv|implement)(?:e|es|ed|ing|s)?:?[ \t]+[a-z][a-z0-9_]*)-([0-9]))", "$1- $2"),
    // The address of an issue, which counts as a reference; and any other, which would be a link.
    (r"://", ": //"),
    (r"<([!/?\p{L}])", "< $1"),
];

static APART: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| PATTERNS.iter().filter_map(|(pattern, to)| Some((Regex::new(pattern).ok()?, *to))).collect());

fn apart(text: &str) -> String {
    APART.iter().fold(text.to_owned(), |text, (pattern, to)| {
        // Twice: what was found may have hidden what follows it.
        let once = pattern.replace_all(&text, *to);
        pattern.replace_all(&once, *to).into_owned()
    })
}

/// One line of plain text, of at most so many characters: for what has no markup, such as a title.
pub fn line(text: &str, most: usize) -> String {
    let text = apart(&plain(text.trim()));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A command to a robot begins a line with a slash, an option with a dash; GitLab takes some beginnings for a draft.
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '/' | '-'));
    cut(text, most)
}

/// A few words as code, within a line of markdown.
pub fn word(text: &str, most: usize) -> String {
    let text = line(text, most).replace('`', "'");
    if text.is_empty() { "(nothing)".into() } else { format!("`{text}`") }
}

/// A text of several lines, as a block of code: no line of it begins with what a robot or a forge looks for at the beginning of a
/// line, the end of the block among it.
pub fn block(text: &str, most: usize) -> String {
    let mut block = String::from("```text\n");
    for line in cut(apart(&plain_lines(text.trim())).trim_end(), most).lines() {
        block.push_str("| ");
        block.push_str(line.trim_end());
        block.push('\n');
    }
    block.push_str("```");
    block
}

/// Whether a text has none of what is taken out.
#[cfg(test)]
fn is_inert(text: &str) -> bool {
    let is_shown = |c: char| c == '\n' || c == '\\' || !is_troublesome(c);
    text.chars().all(is_shown) && !APART.iter().any(|(pattern, _)| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn all_patterns_are_some() {
        assert_eq!(APART.len(), PATTERNS.len());
    }

    #[rstest]
    #[case("Thanks @octocat and @org/team", "Thanks @ octocat and @ org/team")]
    #[case("fixes #12, closes a/b#3; GH-7", "fixes # 12, closes a/b# 3; GH- 7")]
    #[case("closes PROJ-7, in UTF-8", "closes PROJ- 7, in UTF-8")]
    #[case("resolves https://github.com/o/r/issues/1", "resolves https: //github.com/o/r/issues/1")]
    #[case("see !5 ~bug", "see ! 5 ~ bug")]
    #[case("a<!-- hidden -->b<img src=x>", "a< !-- hidden -->b< img src=x>")]
    #[case("/merge", "merge")]
    #[case("a\u{202e}b\u{1b}[2J\r\nc", r"a\u{202e}b\u{1b}[2J c")]
    #[case("##1 @@a", "## 1 @@ a")]
    fn lines(#[case] text: &str, #[case] expected: &str) {
        assert!(!is_inert(text) || text.starts_with('/'), "the control: {text:?} is not inert");
        assert_eq!(line(text, 100), expected);
        assert!(is_inert(&line(text, 100)));
    }

    #[test]
    fn a_block_is_not_left() {
        let text = "a\n```\n/merge\n</details>\n@octocat\n\tfixes #1\n";
        let expected = "```text\n| a\n| ```\n| /merge\n| < /details>\n| @ octocat\n|  fixes # 1\n```";
        assert_eq!(block(text, 1000), expected);
        assert_eq!(word("a`b`", 10), "`a'b'`");
        assert_eq!(word(" \n", 10), "(nothing)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn nothing_acts(text in "([@#!~&$%</`a-zA-Z0-9 \\-]|://|fixes |GH-1|<!--|\\PC|\n|[\u{0}-\u{1f}\u{200b}\u{202e}]){0,40}") {
            prop_assert!(is_inert(&line(&text, 60)), "{:?}", line(&text, 60));
            prop_assert!(!line(&text, 60).contains('\n') && line(&text, 60).chars().count() <= 61);
            let shown = block(&text, 60);
            prop_assert!(is_inert(&shown), "{shown:?}");
            let lines: Vec<&str> = shown.lines().collect();
            let inner = lines.get(1..lines.len() - 1).unwrap();
            prop_assert!(inner.iter().all(|line| line.starts_with('|')), "{shown:?}");
            let code = word(&text, 60);
            prop_assert!(code == "(nothing)" || code.matches('`').count() == 2, "{code:?}");
        }
    }
}
