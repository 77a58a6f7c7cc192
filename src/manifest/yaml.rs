//! One YAML document as JSON: anchors, merges, tags and keys as go.yaml.in/yaml/v2 has them (`decode.go`).

use std::collections::{BTreeMap, BTreeSet};

use libyaml_safer::{Event, EventData, Mark, Parser};
use serde_json::{Map, Value};

use super::scalar::{Scalar, resolve};
use super::{Document, MAX_DEPTH, TOO_DEEP};

const MERGE_TAG: &str = "tag:yaml.org,2002:merge";
/// Beyond these a document is looked at for how much of it aliases repeat.
const FEW: (usize, usize) = (100, 1000);

type Result<T> = std::result::Result<T, String>;

/// The first document of `text`, which begins on the line `first` of its file, counted from 0; null if there is none.
///
/// # Errors
/// In words, with the line where that is known.
pub(super) fn document(text: &str, first: u64) -> Result<Document> {
    let mut composer = Composer { parser: Parser::new(), first, nodes: Vec::new(), anchors: BTreeMap::new() };
    composer.parser.set_input(text.as_bytes());
    let Some(root) = composer.root()? else { return Ok(Document { value: Value::Null, repeated: Vec::new() }) };
    let mut decoder = Decoder {
        nodes: &composer.nodes,
        open: BTreeSet::new(),
        decoded: 0,
        aliased: 0,
        depth: 0,
        repeated: Vec::new(),
    };
    let value = decoder.value(root, "", 0)?;
    Ok(Document { value, repeated: decoder.repeated })
}

enum Node {
    Scalar {
        value: Scalar,
        is_merge: bool,
    },
    Sequence(Vec<usize>),
    Mapping(Vec<(usize, usize)>),
    Alias {
        to: usize,
        name: String,
    },
    /// A sequence or mapping whose end is not yet read: an alias may be within.
    Open,
}

/// Makes nodes of what the parser says.
struct Composer<'a> {
    parser: Parser<&'a [u8]>,
    first: u64,
    nodes: Vec<Node>,
    anchors: BTreeMap<String, usize>,
}

impl Composer<'_> {
    fn next(&mut self) -> Result<Event> {
        self.parser.parse().map_err(|error| {
            let line = error.problem_mark().map(|mark| format!("line {}: ", self.line(mark))).unwrap_or_default();
            let context = error.context().map(|context| format!("{context}: ")).unwrap_or_default();
            format!("{line}{context}{}", error.problem())
        })
    }

    /// The line of the file, counted from 1.
    fn line(&self, mark: Mark) -> u64 {
        self.first + mark.line + 1
    }

    /// The root of the first document, if there is one. There must be no second.
    fn root(&mut self) -> Result<Option<usize>> {
        loop {
            match self.next()?.data {
                EventData::StreamStart { .. } => {}
                EventData::DocumentStart { .. } => break,
                _ => return Ok(None),
            }
        }
        let first = self.next()?;
        let root = self.node(first, 0)?;
        self.next()?;
        let place = match self.next() {
            Ok(Event { data: EventData::StreamEnd, .. }) => return Ok(Some(root)),
            Ok(Event { start_mark, .. }) => format!("line {}", self.line(start_mark)),
            Err(problem) => problem,
        };
        Err(format!(
            "{place}: kubectl reads nothing of what follows the end of a document (...): begin the next one with ---"
        ))
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<usize> {
        let line = self.line(event.start_mark);
        if depth > MAX_DEPTH {
            return Err(format!("line {line}: {TOO_DEEP}"));
        }
        match event.data {
            EventData::Scalar { anchor, tag, value, plain_implicit, .. } => {
                let is_merge = value == "<<" && (plain_implicit || tag.as_deref() == Some(MERGE_TAG));
                let value = resolve(tag.as_deref(), &value, plain_implicit);
                let value = value.map_err(|problem| format!("line {line}: {problem}"))?;
                Ok(self.add(Node::Scalar { value, is_merge }, anchor))
            }
            EventData::Alias { anchor } => match self.anchors.get(&anchor) {
                Some(&to) => Ok(self.add(Node::Alias { to, name: anchor }, None)),
                None => Err(format!("line {line}: there is no anchor &{anchor} before *{anchor}")),
            },
            EventData::SequenceStart { anchor, .. } => {
                let node = self.add(Node::Open, anchor);
                let mut entries = Vec::new();
                loop {
                    match self.next()? {
                        Event { data: EventData::SequenceEnd, .. } => break,
                        event => entries.push(self.node(event, depth + 1)?),
                    }
                }
                self.nodes[node] = Node::Sequence(entries);
                Ok(node)
            }
            EventData::MappingStart { anchor, .. } => {
                let node = self.add(Node::Open, anchor);
                let mut pairs = Vec::new();
                loop {
                    match self.next()? {
                        Event { data: EventData::MappingEnd, .. } => break,
                        event => {
                            let key = self.node(event, depth + 1)?;
                            let event = self.next()?;
                            pairs.push((key, self.node(event, depth + 1)?));
                        }
                    }
                }
                self.nodes[node] = Node::Mapping(pairs);
                Ok(node)
            }
            _ => Err(format!("line {line}: a value is missing")),
        }
    }

    fn add(&mut self, node: Node, anchor: Option<String>) -> usize {
        let index = self.nodes.len();
        self.nodes.push(node);
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, index);
        }
        index
    }
}

