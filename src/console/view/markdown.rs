//! A report in Markdown, as markup: ours alone. HTML in it is text, pictures are links, and links lead to web pages.

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::plain_lines;

/// How deep lists and quotes go; what is deeper stands where that ends.
const DEPTH: usize = 16;

/// The markup of `text`.
pub fn rendered(text: &str) -> String {
    let text = plain_lines(text);
    let parser =
        Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS);
    let mut sanitizer = Sanitizer::default();
    let mut markup = String::new();
    html::push_html(&mut markup, parser.filter_map(|event| sanitizer.sanitize(event)));
    markup
}

/// Lets events pass of which the markup is harmless. Each tag that is opened and left out is left out where it closes.
#[derive(Default)]
struct Sanitizer {
    /// Of each open tag whether it is shown.
    open: Vec<bool>,
}

impl Sanitizer {
    fn sanitize<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        match event {
            Event::Start(tag) => {
                let shown = self.open.len() < DEPTH;
                let tag = if shown { start(tag) } else { None };
                self.open.push(tag.is_some());
                tag.map(Event::Start)
            }
            Event::End(tag) => self.open.pop().unwrap_or_default().then(|| Event::End(end(tag))),
            Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
            Event::Text(_) | Event::Code(_) | Event::SoftBreak | Event::HardBreak | Event::Rule => Some(event),
            Event::TaskListMarker(done) => Some(Event::Text(CowStr::Borrowed(if done { "☑ " } else { "☐ " }))),
            // What is not asked for by an option.
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                Some(Event::Text(text))
            }
        }
    }
}

fn start(tag: Tag<'_>) -> Option<Tag<'_>> {
    match tag {
        Tag::Link { link_type, dest_url, id, .. } | Tag::Image { link_type, dest_url, id, .. } => {
            is_web(&dest_url).then_some(Tag::Link { link_type, dest_url, title: CowStr::Borrowed(""), id })
        }
        // The page has headings of its own; ids and classes are no report's to choose.
        Tag::Heading { level, .. } => Some(Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() }),
        // Alignment would be an inline style, which the page does not allow.
        Tag::Table(columns) => Some(Tag::Table(vec![Alignment::None; columns.len()])),
        Tag::CodeBlock(_) => Some(Tag::CodeBlock(pulldown_cmark::CodeBlockKind::Indented)),
        Tag::Paragraph
        | Tag::BlockQuote(_)
        | Tag::List(_)
        | Tag::Item
        | Tag::TableHead
        | Tag::TableRow
        | Tag::TableCell
        | Tag::Emphasis
        | Tag::Strong
        | Tag::Strikethrough => Some(tag),
        _ => None,
    }
}

fn end(tag: TagEnd) -> TagEnd {
    match tag {
        TagEnd::Image => TagEnd::Link,
        other => other,
    }
}

/// Whether a link leads to a page of the web, and no script, file or page of ours.
fn is_web(url: &str) -> bool {
    let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
    lower.starts_with("https://") || lower.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_report_is_rendered() {
        let report = "# Title\n\nSome *words* and `code`, [a link](https://example.org/?a=b&c).\n\n- one\n- two\n\n\
                      | a | b |\n|---|---:|\n| 1 | 2 |\n\n```rust\nfn main() {}\n```\n";
        insta::assert_snapshot!(rendered(report));
    }

    #[rstest]
    #[case("<script>alert(1)</script>")]
    #[case("a <img src=x onerror=alert(1)> b")]
    #[case("[x](javascript:alert(1))")]
    #[case("[x](JaVaScRiPt:alert(1))")]
    #[case("[x](data:text/html,<script>alert(1)</script>)")]
    #[case("[x](/console/sign-out)")]
    #[case("![x](https://tracker.example/pixel.png)")]
    #[case("![x](javascript:alert(1))")]
    #[case("<javascript:alert(1)>")]
    #[case("[x](https://example.org/\"onmouseover=\"alert(1))")]
    #[case("```\"><script>alert(1)</script>\nx\n```")]
    #[case("# x {#console .evil onclick=alert(1)}")]
    #[case("<style>*{display:none}</style>")]
    #[case("[x]: javascript:alert(1)\n\n[x]")]
    #[case("|<b>|\n|---|\n|<script>|")]
    fn markup_in_it_is_text(#[case] report: &str) {
        let markup = rendered(report);
        // Every tag is one of ours, without attributes but where links lead.
        let tags = regex::Regex::new("<[^>]*>").unwrap();
        let ours = regex::Regex::new(
            r#"^</?(p|h[1-6]|blockquote|ul|ol|li|table|thead|tbody|tr|th|td|em|strong|del|code|pre|br /|hr /)>$|^<a href="https?://[^"<>]*">$|^</a>$|^<ol start="\d+">$"#,
        )
        .unwrap();
        for tag in tags.find_iter(&markup) {
            assert!(ours.is_match(tag.as_str()), "{} in {markup}", tag.as_str());
        }
        let no_tags = tags.replace_all(&markup, "");
        assert!(!no_tags.contains(['<', '>']), "{markup}");
    }

    #[test]
    fn depth_is_bounded() {
        let markup = rendered(&"> ".repeat(5_000));
        assert!(markup.matches("<blockquote>").count() <= DEPTH && markup.len() < 10_000);
        let deep = rendered(&format!("{}text", "> ".repeat(40)));
        assert!(deep.contains("text"), "{deep}");
    }
}
