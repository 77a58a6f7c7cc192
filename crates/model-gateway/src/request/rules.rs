//! Looking through a request for what must not be in it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json::letters;
use crate::{Code, Refusal};

/// What a request of a dialect must not have. Members are named by their letters alone.
pub(super) struct Rules {
    /// At its top, unless it is null, false or empty.
    pub forbidden: &'static [&'static str],
    /// What is the program's own business: the schemas of its tools, what it calls them with.
    pub free: &'static [&'static str],
    /// Anywhere else, whether a member's value is refused.
    pub refuses: fn(&str, &Value) -> bool,
}

impl Rules {
    /// Looks through all of it.
    pub fn check(&self, request: &Value) -> Result<(), Refusal> {
        if let Value::Object(members) = request {
            for (name, value) in members {
                if self.forbidden.contains(&letters(name).as_str()) && !is_nothing(value) {
                    return Err(hosted(name));
                }
            }
        }
        self.walk(request, &mut Vec::new())
    }

    fn walk<'a>(&self, value: &'a Value, path: &mut Vec<Step<'a>>) -> Result<(), Refusal> {
        match value {
            Value::Object(members) => {
                let mut seen = BTreeSet::new();
                for (name, value) in members {
                    let plain = letters(name);
                    path.push(Step::Member(name));
                    if (self.refuses)(&plain, value) {
                        return Err(hosted(&shown(path)));
                    }
                    if !self.free.contains(&plain.as_str()) {
                        self.walk(value, path)?;
                    }
                    if !seen.insert(plain) {
                        let message = format!("{}: it is there twice, spelled in two ways", shown(path));
                        return Err(Refusal::new(Code::Invalid, message));
                    }
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Item(index));
                    self.walk(item, path)?;
                    path.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is not let through, and why.
pub(super) fn hosted(member: &str) -> Refusal {
    Refusal::new(
        Code::Hosted,
        format!(
            "{member}: not let through, for the provider would fetch, run or keep something for this program, which has no \
             network"
        ),
    )
}

/// The member whose name has these letters.
pub(super) fn member<'a>(value: &'a Value, wanted: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(name, _)| letters(name) == wanted).map(|(_, value)| value)
}

pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Whether it is an address that is to be fetched: what begins with `data:` is there already.
pub(super) fn is_address(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().trim_start();
    !text.is_empty() && !text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"))
}

enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

fn shown(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Member(name) if text.is_empty() => text.push_str(name),
            Step::Member(name) => text.extend([".", name]),
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
