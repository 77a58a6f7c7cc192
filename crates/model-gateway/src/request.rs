//! What a request asks of a model, and what of it would make the provider a network.
//!
//! Whatever the provider would fetch, run or keep for the program is refused: tools that it runs itself, sources that are
//! addresses or files of its own, state from one request to the next. Tools are known by a list of those that the program
//! runs. Content is refused by what it must not have, for programs send new kinds of it with every version.
//!
//! A body is sent on as it came, byte for byte, but for the model's name and, by dialect, what [`Dialect::OpenaiResponses`] and
//! [`Dialect::OpenaiChat`] need: hosted tools taken out (Codex offers a web search by itself), nothing stored, usage told.

mod chat;
mod gemini;
mod messages;
mod responses;
mod rules;

use std::ops::Range;

use serde_json::Value;

use crate::json::{self, Part};
use crate::route::Call;
use crate::{Code, Dialect, Refusal};

/// What is known of a request that may be sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The model, by the name that the program has for it.
    pub alias: String,
    /// Whether the answer is a stream.
    pub streams: bool,
    /// The most tokens that the answer may have, if the request limits them, in all of the answers that it wants.
    pub max_output_tokens: Option<u64>,
    /// Whether an event of usage is ours: the program has not asked for it, and must not get it.
    pub usage_is_ours: bool,
    /// Where the name of the model is, if it is in the body.
    model: Option<Range<usize>>,
    /// What is written elsewhere.
    edits: Vec<(Range<usize>, String)>,
}

/// Reads a request's body.
///
/// # Errors
/// In words that name the member.
pub fn inspect(call: &Call, body: &[u8]) -> Result<Inspected, Refusal> {
    let invalid = |why: String| Refusal::new(Code::Invalid, format!("the request's body: {why}"));
    let text = std::str::from_utf8(body).map_err(|_| invalid("it is no UTF-8".into()))?;
    let value = json::parse(text).map_err(|error| invalid(error.to_string()))?;
    let whole = Part::whole(text).filter(|_| value.is_object()).ok_or_else(|| invalid("it is no object".into()))?;
    let mut found = Found { value: &value, whole, max_output_tokens: None, usage_is_ours: false, edits: Vec::new() };
    match call.dialect {
        Dialect::Anthropic => messages::inspect(&mut found)?,
        Dialect::OpenaiResponses => responses::inspect(&mut found)?,
        Dialect::OpenaiChat => chat::inspect(&mut found)?,
        Dialect::Gemini => gemini::inspect(&mut found)?,
    }
    let Found { max_output_tokens, usage_is_ours, edits, .. } = found;
    let (alias, model) = match &call.model {
        Some(model) => (model.clone(), None),
        None => {
            let alias = value.get("model").and_then(Value::as_str).filter(|alias| !alias.is_empty());
            let alias = alias.ok_or_else(|| invalid("model: it names none".into()))?;
            (alias.to_owned(), whole.member("model").map(Part::range))
        }
    };
    let streams = call.streams.unwrap_or(value.get("stream") == Some(&Value::Bool(true)));
    Ok(Inspected { alias, streams, max_output_tokens, usage_is_ours, model, edits })
}

impl Inspected {
    /// The body to be sent, for the model by its provider's name.
    pub fn rewrite(&self, body: &[u8], model: &str) -> Vec<u8> {
        let named = self.model.clone().map(|range| (range, Value::from(model).to_string()));
        let mut edits: Vec<_> = self.edits.iter().cloned().chain(named).collect();
        edits.sort_by_key(|(range, _)| range.start);
        let mut written = Vec::with_capacity(body.len() + 64);
        let mut from = 0;
        for (range, text) in edits {
            written.extend_from_slice(body.get(from..range.start).unwrap_or_default());
            written.extend_from_slice(text.as_bytes());
            from = range.end;
        }
        written.extend_from_slice(body.get(from..).unwrap_or_default());
        written
    }
}

/// A request that is being looked at.
struct Found<'a> {
    value: &'a Value,
    whole: Part<'a>,
    max_output_tokens: Option<u64>,
    usage_is_ours: bool,
    edits: Vec<(Range<usize>, String)>,
}

impl Found<'_> {
    /// Writes a member that the body does not have.
    fn insert(&mut self, member: &str) {
        let start = self.whole.range().start + 1;
        self.edits.push((start..start, format!("{member},")));
    }

    /// Takes those items of an array out that are not kept.
    fn keep(&mut self, array: Part<'_>, kept: impl Fn(&Value) -> bool) {
        let items = array.items();
        let keeps = |item: &&Part<'_>| json::parse(item.text()).is_ok_and(|value| kept(&value));
        let left: Vec<&str> = items.iter().filter(keeps).map(|item| item.text()).collect();
        if left.len() < items.len() {
            self.edits.push((array.range(), format!("[{}]", left.join(","))));
        }
    }
}

#[cfg(test)]
mod tests;
