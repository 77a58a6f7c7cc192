//! Words of strangers on a forge: nothing in them may notify somebody, close an issue, command a robot, hide from a reader or be markup.
//!
//! Forges and their robots look for such things in different ways, some in the text as it is written and some in the page that it
//! makes. So both are seen to: what would be found is taken apart by a blank, which a reader sees, and stands in code, where no markup counts.

use crate::shown::{cut, plain, plain_lines};

/// Words that close what is named after them, in all their forms.
const CLOSING: [&str; 4] = ["clos", "fix", "resolv", "implement"];
const ENDINGS: [&str; 6] = ["", "e", "es", "ed", "ing", "s"];

/// Puts a blank where something would be found.
fn apart(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let rest = text.get(at + c.len_utf8()..).unwrap_or_default();
        if begins_something(&shown, c, rest) {
            shown.push(c);
            shown.push(' ');
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether `c`, after `before`, makes of `rest` what forges and robots look for.
fn begins_something(before: &str, c: char, rest: &str) -> bool {
    let next = rest.chars().next().unwrap_or(' ');
    let is_name = next.is_alphanumeric() || matches!(next, '_' | '-');
    match c {
        // @name, @team/name; also in addresses, which some forges cut there.
        '@' => is_name,
        // #12, owner/name#12; and of GitLab !12, &12, ~label, %milestone, $12.
        '#' | '!' | '&' | '~' | '$' | '%' => is_name || next == '"',
        // An address: of an issue it counts as a reference, of anything it is a link.
        ':' => rest.starts_with("//"),
        // A tag or a comment.
        '<' => next.is_alphabetic() || matches!(next, '!' | '/' | '?'),
        '-' => next.is_ascii_digit() && is_key(before),
        _ => false,
    }
}

/// Whether a text ends with the first half of GH-12, or of PROJ-12 after a word that closes.
fn is_key(before: &str) -> bool {
    let key = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    if key.eq_ignore_ascii_case("gh") {
        return true;
    }
    let earlier = before.strip_suffix(key).unwrap_or_default().trim_end().trim_end_matches(':');
    let word = earlier.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
    !key.is_empty() && CLOSING.iter().any(|stem| word.strip_prefix(stem).is_some_and(|end| ENDINGS.contains(&end)))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::shown::is_troublesome;

    /// Whether a text has none of what is taken out.
    fn is_inert(text: &str) -> bool {
        text.chars().all(|c| c == '\n' || c == '\\' || !is_troublesome(c)) && apart(text) == text
    }

    #[rstest]
    #[case("Thanks @octocat and @org/team", "Thanks @ octocat and @ org/team")]
    #[case("fixes #12, closes a/b#3; GH-7", "fixes # 12, closes a/b# 3; GH- 7")]
    #[case("closes PROJ-7, in UTF-8", "closes PROJ- 7, in UTF-8")]
    #[case("resolves https://github.com/o/r/issues/1", "resolves https: //github.com/o/r/issues/1")]
    #[case("see !5 ~bug", "see ! 5 ~ bug")]
    #[case("a<!-- hidden -->b<img src=x>", "a< ! -- hidden -->b< img src=x>")]
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
