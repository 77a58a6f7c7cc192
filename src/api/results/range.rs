//! `Range` (RFC 9110, section 14), as far as it is of use here: one range of bytes. What is not understood is passed over.

/// The part of a file that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// From the first number to before the second one.
    Part(u64, u64),
    /// Nothing that is there.
    Nothing,
}

/// What `header` asks for of a file of `size` bytes.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
        return Wanted::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More than there can be is as much as there is.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = (first.trim(), last.trim());
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(last)) if first.is_empty() => (size.saturating_sub(last), size),
        _ => return Wanted::Whole,
    };
    if part.0 < part.1 { Wanted::Part(part.0, part.1) } else { Wanted::Nothing }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, Wanted::Whole)]
    #[case(Some("bytes=0-0"), Wanted::Part(0, 1))]
    #[case(Some("bytes=2-4"), Wanted::Part(2, 5))]
    #[case(Some("bytes=2-"), Wanted::Part(2, 10))]
    #[case(Some("bytes=-3"), Wanted::Part(7, 10))]
    #[case(Some("bytes=-99"), Wanted::Part(0, 10))]
    #[case(Some("bytes=5-99999999999999999999999"), Wanted::Part(5, 10))]
    #[case(Some("bytes=10-"), Wanted::Nothing)]
    #[case(Some("bytes=99999999999999999999999-"), Wanted::Nothing)]
    #[case(Some("bytes=-0"), Wanted::Nothing)]
    #[case(Some("bytes=4-2"), Wanted::Whole)]
    #[case(Some("bytes=0-1,3-4"), Wanted::Whole)]
    #[case(Some("bytes=+1-2"), Wanted::Whole)]
    #[case(Some("lines=1-2"), Wanted::Whole)]
    #[case(Some("bytes=-"), Wanted::Whole)]
    fn one_range_of_bytes_is_understood(#[case] header: Option<&str>, #[case] expected: Wanted) {
        assert_eq!(wanted(header, 10), expected);
        assert!(matches!(wanted(header, 0), Wanted::Whole | Wanted::Nothing));
    }
}
