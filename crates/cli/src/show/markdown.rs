//! A report in Markdown, for a terminal. HTML in it is text, and links tell where they lead.

use jct_domain::shown::plain;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::Style;
use super::lines;

/// How deep lists and quotes are shown; what is deeper stands where that ends.
const DEPTH: usize = 8;

/// The report as it is shown.
pub fn shown(report: &[u8], style: Style) -> String {
    // Harmless before it is read: what the marks leave is text.
    let text = lines::shown(report);
    let mut writer = Writer { style, ..Writer::default() };
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        writer.take(event);
    }
    writer.finish()
}

#[derive(Default)]
struct Writer {
    style: Style,
    out: String,
    /// The paragraph that is being read.
    line: String,
    /// What stands before each line of it.
    prefixes: Vec<String>,
    /// Of each list that is open the next number; none for one without numbers.
    lists: Vec<Option<u64>>,
    /// Before the first line of an item.
    mark: Option<String>,
    heading: Option<HeadingLevel>,
    link: Option<String>,
    in_code: bool,
    table: Vec<Vec<String>>,
    in_table: bool,
    emphasis: Vec<&'static str>,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code => self.code(&text),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => {
                let code = plain(&code);
                let shown = if self.in_table { code } else { self.style.cyan(&code) };
                self.line.push_str(&shown);
            }
            Event::Html(html) | Event::InlineHtml(html) => self.text(&html),
            Event::SoftBreak => self.line.push(' '),
            Event::HardBreak => self.flush(),
            Event::Rule => {
                self.gap();
                self.put(&"─".repeat(40));
            }
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.gap();
                self.heading = Some(level);
            }
            Tag::Paragraph => self.gap_unless_in_item(),
            Tag::BlockQuote(_) => {
                self.gap();
                self.prefixes.push("│ ".to_owned());
            }
            Tag::CodeBlock(kind) => {
                self.gap_unless_in_item();
                self.in_code = true;
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.is_empty()
                {
                    self.line = plain(&language);
                    self.flush();
                }
                self.prefixes.push("    ".to_owned());
            }
            Tag::List(first) => {
                self.flush();
                if self.lists.is_empty() {
                    self.gap();
                }
                self.lists.push(first);
            }
            Tag::Item => {
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let mark = format!("{number}. ");
                        *number += 1;
                        mark
                    }
                    _ => "• ".to_owned(),
                };
                self.prefixes.push(" ".repeat(mark.chars().count()));
                self.mark = Some(mark);
            }
            Tag::Table(_) => {
                self.gap();
                (self.in_table, self.table) = (true, Vec::new());
            }
            Tag::TableHead | Tag::TableRow => self.table.push(Vec::new()),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.link = Some(plain(&dest_url)),
            Tag::Strong => self.emphasis.push("1"),
            Tag::Emphasis => self.emphasis.push("3"),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                let line = std::mem::take(&mut self.line);
                self.line = self.style.bold(&line);
                self.flush();
                self.heading = None;
            }
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.prefixes.pop();
            }
            TagEnd::CodeBlock => {
                self.flush();
                self.prefixes.pop();
                self.in_code = false;
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
            }
            TagEnd::Item => {
                self.flush();
                self.mark = None;
                self.prefixes.pop();
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.line);
                self.table.last_mut().into_iter().for_each(|row| row.push(cell.trim().to_owned()));
            }
            TagEnd::Table => self.write_table(),
            TagEnd::Link | TagEnd::Image => {
                let target = self.link.take().unwrap_or_default();
                // A text that is another address than where it leads is told with that.
                if !target.is_empty() && !self.line.ends_with(&target) {
                    self.line.push_str(&format!(" ({target})"));
                }
            }
            TagEnd::Strong | TagEnd::Emphasis => drop(self.emphasis.pop()),
            TagEnd::Paragraph => self.flush(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let text = plain(text);
        let shown = match self.emphasis.last() {
            Some(code) if self.heading.is_none() && !self.in_table => self.style.in_code(code, &text),
            _ => text,
        };
        self.line.push_str(&shown);
    }

    fn code(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            self.line.push_str(line.trim_end_matches('\n'));
            if line.ends_with('\n') {
                let line = std::mem::take(&mut self.line);
                self.put(&line);
            }
        }
    }

    /// Ends the line that is being read, if there is something on it.
    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.trim().is_empty() {
            self.put(line.trim_end());
        }
    }

    fn put(&mut self, line: &str) {
        let mark = self.mark.take();
        let depth = self.prefixes.len().min(DEPTH);
        let own = usize::from(mark.is_some());
        let before: String = self.prefixes.iter().take(depth.saturating_sub(own)).cloned().collect();
        self.out.push_str(format!("{before}{}{line}", mark.unwrap_or_default()).trim_end());
        self.out.push('\n');
    }

    /// An empty line before what comes, unless there is one.
    fn gap(&mut self) {
        self.flush();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn gap_unless_in_item(&mut self) {
        if self.lists.is_empty() {
            self.gap();
        } else {
            self.flush();
        }
    }

    fn write_table(&mut self) {
        self.in_table = false;
        let rows = std::mem::take(&mut self.table);
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                let padded = format!("{cell}{}", " ".repeat(width - cell.chars().count()));
                if index == 0 { self.style.bold(&padded) } else { padded }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            self.put(&line);
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                self.put(&rule.join("  "));
            }
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "# Analysis of *octo*/hello\n\n> Look around\n\nCommit `b34e` (`main`), **the whole**\nrepository.\n\n\
        | What | Found |\n|---|---|\n| Files | 1, 8 B |\n| Größe | `x` |\n\n1. one\n2. two\n   - deep\n   - deeper\n\n\
        ```rust\nfn main() {\n    x();\n}\n```\n\n[here](https://example.org/) <https://example.org/> ![a picture](x.png)\n\n---\n<b>bold</b>\n";

    #[test]
    fn a_report_reads_on_a_terminal() {
        insta::assert_snapshot!(shown(REPORT.as_bytes(), Style::default()));
        insta::assert_snapshot!(
            "coloured",
            shown(REPORT.as_bytes(), Style { colour: true, is_terminal: true }).replace('\u{1b}', "ESC")
        );
    }

    #[test]
    fn a_hostile_report_rules_no_terminal() {
        let evil = "# a\u{1b}[2J\n\n`b\u{9b}31m` [x](http://e\u{202e}vil/\u{1b}]0;t\u{7}) &#27;[2J &#x202e;\n\n| \u{1b}[1m | &#27; |\n|---|---|\n| \u{7} | b |\n\n```\u{1b}[3m\n\u{1b}[4m\n```\n\n<script>\u{1b}</script>\n";
        let text = shown(evil.as_bytes(), Style::default());
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        assert!(text.contains("a\\u{1b}[2J") && text.contains("<script>"), "a control: {text}");
        let deep = "> ".repeat(5_000) + "x\n\n" + &"- ".repeat(5_000) + "y";
        assert!(shown(deep.as_bytes(), Style::default()).len() < 1 << 20);
        shown(&[0xff, 0xfe, b'#'], Style::default());
    }
}
