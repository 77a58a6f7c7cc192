//! The names that Kubernetes takes (RFC 1123).

/// The greatest length of a label, in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// Whether `name` is a label, which the names of namespaces and of executors are: lower-case letters, digits and inner dashes, 1 to
/// 63.
pub fn is_label(name: &str) -> bool {
    name.len() <= MAX_LABEL_BYTES && is_label_of_any_length(name)
}

/// The same, however long it is.
pub fn is_label_of_any_length(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && ends(name.bytes().next())
        && ends(name.bytes().next_back())
}

/// Whether some label begins with `name`; with nothing, all of them do.
pub fn begins_label(name: &str) -> bool {
    // What may end it.
    name.len() < MAX_LABEL_BYTES && is_label(&format!("{name}0"))
}

/// Whether `allowed` names `namespace`: as it is, or by a beginning that ends in `*`.
pub fn names_namespace(allowed: &[String], namespace: &str) -> bool {
    allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
        Some(beginning) => namespace.starts_with(beginning),
        None => allowed == namespace,
    })
}

/// Whether `name` is a subdomain, which the names of most objects are: labels with dots between them, at most 253.
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label_of_any_length)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", true, true, true)]
    #[case("0a-b", true, true, true)]
    #[case("", false, true, false)]
    #[case("-x", false, false, false)]
    #[case("x-", false, true, false)]
    #[case("Team", false, false, false)]
    #[case("a_b", false, false, false)]
    #[case("é", false, false, false)]
    #[case("a.b-c.0", false, false, true)]
    #[case("a..b", false, false, false)]
    #[case(".a", false, false, false)]
    #[case("a.-b", false, false, false)]
    fn names(#[case] name: &str, #[case] label: bool, #[case] beginning: bool, #[case] object: bool) {
        assert_eq!((is_label(name), begins_label(name), is_object_name(name)), (label, beginning, object));
    }

    #[rstest]
    #[case("team", true)]
    #[case("team-a", false)]
    #[case("ci-", true)]
    #[case("ci-x", true)]
    #[case("ci", false)]
    fn a_namespace_is_named_whole_or_by_its_beginning(#[case] namespace: &str, #[case] expected: bool) {
        assert_eq!(names_namespace(&["team".into(), "ci-*".into()], namespace), expected);
        assert!(names_namespace(&["*".into()], namespace) && !names_namespace(&[], namespace));
    }

    #[test]
    fn lengths() {
        let long = |length: usize| "a".repeat(length);
        assert!(is_label(&long(63)) && !is_label(&long(64)) && is_label_of_any_length(&long(64)));
        assert!(begins_label(&long(62)) && !begins_label(&long(63)));
        assert!(is_object_name(&long(253)) && !is_object_name(&long(254)));
    }
}
