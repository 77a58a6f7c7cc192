//! Reports for people, as Markdown: whatever a repository calls its files and people, it stays text in a table's cell.

use std::fmt::Write as _;

use jct_untrusted::names::{escaped, is_troublesome};

/// How many rows a table has at most, unless it says otherwise.
const MAX_ROWS: usize = 25;

/// A table with its title, of the first [`MAX_ROWS`] rows; nothing where there are none.
pub fn table<const N: usize>(
    out: &mut String,
    title: &str,
    columns: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
) {
    let all = rows.len();
    table_of(out, title, columns, rows, MAX_ROWS, all);
}

/// A table with its title, of `max_rows` rows, of which there are `all` in truth; nothing where there are none.
pub fn table_of<const N: usize>(
    out: &mut String,
    title: &str,
    columns: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
    max_rows: usize,
    all: usize,
) {
    if rows.len() == 0 {
        return;
    }
    let shown = rows.len().min(max_rows);
    let _ = writeln!(out, "\n## {title}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(N));
    for row in rows.take(max_rows) {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    if all > shown {
        let _ = writeln!(out, "\n{} more are not shown.", n((all - shown) as u64));
    }
}

/// Free text: every character that Markdown could take for markup is escaped.
pub fn text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_ascii_punctuation() && !matches!(c, ',' | '/' | '\'' | '"' | ';' | '%') => out.extend(['\\', c]),
            c if is_troublesome(c) => out.push_str(&escaped(c.encode_utf8(&mut [0; 4]).as_bytes())),
            c => out.push(c),
        }
        out
    })
}

/// A code span: nothing in it is markup but backticks, and in a table the pipe.
pub fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let plain = escaped(text.as_bytes()).replace('`', "%60").replace('|', "\\|");
    // A span of blanks alone or with blanks at an end would lose them.
    format!("`{}`", if plain.trim() == plain { plain } else { plain.replace(' ', "%20") })
}

/// A number with thin groups of three digits.
pub fn n(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in the greatest unit that leaves at least 1 of it.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = "B";
    for next in units {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0")]
    #[case(999, "999")]
    #[case(1000, "1,000")]
    #[case(1_234_567, "1,234,567")]
    fn numbers_are_grouped(#[case] number: u64, #[case] expected: &str) {
        assert_eq!(n(number), expected);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([size(0), size(1023), size(1536), size(4 << 30)], ["0 B", "1023 B", "1.5 KiB", "4.0 GiB"]);
    }

    #[test]
    fn markup_in_names_stays_text() {
        assert_eq!(text("**x** <b> [a](b) | `c`"), "\\*\\*x\\*\\* &lt;b&gt; \\[a\\]\\(b\\) \\| \\`c\\`");
        assert_eq!(code("a|b`c\n</td>"), "`a\\|b%60c%0A</td>`");
    }

    proptest! {
        #[test]
        fn no_cell_leaves_its_row(name in any::<String>()) {
            for cell in [text(&name), code(&name)] {
                prop_assert!(!cell.chars().any(|c| c != '\\' && is_troublesome(c)), "{cell:?}");
                // Every pipe is escaped: an odd number of backslashes stands before it.
                for (at, _) in cell.match_indices('|') {
                    let slashes = cell[..at].chars().rev().take_while(|c| *c == '\\').count();
                    prop_assert!(slashes % 2 == 1, "{cell:?}");
                }
            }
            let span = code(&name);
            prop_assert!(span.matches('`').count() == 2 || span.is_empty());
        }
    }
}
