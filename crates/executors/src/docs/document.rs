//! One Markdown document: its headings, anchors and links. Pure.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{BrokenLink, Event, LinkType, MetadataBlockKind, Options, Parser, Tag, TagEnd};
use regex::Regex;

use super::slug::Slugger;
use jct_untrusted::names::shorten;

/// More links of a document are not looked at.
pub const MAX_LINKS: usize = 5000;
/// More headings of a document are not looked at.
pub const MAX_HEADINGS: usize = 5000;
/// Longer destinations are not looked at, in bytes.
pub const MAX_DESTINATION_BYTES: usize = 1024;
/// The greatest length of a heading, in characters; its anchor is that of all of it.
const MAX_HEADING_CHARS: usize = 200;

/// What a document has.
#[derive(Debug, Default)]
pub struct Document {
    /// What its front matter says, its first heading of the first level, or the heading that it begins with.
    pub title: Option<String>,
    /// In order.
    pub headings: Vec<Heading>,
    /// Those of headings, and those set by hand.
    pub anchors: HashSet<String>,
    /// In order.
    pub links: Vec<Link>,
    /// Labels of links that are defined nowhere, with their lines.
    pub undefined: Vec<(String, u64)>,
    /// Whether something was left out because of a limit.
    pub in_part: bool,
}

/// A heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// 1 to 6.
    pub level: u8,
    /// Without markup.
    pub text: String,
    /// As GitHub makes it.
    pub anchor: String,
    /// From 1.
    pub line: u64,
}

/// A link or an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As written.
    pub destination: String,
    /// From 1.
    pub line: u64,
    /// Whether it is an image without a text for those who can't see it.
    pub blind_image: bool,
}

impl Document {
    /// Reads `text`.
    pub fn parse(text: &str) -> Self {
        let lines = Lines::of(text);
        let mut undefined = Vec::new();
        // Only `[text][label]` says for sure that a link was meant.
        let mut note = |link: BrokenLink<'_>| {
            if link.link_type == LinkType::Reference && undefined.len() < MAX_LINKS {
                undefined.push((shorten(&link.reference, MAX_HEADING_CHARS), lines.at(link.span.start)));
            }
            None
        };
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
        let parser = Parser::new_with_broken_link_callback(text, options, Some(&mut note));
        let mut reader = Reader::new(&lines);
        for (event, range) in parser.into_offset_iter() {
            reader.event(event, range);
        }
        let mut document = reader.document;
        document.undefined = undefined;
        document
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect())
    }

    /// The line of the byte at `offset`, from 1.
    fn at(&self, offset: usize) -> u64 {
        self.0.partition_point(|start| *start <= offset) as u64 + 1
    }
}

struct Reader<'a> {
    lines: &'a Lines,
    document: Document,
    slugger: Slugger,
    /// Level, line and text of the heading that is being read.
    heading: Option<(u8, u64, String)>,
    code: bool,
    metadata: bool,
    /// Whether there was text outside of headings, links and images.
    prose: bool,
    title_level: Option<u8>,
    inside_link: usize,
    /// Images that are being read: where they are in the list of links, if they are.
    images: Vec<Option<usize>>,
    html: Option<(String, u64)>,
}

