//! The elements of an XML document, as far as counting them needs. Pure.

/// Deeper documents are not read.
const MAX_DEPTH: usize = 100;

/// Every element, as the names from the root to it; none if the document is malformed. Comments, CDATA, declarations and
/// processing instructions are none.
pub fn elements(text: &str) -> Option<Vec<Vec<String>>> {
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = rest.get(start + 1..)?;
        let skipped = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>"), ("!", ">")];
        if let Some((beginning, end)) = skipped.into_iter().find(|(beginning, _)| rest.starts_with(beginning)) {
            rest = rest.get(beginning.len()..)?.split_once(end)?.1;
            continue;
        }
        let end = end_of_tag(rest)?;
        let tag = rest.get(..end)?;
        rest = rest.get(end + 1..)?;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop()? != local(name.trim()) {
                return None;
            }
            continue;
        }
        let is_empty = tag.ends_with('/');
        let name = tag.trim_end_matches('/').split(char::is_whitespace).next().filter(|name| !name.is_empty())?;
        open.push(local(name).to_owned());
        if open.len() > MAX_DEPTH {
            return None;
        }
        found.push(open.clone());
        if is_empty {
            open.pop();
        }
    }
    open.is_empty().then_some(found)
}

/// Where a tag ends: a `>` in the value of an attribute is not it.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    text.char_indices().find_map(|(at, c)| match (quote, c) {
        (None, '>') => Some(at),
        (None, '"' | '\'') => {
            quote = Some(c);
            None
        }
        (Some(open), _) if open == c => {
            quote = None;
            None
        }
        _ => None,
    })
}

/// A name without its namespace's prefix.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Option<Vec<String>> {
        elements(text).map(|found| found.iter().map(|path| path.join("/")).collect())
    }

    #[test]
    fn elements_are_those_of_the_document() {
        let text = "<?xml version='1.0'?><!DOCTYPE a><!-- <no/> --><a x='>'>\n<b/><m:c>t</m:c ><![CDATA[<no>]]></a>";
        assert_eq!(names(text).unwrap(), ["a", "a/b", "a/c"]);
    }

    #[test]
    fn what_is_malformed_has_none() {
        for text in ["<a>", "</a>", "<a></b>", "<a", "<!-- <a/>", "< />"] {
            assert_eq!(names(text), None, "{text}");
        }
        assert_eq!(names(&"<a>".repeat(10_000)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(<a>|</a>|<!--|-->|[<>/'\"a!?é ]){0,40}") {
            names(&text);
        }
    }
}
