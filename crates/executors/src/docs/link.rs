//! Where a link leads. Pure.

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the web; never fetched.
    External(String),
    /// To mail, a telephone and the like.
    Other,
    /// Nowhere: it is empty.
    Empty,
    /// Above the root of the repository.
    Outside,
    /// To a place in the repository.
    Inside {
        /// From the root, as bytes; empty for the root.
        path: Vec<u8>,
        /// The same if `%XX` is no escape but a part of the name.
        literal: Vec<u8>,
        /// What follows the `#`, without escapes.
        fragment: Option<String>,
    },
}

/// Where `destination` leads in the document at `document`.
pub fn resolve(document: &[u8], destination: &str) -> Target {
    let destination = destination.trim();
    if destination.is_empty() {
        return Target::Empty;
    }
    if let Some(scheme) = scheme(destination) {
        let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        return if is_web { Target::External(destination.into()) } else { Target::Other };
    }
    if destination.starts_with("//") {
        return Target::External(destination.into());
    }
    let (path, fragment) =
        destination.split_once('#').map_or((destination, None), |(path, fragment)| (path, Some(fragment)));
    let path = path.split('?').next().unwrap_or_default();
    let fragment = fragment.map(|fragment| String::from_utf8_lossy(&unescape(fragment.as_bytes())).into_owned());
    if path.is_empty() {
        return Target::Inside { path: document.into(), literal: document.into(), fragment };
    }
    match (join(document, &unescape(path.as_bytes())), join(document, path.as_bytes())) {
        (Some(path), literal) => Target::Inside { literal: literal.unwrap_or_else(|| path.clone()), path, fragment },
        (None, _) => Target::Outside,
    }
}

/// The folder that `path` is in.
pub fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

fn scheme(destination: &str) -> Option<&str> {
    let (scheme, _) = destination.split_once(':')?;
    let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    (plain && scheme.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(scheme)
}

/// `path` as seen from `document`; none if it leads above the root.
fn join(document: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let from: &[u8] = if path.starts_with(b"/") { b"" } else { folder(document) };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in from.split(|byte| *byte == b'/').chain(path.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// `text` with each `%XX` as the byte that it stands for.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|digits| *first == b'%' && digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            Some(digits) => {
                out.extend(u8::from_str_radix(digits, 16).ok());
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("b.md", "docs/b.md", None)]
    #[case("./x/../b.md#a%20b", "docs/b.md", Some("a b"))]
    #[case("../README.md", "README.md", None)]
    #[case("/docs/b.md?plain=1#L4", "docs/b.md", Some("L4"))]
    #[case("a%20b%2fc.md", "docs/a b/c.md", None)]
    #[case("#here", "docs/a.md", Some("here"))]
    #[case("..", "", None)]
    #[case("sub/", "docs/sub", None)]
    #[case("100%.md", "docs/100%.md", None)]
    fn leads_inside(#[case] destination: &str, #[case] expected: &str, #[case] expected_fragment: Option<&str>) {
        let Target::Inside { path, fragment, .. } = resolve(b"docs/a.md", destination) else { panic!("elsewhere") };
        assert_eq!((path.as_slice(), fragment.as_deref()), (expected.as_bytes(), expected_fragment));
    }

    #[rstest]
    #[case("../../x", Target::Outside)]
    #[case("%2e%2e/%2e%2e/x", Target::Outside)]
    #[case("/../x", Target::Outside)]
    #[case(" ", Target::Empty)]
    #[case("mailto:a@b", Target::Other)]
    #[case("javascript:alert(1)", Target::Other)]
    #[case("HTTPS://x", Target::External("HTTPS://x".into()))]
    #[case("//cdn/x", Target::External("//cdn/x".into()))]
    fn leads_elsewhere(#[case] destination: &str, #[case] expected: Target) {
        assert_eq!(resolve(b"docs/a.md", destination), expected);
    }

    proptest! {
        #[test]
        fn never_leads_out_unnoticed(destination in "[./a%2eF#?]{0,40}|.*") {
            if let Target::Inside { path, .. } = resolve(b"a/b/c.md", &destination) {
                prop_assert!(!path.starts_with(b"/") && !path.split(|byte| *byte == b'/').any(|part| part == b".."));
            }
        }
    }
}
