//! Text that comes in pieces, harmless line by line.

use jct_domain::shown::plain_lines;

/// The longest line that is waited for, in bytes: a longer one is shown in parts.
const MOST: usize = 64 << 10;

/// Makes what is shown of pieces.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Takes a piece; what can be shown with it.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.buffer.extend_from_slice(piece);
        let whole = match self.buffer.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.buffer.len() > MOST => self.buffer.len(),
            None => return String::new(),
        };
        let text: Vec<u8> = self.buffer.drain(..whole).collect();
        shown(&text)
    }

    /// What is left at the end.
    pub fn rest(&mut self) -> String {
        shown(&std::mem::take(&mut self.buffer))
    }
}

/// Text of others as it can be shown: line ends and tabs stay.
pub fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\t', "        ");
    plain_lines(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal_however_it_is_cut() {
        let text = "a\u{1b}[2Jb\r\nc\u{9b}31m\u{202e}d\tö\nlast\u{1b}]0;title\u{7}";
        for size in [1, 2, 3, 100] {
            let mut lines = Lines::default();
            let mut all: String = text.as_bytes().chunks(size).map(|piece| lines.push(piece)).collect();
            all.push_str(&lines.rest());
            assert_eq!(all, "a\\u{1b}[2Jb\nc\\u{9b}31m\\u{202e}d        ö\nlast\\u{1b}]0;title\\u{7}", "{size}");
        }
        let mut lines = Lines::default();
        assert!(lines.push(&[b'x'; MOST + 1]).len() > MOST, "a line without an end is shown all the same");
    }
}
