//! A file's documents, as kubectl takes them apart (`k8s.io/apimachinery/pkg/util/yaml/decoder.go`): a file that begins with `{` is
//! a sequence of JSON values, until one can't be read; anything else is YAML, a document for each line that begins with `---`.

use std::panic::catch_unwind;

use super::json::Problem;
use super::{Document, Unreadable, json, yaml};

/// Only so far it is looked for the `{`.
const PEEKED: usize = 4096;

/// The documents with their numbers, and what stands in the way of the rest.
pub(super) fn documents(bytes: &[u8]) -> (Vec<(usize, Document)>, Option<Unreadable>) {
    let text = decoded(bytes);
    let mut found = Vec::new();
    let mut rest = text.as_str();
    let mut no_json = None;
    if begins_like_json(rest) {
        loop {
            match json::first(rest) {
                None => return (found, None),
                Some(Ok((document, length))) => {
                    found.push((found.len() + 1, document));
                    rest = &rest[length..];
                }
                // Only after two is it certain that there is no YAML here.
                Some(Err(Problem::NoJson(problem))) if found.len() <= 1 => {
                    no_json = Some((found.len() + 1, problem));
                    break;
                }
                Some(Err(Problem::NoJson(problem) | Problem::Bad(problem))) => {
                    let document = found.len() + 1;
                    return (found, Some(Unreadable { document, problem }));
                }
            }
        }
        rest = without_blank_start(rest);
    }
    let before = found.len();
    let lines = text[..text.len() - rest.len()].matches('\n').count() as u64;
    for (index, chunk) in chunks(rest, lines).into_iter().enumerate() {
        let number = before + index + 1;
        let read = chunk.and_then(|chunk| {
            // The parser gives up by a panic where kubectl's refuses a tag before a comma.
            let read = catch_unwind(|| yaml::document(&chunk.text, chunk.line));
            read.unwrap_or_else(|_| Err("the parser of YAML gives up: is a tag (!) without a value in it?".into()))
        });
        match read {
            Ok(document) => found.push((number, document)),
            Err(problem) => {
                // What looks like JSON is told of as JSON, if it is neither.
                let no_json = no_json.filter(|(document, _)| *document == number);
                let problem = no_json.map_or(problem, |(_, problem)| problem);
                return (found, Some(Unreadable { document: number, problem }));
            }
        }
    }
    (found, None)
}

/// By the mark that a file begins with; without one it is UTF-8, and what is none can't be shown.
fn decoded(bytes: &[u8]) -> String {
    let units = |read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn begins_like_json(text: &str) -> bool {
    let start = text.trim_start();
    start.starts_with('{') && text.len() - start.len() < PEEKED
}

/// Blanks after a JSON value belong to it, to the end of the line.
fn without_blank_start(text: &str) -> &str {
    let blanks = text.len() - text.trim_start().len();
    match text[..blanks].find('\n') {
        Some(end) => &text[end + 1..],
        None => &text[blanks..],
    }
}

/// The text of a document, and the line on which it begins, counted from 0.
struct Chunk {
    text: String,
    line: u64,
}

/// What stands between the lines that begin with `---`, of `text`, which begins on the line `first`.
fn chunks(text: &str, first: u64) -> Vec<Result<Chunk, String>> {
    let mut chunks = Vec::new();
    let mut chunk = Chunk { text: String::new(), line: first };
    for (line, number) in text.lines().zip(first..) {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                if !chunk.text.is_empty() {
                    chunks.push(Ok(chunk));
                }
                chunks.push(Err(format!("line {}: kubectl takes nothing beside --- but a comment", number + 1)));
                return chunks;
            }
            if !chunk.text.is_empty() {
                let next = Chunk { text: String::new(), line: number + 1 };
                chunks.push(Ok(std::mem::replace(&mut chunk, next)));
                continue;
            }
        }
        chunk.text.push_str(line);
        chunk.text.push('\n');
    }
    if !chunk.text.is_empty() {
        chunks.push(Ok(chunk));
    }
    chunks
}
