//! Recognises licences by their text. Pure.

/// What a text is that is none of those known.
pub const UNRECOGNISED: &str = "unrecognised";

/// Whether a file at the root with this name (in lower case) is a licence.
pub fn is_licence(name: &str) -> bool {
    ["license", "licence", "copying", "unlicense"].iter().any(|word| name.starts_with(word))
        || ["-license", "-licence", ".license"].iter().any(|word| name.contains(word))
}

/// The SPDX id of a licence's text, or [`UNRECOGNISED`]. Whether later versions may be chosen is not in the text of the
/// GNU licences, so it is not in the id either.
pub fn recognise(text: &str) -> &'static str {
    let text = normalize(text);
    // The GNU licences speak of each other: their titles tell.
    let title: String = text.chars().take(400).collect();
    let gnu = [
        ("gnu affero general public license version 3", "AGPL-3.0"),
        ("gnu lesser general public license version 3", "LGPL-3.0"),
        ("gnu lesser general public license version 2.1", "LGPL-2.1"),
        ("gnu library general public license version 2", "LGPL-2.0"),
        ("gnu general public license version 3", "GPL-3.0"),
        ("gnu general public license version 2", "GPL-2.0"),
        ("mozilla public license version 2.0", "MPL-2.0"),
        ("apache license version 2.0", "Apache-2.0"),
    ];
    if let Some((_, id)) = gnu.into_iter().find(|(words, _)| title.contains(words)) {
        return id;
    }
    let has = |words: &str| text.contains(words);
    if has("this is free and unencumbered software released into the public domain") {
        "Unlicense"
    } else if has("permission is hereby granted free of charge to any person obtaining a copy") {
        if has("the above copyright notice and this permission notice") { "MIT" } else { UNRECOGNISED }
    } else if has("permission to use copy modify and or distribute this software for any purpose")
        || has("permission to use copy modify and distribute this software for any purpose")
    {
        if has("provided that the above copyright notice") { "ISC" } else { "0BSD" }
    } else if has("redistribution and use in source and binary forms") {
        if has("neither the name") { "BSD-3-Clause" } else { "BSD-2-Clause" }
    } else {
        UNRECOGNISED
    }
}

/// Lower case words with single blanks; dots stay within numbers.
fn normalize(text: &str) -> String {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '.'));
    let words = words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\n of …\nThe above copyright notice and this permission notice shall be included",
        "MIT"
    )]
    #[case(
        "                                 Apache License\n                           Version 2.0, January 2004",
        "Apache-2.0"
    )]
    #[case("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "GPL-3.0")]
    #[case("GNU GENERAL PUBLIC LICENSE\n Version 2, June 1991", "GPL-2.0")]
    #[case("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", "LGPL-2.1")]
    #[case("Mozilla Public License Version 2.0\n====", "MPL-2.0")]
    #[case("Redistribution and use in source and binary forms, … Neither the name of", "BSD-3-Clause")]
    #[case("Redistribution and use in source and binary forms, with or without", "BSD-2-Clause")]
    #[case("This is free and unencumbered software released into the public domain.", "Unlicense")]
    #[case(
        "Permission to use, copy, modify, and/or distribute this software for any purpose … provided that the above\ncopyright notice",
        "ISC"
    )]
    #[case("All rights reserved.", UNRECOGNISED)]
    fn known_by_text(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(recognise(text), expected);
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
