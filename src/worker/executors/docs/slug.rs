//! The anchors that GitHub gives to headings. Pure.

use std::collections::HashMap;

/// The anchors of one document: the same heading twice has two.
#[derive(Debug, Default)]
pub struct Slugger {
    seen: HashMap<String, u32>,
}

impl Slugger {
    /// The anchor of the next heading.
    pub fn slug(&mut self, heading: &str) -> String {
        let plain = slug(heading);
        let mut result = plain.clone();
        while self.seen.contains_key(&result) {
            let count = self.seen.entry(plain.clone()).or_default();
            *count += 1;
            result = format!("{plain}-{count}");
        }
        self.seen.insert(result.clone(), 0);
        result
    }
}

/// In lower case, blanks as hyphens, without all else that is no letter, digit, hyphen or underscore.
fn slug(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' | '\u{300}'..='\u{36f}' => Some(c),
            c => c.is_alphanumeric().then_some(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Hello, World!", "hello-world")]
    #[case("What happens when …", "what-happens-when-")]
    #[case("`code_span` & more", "code_span--more")]
    #[case("Größe 2.0", "größe-20")]
    #[case("日本語 見出し", "日本語-見出し")]
    #[case("🎉 Party", "-party")]
    #[case("C++ / Rust", "c--rust")]
    #[case("!", "")]
    fn as_github_does(#[case] heading: &str, #[case] expected: &str) {
        assert_eq!(Slugger::default().slug(heading), expected);
    }

    #[test]
    fn repeated_headings_are_numbered() {
        let mut slugger = Slugger::default();
        let slugs = ["A", "a", "A-1", "A"].map(|heading| slugger.slug(heading));
        assert_eq!(slugs, ["a", "a-1", "a-1-1", "a-2"]);
    }
}
