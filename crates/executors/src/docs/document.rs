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
#[path = "document_tests.rs"]
mod tests;