impl<'a> Reader<'a> {
    fn new(lines: &'a Lines) -> Self {
        Self {
            lines,
            document: Document::default(),
            slugger: Slugger::default(),
            heading: None,
            code: false,
            metadata: false,
            prose: false,
            title_level: None,
            inside_link: 0,
            images: Vec::new(),
            html: None,
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        let line = self.lines.at(range.start);
        match event {
            Event::Start(tag) => self.start(tag, line),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.metadata => self.front_matter(&text),
            Event::Text(text) => self.text(&text, line),
            Event::Code(text) => {
                self.heading_text(&text);
                self.see_image(&text);
            }
            Event::Html(text) => match &mut self.html {
                Some((html, _)) => html.push_str(&text),
                None => self.html(&text, line),
            },
            Event::InlineHtml(text) => self.html(&text, line),
            Event::SoftBreak | Event::HardBreak => self.heading_text(" "),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>, line: u64) {
        match tag {
            Tag::Heading { level, .. } => self.heading = Some((level as u8, line, String::new())),
            Tag::CodeBlock(_) => self.code = true,
            Tag::MetadataBlock(MetadataBlockKind::YamlStyle) => self.metadata = true,
            Tag::HtmlBlock => self.html = Some((String::new(), line)),
            Tag::Link { link_type, dest_url, .. } => {
                self.inside_link += 1;
                if link_type != LinkType::Email {
                    self.link(&dest_url, line, false);
                }
            }
            Tag::Image { dest_url, .. } => {
                let at = self.link(&dest_url, line, true);
                self.images.push(at);
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.end_heading(),
            TagEnd::CodeBlock => self.code = false,
            TagEnd::MetadataBlock(_) => self.metadata = false,
            TagEnd::HtmlBlock => {
                if let Some((html, line)) = self.html.take() {
                    self.html(&html, line);
                }
            }
            TagEnd::Link => self.inside_link = self.inside_link.saturating_sub(1),
            TagEnd::Image => drop(self.images.pop()),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, line: u64) {
        self.heading_text(text);
        self.see_image(text);
        self.prose |=
            self.heading.is_none() && self.inside_link == 0 && self.images.is_empty() && !text.trim().is_empty();
        if self.inside_link == 0
            && !self.code
            && self.images.is_empty()
            && let Some(patterns) = &*PATTERNS
        {
            for url in patterns.url.find_iter(text) {
                self.link(url.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?']), line, false);
            }
        }
    }

    /// Text for those who can't see the image that it is in.
    fn see_image(&mut self, text: &str) {
        if let Some(Some(at)) = self.images.last()
            && !text.trim().is_empty()
            && let Some(image) = self.document.links.get_mut(*at)
        {
            image.blind_image = false;
        }
    }

    fn heading_text(&mut self, text: &str) {
        if let Some((_, _, heading)) = self.heading.as_mut().filter(|_| self.images.is_empty()) {
            heading.push_str(text);
        }
    }

    fn end_heading(&mut self) {
        let Some((level, line, text)) = self.heading.take() else { return };
        self.add_heading(level, line, &text);
    }

    /// The first heading of the first level is the title; or else a heading that all else comes after.
    fn add_heading(&mut self, level: u8, line: u64, text: &str) {
        let Document { title, headings, anchors, in_part, .. } = &mut self.document;
        if headings.len() >= MAX_HEADINGS {
            *in_part = true;
            return;
        }
        let anchor = self.slugger.slug(text);
        let text = shorten(text.trim(), MAX_HEADING_CHARS);
        let is_title = match level {
            1 => self.title_level != Some(1),
            _ => title.is_none() && headings.is_empty() && !self.prose,
        };
        if is_title && !text.is_empty() {
            *title = Some(text.clone());
            self.title_level = Some(level);
        }
        anchors.insert(anchor.clone());
        headings.push(Heading { level, text, anchor, line });
    }

    /// Notes a link; gives where it is in the list.
    fn link(&mut self, destination: &str, line: u64, blind_image: bool) -> Option<usize> {
        let fits = destination.len() <= MAX_DESTINATION_BYTES && self.document.links.len() < MAX_LINKS;
        if !fits {
            // Images may be written into their links; that is no link to look at.
            self.document.in_part |= !destination.starts_with("data:");
            return None;
        }
        self.document.links.push(Link { destination: destination.into(), line, blind_image });
        Some(self.document.links.len() - 1)
    }

    /// `title:` of the front matter.
    fn front_matter(&mut self, text: &str) {
        let title = text.lines().find_map(|line| line.strip_prefix("title:"));
        let title = title.map(|title| title.trim().trim_matches(['"', '\'']));
        if let Some(title) = title.filter(|title| !title.is_empty()) {
            self.document.title = Some(shorten(title, MAX_HEADING_CHARS));
            self.title_level = Some(1);
        }
    }

    /// Anchors, links and images that are written as HTML.
    fn html(&mut self, html: &str, line: u64) {
        let Some(Patterns { comment, heading: headings, tag: tags, attribute: attributes_of, url: _ }) = &*PATTERNS
        else {
            return;
        };
        let html = comment.replace_all(html, |comment: &regex::Captures<'_>| {
            "\n".repeat(comment.get(0).map_or(0, |comment| comment.as_str().matches('\n').count()))
        });
        for found in headings.captures_iter(&html) {
            let (Some(whole), Some(level), Some(text)) = (found.get(0), found.get(1), found.get(2)) else { continue };
            let text = tags.replace_all(text.as_str(), "");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            self.add_heading(level.as_str().parse().unwrap_or(1), line + lines_before(&html, whole.start()), &text);
        }
        for tag in tags.captures_iter(&html) {
            let (Some(whole), Some(name), Some(attributes)) = (tag.get(0), tag.get(1), tag.get(2)) else { continue };
            let line = line + lines_before(&html, whole.start());
            let name = name.as_str().to_ascii_lowercase();
            let mut source = None;
            let mut alt = false;
            for attribute in attributes_of.captures_iter(attributes.as_str()) {
                let value = (2..=4).find_map(|group| attribute.get(group)).map_or("", |value| value.as_str());
                match attribute.get(1).map_or("", |key| key.as_str()).to_ascii_lowercase().as_str() {
                    "id" | "name" => drop(self.document.anchors.insert(value.into())),
                    "href" if name == "a" => source = Some(value.replace("&amp;", "&")),
                    "src" if name == "img" => source = Some(value.replace("&amp;", "&")),
                    "alt" => alt = true,
                    _ => {}
                }
            }
            if let Some(source) = source {
                self.link(&source, line, name == "img" && !alt);
            }
        }
    }
}

/// The lines that end in `text` before `offset`.
fn lines_before(text: &str, offset: usize) -> u64 {
    text.get(..offset).map_or(0, |before| before.matches('\n').count() as u64)
}

/// Plain classes only: the tables of Unicode are not built in.
struct Patterns {
    comment: Regex,
    heading: Regex,
    tag: Regex,
    attribute: Regex,
    url: Regex,
}

impl Patterns {
    fn compile() -> Result<Self, regex::Error> {
        Ok(Self {
            comment: Regex::new(r"(?s:<!--.*?-->)")?,
            heading: Regex::new(r"(?s:<[hH]([1-6])(?:[ \t\r\n][^>]*)?>(.*?)</[hH][1-6]>)")?,
            tag: Regex::new(r"</?([A-Za-z][A-Za-z0-9-]*)([ \t\r\n][^<>]*)?/?>")?,
            attribute: Regex::new(r#"([A-Za-z-]+)[ \t\r\n]*=[ \t\r\n]*(?:"([^"]*)"|'([^']*)'|([^ \t\r\n"'>]+))"#)?,
            url: Regex::new(r#"https?://[^ \t\r\n<>"'()\[\]{}`|\\]+"#)?,
        })
    }
}

/// That they compile is tested.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::compile().ok());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(text: &str) -> Vec<(String, u64)> {
        Document::parse(text).links.into_iter().map(|link| (link.destination, link.line)).collect()
    }

    #[test]
    fn every_pattern_compiles() {
        Patterns::compile().unwrap();
    }

    #[test]
    fn headings_have_anchors_and_the_first_is_the_title() {
        let document =
            Document::parse("Intro\n\n## Part `one` [x](y)\n\nThe *Title*\n=====\n\n# Again\n\n## Part one x\n");
        assert_eq!(document.title.as_deref(), Some("The Title"));
        let told: Vec<_> = document.headings.iter().map(|h| (h.level, h.anchor.as_str(), h.line)).collect();
        assert_eq!(told, [(2, "part-one-x", 3), (1, "the-title", 5), (1, "again", 8), (2, "part-one-x-1", 10)]);
    }

    #[test]
    fn titles_are_found_in_front_matter_and_html() {
        assert_eq!(Document::parse("---\ntitle: \"Hello\"\nx: 1\n---\ntext\n").title.as_deref(), Some("Hello"));
        let html = "<div align=\"center\">\n<h1 align=\"center\">\n  <img src=\"logo.png\"> My\n tool</h1></div>\n";
        assert_eq!(Document::parse(html).title.as_deref(), Some("My tool"));
        assert_eq!(Document::parse("[![b](b.svg)](x)\n\nTool\n----\n\n## More\n").title.as_deref(), Some("Tool"));
        assert_eq!(Document::parse("## Part\n\n# Title\n\n# Other\n").title.as_deref(), Some("Title"));
        assert_eq!(Document::parse("Text.\n\n## Only this\n").title, None);
    }

    #[test]
    fn links_of_every_form_are_found_with_their_lines() {
        let text = "[a](a.md)\n![pic](p.png \"t\")\n[b][ref] and [ref]\n\n[ref]: <b c.md>\n\n<https://auto.example>\n\
            see https://bare.example/x.\n\n<a href='h.md'>x</a> <img src=\"i.png\">\n\n| [t](t.md) |\n|---|\n";
        let expected = [
            ("a.md", 1),
            ("p.png", 2),
            ("b c.md", 3),
            ("b c.md", 3),
            ("https://auto.example", 7),
            ("https://bare.example/x", 8),
            ("h.md", 10),
            ("i.png", 10),
            ("t.md", 12),
        ];
        assert_eq!(links(text), expected.map(|(destination, line)| (destination.to_owned(), line)));
    }

    #[test]
    fn code_comments_and_mail_are_no_links() {
        let text = "`[a](a.md)`\n\n    [b](b.md)\n\n```\n[c](c.md) https://x.example\n```\n\n<!-- [d](d.md)\n<a href='e.md'> -->\n\n<me@example.org>\n";
        assert_eq!(links(text), []);
    }

    #[test]
    fn anchors_by_hand_count() {
        let document = Document::parse(
            "<a id=\"one\"></a>\n\ntext <a name='two'></a> <div data-id=\"no\">\n\n# Three\n\n<h3 name=\"four\">\nPart 5?\n</h3>\n",
        );
        assert_eq!(document.headings.last().unwrap().line, 7);
        let mut anchors: Vec<_> = document.anchors.iter().map(String::as_str).collect();
        anchors.sort_unstable();
        assert_eq!(anchors, ["four", "one", "part-5", "three", "two"]);
    }

    #[test]
    fn labels_that_are_defined_nowhere_are_told() {
        let document = Document::parse("- [ ] todo [1] [x]\n\n[text][nowhere] [here][]\n");
        assert_eq!(document.undefined, [("nowhere".to_owned(), 3)]);
    }

    #[test]
    fn images_without_a_text_are_told() {
        let document = Document::parse("![](a.png) ![b](b.png) ![`c`](c.png) <img src=d.png> <img src=e.png alt=''>\n");
        let blind: Vec<_> = document.links.iter().map(|link| link.blind_image).collect();
        assert_eq!(blind, [true, false, false, true, false]);
    }

    #[test]
    fn deep_and_endless_documents_are_survived() {
        for text in [
            ">".repeat(200_000),
            "[".repeat(200_000),
            "- ".repeat(50_000),
            "*a **b ".repeat(30_000),
            "<a ".repeat(60_000),
            "<!--".repeat(50_000),
            "![".repeat(60_000),
            format!("[a]: <{}>\n\n{}", "x".repeat(1000), "[a] ".repeat(50_000)),
            "# a\n".repeat(30_000),
        ] {
            let document = Document::parse(&text);
            assert!(document.links.len() <= MAX_LINKS && document.headings.len() <= MAX_HEADINGS);
        }
        assert!(Document::parse(&"[a](b) ".repeat(MAX_LINKS + 1)).in_part);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([ -~\n]|# |\\[|\\]\\(|<a href=|<!--|```|é|\u{0}){0,80}") {
            Document::parse(&text);
        }
    }
}
