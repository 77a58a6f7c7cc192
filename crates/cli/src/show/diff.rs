//! A patch, in colours.

use super::{Style, lines};

/// The patch as it is shown: lines that go are red, lines that come green, places cyan.
pub fn shown(patch: &[u8], style: Style) -> String {
    let mut text = String::new();
    let mut in_hunk = false;
    for line in lines::shown(patch).split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let is_head = line.starts_with("diff --git ");
        in_hunk = (in_hunk || line.starts_with("@@ ")) && !is_head;
        text.push_str(&match line.chars().next() {
            _ if is_head => style.bold(line),
            Some('@') if line.starts_with("@@ ") => style.cyan(line),
            Some('+') if in_hunk => style.green(line),
            Some('-') if in_hunk => style.red(line),
            Some(' ') | None => line.to_owned(),
            _ if !in_hunk => style.bold(line),
            _ => line.to_owned(),
        });
        text.push_str(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n one\n-two\u{1b}[2J\n+zwei\n--- not a head\ndiff --git a/y b/y\nnew file mode 100644\n";

    #[test]
    fn a_patch_is_coloured_by_what_its_lines_do() {
        let colourful = shown(PATCH.as_bytes(), Style { colour: true, is_terminal: true });
        insta::assert_snapshot!(colourful.replace('\u{1b}', "ESC"));
        let plain = shown(PATCH.as_bytes(), Style::default());
        assert_eq!(plain, PATCH.replace('\u{1b}', "\\u{1b}"));
    }
}
