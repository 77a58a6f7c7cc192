//! The anchors that GitHub gives to headings. Pure.

use std::collections::HashMap;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

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

/// In lower case, blanks as hyphens, without all else that is no word's.
fn slug(heading: &str) -> String {
    let lower = heading.chars().flat_map(char::to_lowercase);
    lower.map(|c| if c == ' ' { '-' } else { c }).filter(|c| *c == '-' || is_of_a_word(*c)).collect()
}

/// Letters, marks (also those that nobody sees, such as the one that makes an emoji of a character), digits, and punctuation that
/// connects: what Ruby's `\p{Word}` is, by which GitHub goes.
fn is_of_a_word(c: char) -> bool {
    c.is_alphabetic()
        || c.general_category_group() == GeneralCategoryGroup::Mark
        || matches!(
            c.general_category(),
            GeneralCategory::DecimalNumber | GeneralCategory::LetterNumber | GeneralCategory::ConnectorPunctuation
        )
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
    #[case::a_mark_makes_an_emoji("⚙\u{fe0f} Settings", "\u{fe0f}-settings")]
    #[case::an_image_before(" Title", "-title")]
    #[case::marks("हिन्दी ภาษาไทย", "हिन्दी-ภาษาไทย")]
    #[case::connectors("a‿b_c", "a‿b_c")]
    #[case::digits_of_scripts("٣ ３", "٣-３")]
    #[case::letter_numbers("Ⅳ", "ⅳ")]
    #[case::other_numbers("½ of x² is ①", "-of-x-is-")]
    #[case::other_blanks("a\u{a0}b\tc", "abc")]
    #[case::joiners("👩\u{200d}💻 dev", "-dev")]
    #[case::dashes("a – b", "a--b")]
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