/// Makes values of nodes.
struct Decoder<'a> {
    nodes: &'a [Node],
    /// The aliases that are being followed.
    open: BTreeSet<usize>,
    decoded: usize,
    aliased: usize,
    /// How many aliases the value is within.
    depth: usize,
    repeated: Vec<String>,
}

impl Decoder<'_> {
    fn count(&mut self) -> Result<()> {
        self.decoded += 1;
        self.aliased += usize::from(self.depth > 0);
        let is_large = self.aliased > FEW.0 && self.decoded > FEW.1;
        #[allow(clippy::cast_precision_loss)]
        if is_large && self.aliased as f64 / self.decoded as f64 > allowed_ratio(self.decoded) {
            return Err("aliases repeat too much of the document".into());
        }
        Ok(())
    }

    fn value(&mut self, node: usize, path: &str, depth: usize) -> Result<Value> {
        self.count()?;
        if depth > MAX_DEPTH {
            return Err(format!("{path} {TOO_DEEP}"));
        }
        match &self.nodes[node] {
            Node::Scalar { value, .. } => value.to_json().map_err(|problem| format!("{path}: {problem}")),
            Node::Sequence(entries) => {
                let entries = entries.iter().enumerate();
                entries.map(|(index, entry)| self.value(*entry, &format!("{path}[{index}]"), depth + 1)).collect()
            }
            Node::Mapping(pairs) => {
                let mut map = Map::new();
                self.mapping(pairs, &mut map, path, depth)?;
                Ok(Value::Object(map))
            }
            Node::Alias { to, name } => self.follow(node, name, |decoder| decoder.value(*to, path, depth)),
            Node::Open => Err(format!("{path}: an anchor's value contains itself")),
        }
    }

    fn follow<T>(&mut self, alias: usize, name: &str, then: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.open.insert(alias) {
            return Err(format!("the value of anchor &{name} contains itself"));
        }
        self.depth += 1;
        let done = then(self);
        self.depth -= 1;
        self.open.remove(&alias);
        done
    }

    /// A merge puts what it brings over what stands before it.
    fn mapping(
        &mut self,
        pairs: &[(usize, usize)],
        map: &mut Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<()> {
        let mut own = BTreeSet::new();
        for (key, value) in pairs {
            if matches!(self.nodes[*key], Node::Scalar { is_merge: true, .. }) {
                self.merge(*value, map, path, depth)?;
                continue;
            }
            let name = self.key(*key, path)?;
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let value = self.value(*value, &path, depth + 1)?;
            map.insert(name.clone(), value);
            if !own.insert(name) && !self.repeated.contains(&path) {
                self.repeated.push(path);
            }
        }
        Ok(())
    }

    fn key(&mut self, node: usize, path: &str) -> Result<String> {
        self.count()?;
        match &self.nodes[node] {
            Node::Scalar { value, .. } => value.to_key().map_err(|problem| format!("{path}: {problem}")),
            Node::Alias { to, name } => self.follow(node, name, |decoder| decoder.key(*to, path)),
            _ => Err(format!("{path}: a list or a mapping can't be a key")),
        }
    }

    fn merge(&mut self, node: usize, map: &mut Map<String, Value>, path: &str, depth: usize) -> Result<()> {
        match &self.nodes[node] {
            // What is first in the list takes precedence.
            Node::Sequence(entries) => {
                entries.iter().rev().try_for_each(|entry| self.merge_one(*entry, map, path, depth))
            }
            _ => self.merge_one(node, map, path, depth),
        }
    }

    fn merge_one(&mut self, node: usize, map: &mut Map<String, Value>, path: &str, depth: usize) -> Result<()> {
        let wrong = || format!("{path}: << takes a mapping or a list of mappings");
        match &self.nodes[node] {
            Node::Mapping(pairs) => {
                self.count()?;
                self.mapping(pairs, map, path, depth)
            }
            Node::Alias { to, name } => {
                self.count()?;
                self.follow(node, name, |decoder| match &decoder.nodes[*to] {
                    Node::Mapping(pairs) => {
                        decoder.count()?;
                        decoder.mapping(pairs, map, path, depth)
                    }
                    _ => Err(wrong()),
                })
            }
            _ => Err(wrong()),
        }
    }
}

/// How much of what is decoded may come from aliases: a few bytes could stand for gigabytes.
#[allow(clippy::cast_precision_loss)]
fn allowed_ratio(decoded: usize) -> f64 {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let decoded = decoded as f64;
    if decoded <= LOW {
        0.99
    } else if decoded >= HIGH {
        0.10
    } else {
        0.99 - 0.89 * (decoded - LOW) / (HIGH - LOW)
    }
}
