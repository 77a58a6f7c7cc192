//! The names of branches, tags and commits.

/// Why `name` can't be a branch, tag or commit; `None` when it can.
///
/// The rules of git-check-ref-format(1), and no leading `-`, so that a ref is never taken for an option.
pub fn problem(name: &str) -> Option<&'static str> {
    if name.starts_with('-') {
        return Some("must not begin with '-'");
    }
    if name == "@" || name.contains("@{") {
        return Some("must not be '@' or contain '@{'");
    }
    if name.contains("..") {
        return Some("must not contain '..'");
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c)) {
        return Some("must not contain blanks, control characters or any of ~ ^ : ? * [ \\");
    }
    if name.ends_with('.') {
        return Some("must not end with '.'");
    }
    if name.split('/').any(str::is_empty) {
        return Some("must not begin or end with '/', or contain '//'");
    }
    if name.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock")) {
        return Some("must not have a part that begins with '.' or ends with '.lock'");
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::problem;

    #[rstest]
    #[case("main")]
    #[case("refs/heads/feature/x-1")]
    #[case("v1.2.3")]
    #[case("0123456789abcdef0123456789abcdef01234567")]
    #[case("größe")]
    fn accepts(#[case] name: &str) {
        assert_eq!(problem(name), None);
    }

    #[rstest]
    fn refuses(
        #[values(
            "-x",
            "--upload-pack=touch /tmp/x",
            "a..b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            "a.",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "@",
            "a@{1}",
            " main",
            "main\0"
        )]
        name: &str,
    ) {
        assert!(problem(name).is_some(), "{name:?}");
    }
}
