//! Recognises licences by their whole text, held against those of the SPDX list. Pure.
//!
//! An id is given only to a text that is that licence, by the spirit of SPDX's matching guidelines: what the text says besides
//! (a condition, a clause about its field of use) makes it another one, and what of the licence is not in it must be no right.
//! So no id promises more than the text does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

/// What a text is that is none of those known.
pub const UNRECOGNISED: &str = "unrecognised";

/// So many words together say that both texts go on alike.
const ANCHOR_WORDS: usize = 3;
/// The longest name of a holder, and the longest title, in words.
const MAX_NAME_WORDS: usize = 8;
/// Of what a licence says before its disclaimer a text has at least this share, in percent.
const MIN_SHARE_PERCENT: usize = 80;
/// A text has at least so many words.
const MIN_WORDS: usize = 40;
/// A licence that a text leaves out a right of is not that text's.
const RIGHTS: [&str; 20] = [
    "use",
    "used",
    "copy",
    "copies",
    "modify",
    "merge",
    "publish",
    "distribute",
    "sublicense",
    "sell",
    "redistribute",
    "redistribution",
    "redistributions",
    "reproduce",
    "reproduction",
    "patent",
    "perpetual",
    "royalty",
    "grant",
    "granted",
];
/// What stands in the place of a holder's name.
const HOLDER: [&str; 26] = [
    "the",
    "copyright",
    "holder",
    "holders",
    "owner",
    "owners",
    "author",
    "authors",
    "and",
    "or",
    "s",
    "contributors",
    "contributor",
    "organization",
    "name",
    "names",
    "of",
    "its",
    "year",
    "regents",
    "company",
    "university",
    "yyyy",
    "fullname",
    "project",
    "email",
];
/// What no name, title or line about copyright has: it says something more.
const SAYS_MORE: [&str; 33] = [
    "not",
    "no",
    "non",
    "only",
    "must",
    "shall",
    "may",
    "except",
    "unless",
    "provided",
    "commercial",
    "noncommercial",
    "prohibited",
    "forbidden",
    "restricted",
    "restriction",
    "condition",
    "conditions",
    "commons",
    "permitted",
    "permission",
    "never",
    "without",
    "evil",
    "military",
    "sell",
    "for",
    "academic",
    "educational",
    "purpose",
    "purposes",
    "you",
    "use",
];

/// Whether a file at the root with this name (in lower case) is a licence.
pub fn is_licence(name: &str) -> bool {
    ["license", "licence", "copying", "unlicense"].iter().any(|word| name.starts_with(word))
        || ["-license", "-licence", ".license"].iter().any(|word| name.contains(word))
}

/// The SPDX id of a licence's text, or [`UNRECOGNISED`]. Whether later versions may be chosen is not in the text of the
/// GNU licences, so it is not in the id either.
pub fn recognise(text: &str) -> &'static str {
    let words = words_of(text);
    if words.len() < MIN_WORDS {
        return UNRECOGNISED;
    }
    let likely = LICENCES.iter().filter(|licence| licence.is_likely(&words));
    let fitting = likely.filter_map(|licence| Some((licence.left_out(&words)?, licence.id.len(), licence.id)));
    fitting.min().map_or(UNRECOGNISED, |(_, _, id)| id)
}

/// A word as its hash, for there are many.
type Word = u64;

/// A licence of the list.
struct Licence {
    id: &'static str,
    words: Vec<Word>,
    /// Where its disclaimer begins: what a text leaves out of that is no right.
    disclaimer: usize,
}

static LICENCES: LazyLock<Vec<Licence>> = LazyLock::new(|| {
    let texts = spdx::text::LICENSE_TEXTS.iter();
    // The GNU licences are in the list three times, with one text.
    let texts = texts.filter(|(id, _)| !id.ends_with("-only") && !id.ends_with("-or-later"));
    texts.map(|(id, text)| Licence::new(id, text)).collect()
});
static RIGHT_WORDS: LazyLock<Vec<Word>> = LazyLock::new(|| RIGHTS.iter().map(word).collect());
static HOLDER_WORDS: LazyLock<Vec<Word>> = LazyLock::new(|| HOLDER.iter().map(word).collect());
static MORE_WORDS: LazyLock<Vec<Word>> = LazyLock::new(|| SAYS_MORE.iter().map(word).collect());

impl Licence {
    fn new(id: &'static str, text: &str) -> Self {
        let words = words_of(text);
        let as_is = [word("as"), word("is")];
        let disclaimer = words.windows(2).position(|pair| pair == as_is).map_or(words.len(), |at| at + 2);
        Self { id, words, disclaimer }
    }

