//! Names of artifacts: those that a person, a URL or a terminal could misread are written in an escaped form.

pub use jct_domain::shown::is_troublesome;

/// The greatest length of a name, in bytes: what file systems take.
const MAX_NAME_BYTES: usize = 255;

/// As [`escaped`], and never longer than a file system takes.
pub fn plain(name: &[u8]) -> String {
    let mut escaped = escaped(name);
    let mut end = escaped.len().min(MAX_NAME_BYTES);
    while !escaped.is_char_boundary(end) {
        end -= 1;
    }
    escaped.truncate(end);
    escaped
}

/// `name` if it is plain, else with each troublesome byte as `%XX`: of anything that is not UTF-8, control characters,
/// line and direction marks, and the backslash.
pub fn escaped(name: &[u8]) -> String {
    let mut escaped = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_troublesome(c) {
                escape(&mut escaped, c.encode_utf8(&mut [0; 4]).as_bytes())
            } else {
                escaped.push(c)
            }
        }
        escape(&mut escaped, chunk.invalid());
    }
    escaped
}

/// The first `limit` characters of `text`, ending in `…` if some are left out.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.into();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn escape(text: &mut String, bytes: &[u8]) {
    use std::fmt::Write as _;
    for byte in bytes {
        let _ = write!(text, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"report.md", "report.md")]
    #[case("größe 100%.txt".as_bytes(), "größe 100%.txt")]
    #[case(b"a\nb", "a%0Ab")]
    #[case(b"a\\b", "a%5Cb")]
    #[case(b"\xff\xfe", "%FF%FE")]
    #[case("x\u{202e}gnp.exe".as_bytes(), "x%E2%80%AEgnp.exe")]
    fn escapes(#[case] name: &[u8], #[case] expected: &str) {
        assert_eq!(plain(name), expected);
    }

    proptest! {
        #[test]
        fn is_always_plain_and_settles(name in proptest::collection::vec(any::<u8>(), 1..400)) {
            let once = plain(&name);
            prop_assert!(once.len() <= MAX_NAME_BYTES);
            prop_assert!(!once.chars().any(is_troublesome));
            prop_assert_eq!(plain(once.as_bytes()), once);
        }
    }
}
