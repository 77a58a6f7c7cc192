//! Text of others, shown to people: nothing in it may act on the terminal, or change how what stands around it reads.

/// Whether `c` could change how the text around it is shown: controls, line separators, direction marks, zero widths,
/// and the backslash.
pub fn is_troublesome(c: char) -> bool {
    c.is_control()
        || matches!(c, '\\' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line, harmless: line ends and tabs are spaces, what else is troublesome stands there as its number, such as
/// `\u{1b}`. Backslashes stay as they are.
pub fn plain(text: &str) -> String {
    escaped(text, |_| false)
}

/// The same of a text that may have several lines.
pub fn plain_lines(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// The first `most` characters of `text`, and a mark where there are more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A JSON document, harmless: what is troublesome in its strings is written as JSON's own escapes, and means the same.
pub fn plain_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Line ends and backslashes are JSON's own here: within strings they are escaped already.
        if matches!(c, '\\' | '\n') || !is_troublesome(c) {
            shown.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        }
    }
    shown
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if stays(c) || c == '\\' || !is_troublesome(c) => shown.push(c),
            '\n' | '\r' | '\t' => shown.push(' '),
            c => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "a\u{1b}[2Jb\u{9b}c\r\n\u{202e}d\u{200b}e\u{7f}\u{e0041}ö\\n";

    #[test]
    fn nothing_acts_on_a_terminal() {
        let expected = r"a\u{1b}[2Jb\u{9b}c  \u{202e}d\u{200b}e\u{7f}\u{e0041}ö\n";
        assert_eq!(plain(BAD), expected);
        assert_eq!(plain_lines("a\nb\r\n"), "a\nb \n");
    }

    #[test]
    fn json_means_the_same() {
        let json = serde_json::to_string_pretty(&serde_json::json!({ "note": BAD })).unwrap();
        assert!(json.contains('\u{202e}'), "a control: serde_json lets it through");
        let shown = plain_json(&json);
        assert!(!shown.chars().any(|c| !matches!(c, '\\' | '\n') && is_troublesome(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["note"], BAD);
    }
}