    /// Whether nearly all words of a text are in this licence, however they are ordered.
    fn is_likely(&self, text: &[Word]) -> bool {
        if self.disclaimer > text.len() * 2 || text.len() > self.words.len() * 2 {
            return false;
        }
        let mut counts: HashMap<Word, i32> = HashMap::new();
        for word in &self.words {
            *counts.entry(*word).or_default() += 1;
        }
        let foreign = text.iter().filter(|word| {
            let count = counts.entry(**word).or_default();
            *count -= 1;
            *count < 0
        });
        foreign.count() * 100 <= text.len() * 15
    }

    /// How many words of this licence `text` leaves out; none if it is not this licence.
    fn left_out(&self, text: &[Word]) -> Option<usize> {
        let (mut of_text, mut of_licence, mut left_out) = (0, 0, 0);
        let mut in_body = 0;
        while of_text < text.len() || of_licence < self.words.len() {
            if of_text < text.len() && text.get(of_text) == self.words.get(of_licence) {
                of_text += 1;
                of_licence += 1;
                continue;
            }
            let (added, removed) = self.next_alike(text, of_text, of_licence)?;
            let inserted = text.get(of_text..of_text + added)?;
            let deleted = self.words.get(of_licence..of_licence + removed)?;
            let is_start = of_licence == 0 || of_text == 0;
            if !inserted.is_empty() && !is_name(inserted, deleted, is_start) {
                return None;
            }
            let body = self.disclaimer.saturating_sub(of_licence).min(removed);
            if inserted.is_empty() && deleted.iter().take(body).any(|word| RIGHT_WORDS.contains(word)) {
                return None;
            }
            in_body += body;
            left_out += removed;
            of_text += added;
            of_licence += removed;
        }
        let has = (self.disclaimer - in_body.min(self.disclaimer)) * 100;
        if has >= self.disclaimer * MIN_SHARE_PERCENT { Some(left_out) } else { None }
    }

    /// How many words to pass by in the text and in the licence until both go on alike, as few as possible.
    fn next_alike(&self, text: &[Word], of_text: usize, of_licence: usize) -> Option<(usize, usize)> {
        let (text, licence) = (text.get(of_text..)?, self.words.get(of_licence..)?);
        let alike = |added: usize, removed: usize| {
            let (one, other) = (text.get(added..).unwrap_or_default(), licence.get(removed..).unwrap_or_default());
            let length = ANCHOR_WORDS.min(one.len());
            // Both end, or the text goes on as the licence does.
            if length == 0 { other.is_empty() } else { other.get(..length) == one.get(..length) }
        };
        let most = MAX_NAME_WORDS.min(text.len());
        (0..=licence.len())
            .find_map(|removed| (0..=most).find(|added| alike(*added, removed)).map(|added| (added, removed)))
    }
}

/// Whether words of a text are a name in the place of the holder's, or a title.
fn is_name(inserted: &[Word], deleted: &[Word], is_start: bool) -> bool {
    let is_place = !deleted.is_empty() && deleted.iter().all(|word| HOLDER_WORDS.contains(word));
    inserted.len() <= MAX_NAME_WORDS && (is_place || is_start) && !says_more(inserted)
}

fn says_more(words: &[Word]) -> bool {
    words.iter().any(|word| MORE_WORDS.contains(word))
}

fn word(word: impl AsRef<str>) -> Word {
    let mut hasher = DefaultHasher::new();
    word.as_ref().hash(&mut hasher);
    hasher.finish()
}

/// The words of a text in lower case, without punctuation, the numbers of lists, and lines that only say whose it is.
fn words_of(text: &str) -> Vec<Word> {
    text.trim_start_matches('\u{feff}').lines().flat_map(words_of_line).collect()
}

/// A line without what is to be filled in, such as `<year>` and `[name of copyright owner]`. Other words in brackets count.
fn without_placeholders(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(['<', '[']) {
        let (before, bracketed) = rest.split_at(start);
        plain.push_str(before);
        let end = bracketed.find(['>', ']']).map_or(bracketed.len(), |at| at + 1);
        let (inner, after) = bracketed.split_at(end);
        let mut words = inner.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        if !words.all(|word| HOLDER.contains(&word)) {
            plain.push_str(inner);
        }
        rest = after;
    }
    plain + rest
}

