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
    let document = Document::parse("Intro\n\n## Part `one` [x](y)\n\nThe *Title*\n=====\n\n# Again\n\n## Part one x\n");
    assert_eq!(document.title.as_deref(), Some("The Title"));
    let headings: Vec<_> = document.headings.iter().map(|h| (h.level, h.anchor.as_str(), h.line)).collect();
    assert_eq!(headings, [(2, "part-one-x", 3), (1, "the-title", 5), (1, "again", 8), (2, "part-one-x-1", 10)]);
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
