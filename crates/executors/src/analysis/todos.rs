//! Finds notes such as `TODO` in comments. Pure.

use super::languages::Comments;

/// The words that mark a note.
const KINDS: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];

/// The note in `line`: its kind, and the text that follows.
///
/// The word counts where it stands first in a comment, or is followed by `:` or `(`: a comment that merely speaks of a
/// TODO list is no note.
pub fn find(line: &[u8], comments: Comments) -> Option<(&'static str, &[u8])> {
    // Most lines have none of the words: look for their first letters before anything costly.
    if !line.iter().any(|byte| matches!(byte, b'T' | b'F' | b'X' | b'H')) {
        return None;
    }
    let comment = comment_start(line, comments)?;
    KINDS
        .iter()
        .filter_map(|kind| note(line, comment, kind))
        .min_by_key(|(at, ..)| *at)
        .map(|(_, kind, text)| (kind, text))
}

fn note<'a>(line: &'a [u8], comment: usize, kind: &'static str) -> Option<(usize, &'static str, &'a [u8])> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let mut from = comment;
    loop {
        let at = from + line.get(from..)?.windows(kind.len()).position(|window| window == kind.as_bytes())?;
        let rest = line.get(at + kind.len()..)?;
        let is_first = !line.get(comment..at)?.iter().any(is_word);
        let whole_before = at.checked_sub(1).and_then(|before| line.get(before)).is_none_or(|byte| !is_word(byte));
        let whole_after = rest.first().is_none_or(|byte| !is_word(byte) && *byte != b'-');
        if whole_before && whole_after && (is_first || matches!(rest.first(), Some(b':' | b'('))) {
            return Some((at, kind, trim(rest)));
        }
        from = at + kind.len();
    }
}

fn trim(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b":").unwrap_or(text).trim_ascii();
    let text = text.strip_suffix(b"*/").or_else(|| text.strip_suffix(b"-->")).unwrap_or(text);
    text.trim_ascii()
}

/// Where a comment begins in `line`.
fn comment_start(line: &[u8], comments: Comments) -> Option<usize> {
    let tokens: &[&[u8]] = match comments {
        Comments::Slashes => &[b"//", b"/*"],
        Comments::Hash => &[b"#"],
        Comments::Dashes => &[b"--"],
        Comments::Semicolon => &[b";"],
        Comments::Percent => &[b"%"],
        Comments::Markup => &[b"<!--"],
        Comments::Any => &[b"//", b"/*", b"#", b"<!--"],
        Comments::None => return None,
    };
    let within = matches!(comments, Comments::Slashes | Comments::Any) && line.trim_ascii_start().starts_with(b"*");
    if within {
        return line.iter().position(|byte| *byte == b'*');
    }
    tokens.iter().filter_map(|token| token_start(line, token)).min()
}

/// Where `token` stands at the beginning or after something other than a letter, digit, `:` (a URL's `//`) or `$` (`$#`).
fn token_start(line: &[u8], token: &[u8]) -> Option<usize> {
    let is_free = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| line.get(before));
        before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b':' | b'$' | b'{'))
    };
    line.windows(token.len()).enumerate().find(|(at, window)| *window == token && is_free(*at)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("// TODO: x", Comments::Slashes, Some(("TODO", "x")))]
    #[case("let a = 1; // FIXME later", Comments::Slashes, Some(("FIXME", "later")))]
    #[case("/* HACK */", Comments::Slashes, Some(("HACK", "")))]
    #[case(" * TODO(ada): y", Comments::Slashes, Some(("TODO", "(ada): y")))]
    #[case("/// see below, TODO: z", Comments::Slashes, Some(("TODO", "z")))]
    #[case("# XXX", Comments::Hash, Some(("XXX", "")))]
    #[case("<!-- TODO write -->", Comments::Markup, Some(("TODO", "write")))]
    #[case("-- TODO q", Comments::Dashes, Some(("TODO", "q")))]
    #[case("// the TODO list", Comments::Slashes, None)]
    #[case("enum A { TODO }", Comments::Slashes, None)]
    #[case("let TODO: u8 = 1;", Comments::Slashes, None)]
    #[case("// TODOS", Comments::Slashes, None)]
    #[case("# XXXX", Comments::Hash, None)]
    #[case("# XXX-XXX-XXX", Comments::Hash, None)]
    #[case("x = \"http://TODO:80\"", Comments::Slashes, None)]
    #[case("TODO: x", Comments::None, None)]
    fn notes_in_comments(#[case] line: &str, #[case] comments: Comments, #[case] expected: Option<(&str, &str)>) {
        let expected = expected.map(|(kind, text)| (kind, text.as_bytes()));
        assert_eq!(find(line.as_bytes(), comments), expected);
    }
}