fn words_of_line(line: &str) -> Vec<Word> {
    let plain = without_placeholders(&line.to_lowercase());
    let mut line = plain.trim();
    if let Some((first, rest)) = line.split_once(char::is_whitespace)
        && first.len() <= 4
        && (first.ends_with(['.', ')']) || matches!(first, "*" | "-" | "•" | "#" | "##" | "//"))
    {
        line = rest;
    }
    let is_about_copyright =
        ["copyright (c)", "copyright ©", "copyright 1", "copyright 2", "(c) ", "© ", "all rights reserved"].iter().any(
            |start| {
                line.trim_start_matches(['(', ' ']).starts_with(start.trim_start_matches('('))
                    || line.starts_with(start)
            },
        ) || line == "copyright";
    let words = line.split(|c: char| !(c.is_alphanumeric() || c == '.')).map(|part| part.trim_matches('.'));
    let words: Vec<Word> = words.filter(|part| !part.is_empty()).map(word).collect();
    let is_tag = line.starts_with("spdx-license-identifier:");
    if (is_about_copyright && !says_more(&words)) || is_tag { Vec::new() } else { words }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn text(id: &str) -> &'static str {
        spdx::text::LICENSE_TEXTS.iter().find(|(name, _)| *name == id).unwrap().1
    }

    #[rstest]
    fn a_text_of_the_list_has_its_id(
        #[values(
            "MIT",
            "MIT-0",
            "ISC",
            "0BSD",
            "BSD-2-Clause",
            "BSD-3-Clause",
            "BSD-4-Clause",
            "Apache-2.0",
            "MPL-2.0",
            "Unlicense",
            "Zlib",
            "JSON",
            "GPL-2.0",
            "GPL-3.0",
            "LGPL-2.1",
            "LGPL-3.0",
            "AGPL-3.0",
            "EPL-2.0",
            "CC0-1.0",
            "BSL-1.0",
            "Unicode-3.0"
        )]
        id: &str,
    ) {
        assert_eq!(recognise(text(id)), id);
        // Those of GNU have it in a part that nobody fills in.
        let year = if id.contains("GPL") { "<year>" } else { "2026" };
        let filled = format!("Copyright (c) 2026 Tester\nAll rights reserved.\n\n{}", text(id).replace("<year>", year));
        assert_eq!(recognise(&filled.replace('\n', "\r\n")), id);
        let more =
            ["\nThe Software shall be used for good things only.\n", "\n\"Commons Clause\" License Condition v1.0\n"];
        for more in more {
            assert_ne!(recognise(&format!("{}{more}", text(id))), id, "{more}");
            assert_ne!(recognise(&format!("{more}{}", text(id))), id, "{more}");
        }
    }

    #[rstest]
    #[case::other_holder(
        "BSD-3-Clause",
        "the name of the copyright holder",
        "the name of Example Corp. Ltd",
        "BSD-3-Clause"
    )]
    #[case::a_title("MIT", "MIT License", "\u{feff}The MIT License (MIT)", "MIT")]
    #[case::a_field_of_use(
        "MIT",
        "without restriction,",
        "without restriction, but for military purposes,",
        UNRECOGNISED
    )]
    #[case::a_right_less("MIT", "modify, merge, publish, distribute, sublicense, and/or sell", "read", UNRECOGNISED)]
    #[case::a_word_that_turns_it("MIT", "without restriction", "with restriction", UNRECOGNISED)]
    #[case::a_condition_in_a_name(
        "BSD-3-Clause",
        "the name of the copyright holder",
        "the name of Example, which must not sell it,",
        UNRECOGNISED
    )]
    #[case::a_line_about_copyright_that_says_more(
        "MIT",
        "MIT License",
        "Copyright 2026 X, for non-commercial use only",
        UNRECOGNISED
    )]
    #[case::words_in_brackets("MIT", "without restriction,", "without restriction [in schools],", UNRECOGNISED)]
    #[case::a_clause_less("BSD-4-Clause", "3. All advertising", "3. No advertising", UNRECOGNISED)]
    fn what_it_says_decides(#[case] id: &str, #[case] from: &str, #[case] to: &str, #[case] expected: &str) {
        assert!(text(id).contains(from), "{}", text(id));
        assert_eq!(recognise(&text(id).replace(from, to)), expected);
    }

    #[test]
    fn a_disclaimer_may_be_shorter() {
        let (before, _) = text("MIT").split_once("WITHOUT WARRANTY").unwrap();
        assert_eq!(recognise(before), "MIT");
        let (before, _) = text("MIT").split_once("The above copyright notice").unwrap();
        assert_eq!(recognise(before), UNRECOGNISED);
    }

    #[rstest]
    #[case("All rights reserved.")]
    #[case("This project is under the MIT License, see https://opensource.org/licenses/MIT for what that means.")]
    fn a_mention_is_no_licence(#[case] text: &str) {
        assert_eq!(recognise(text), UNRECOGNISED);
    }

    #[rstest]
    #[case("license", true)]
    #[case("licence.txt", true)]
    #[case("copying.lesser", true)]
    #[case("readme.md", false)]
    fn known_by_name(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(is_licence(name), expected);
    }
}
