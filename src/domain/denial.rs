//! A request that the gate denied: no object came of it, and the audit log keeps who asked for what (contract section 4).

use jiff::Timestamp;
use serde::Serialize;

use super::{Actor, Finding, TraceId};

/// Where a request came in (contract: "Two doors, one way behind them").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The admission webhooks.
    Kubernetes,
    /// The REST API.
    Rest,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Request {
    /// A new object.
    Create,
    /// A change of an object that is there.
    Update,
}

/// A denied request. What it asked for is not in it but by digest: nobody has vetted it, and it may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Where it came in.
    pub door: Door,
    /// The request's uid. Of two denials with the same one, the audit log keeps the first.
    pub uid: String,
    /// Who asked: the authenticated user.
    pub actor: Actor,
    /// Who submitted the object: of a new one, who asked.
    pub submitted_by: Option<String>,
    /// The object's trace; of a new one, that of the request.
    pub trace_id: TraceId,
    /// Where the object is or would have been.
    pub namespace: String,
    /// Its name; none if Kubernetes would have made it.
    pub name: Option<String>,
    /// What its name would have begun with.
    pub generate_name: Option<String>,
    /// Its kind.
    pub kind: String,
    /// What was asked for.
    pub request: Request,
    /// Why it was denied, the first finding being "the" reason. Not empty.
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub findings_left_out: usize,
    /// The digest of the spec that was asked for, as compact JSON with sorted keys.
    pub spec_sha256: String,
    /// When.
    pub denied_at: Timestamp,
}

/// The longest name of a Kubernetes object; user names have no limit of their own.
const MAX_NAME_CHARS: usize = 253;
const MAX_MESSAGE_CHARS: usize = 500;
const MAX_FINDINGS: usize = 20;

impl Denial {
    /// The same, with every text and list cut to what the audit log takes: what is denied is not bound by any schema.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let Self {
            door: _,
            uid,
            actor,
            submitted_by,
            trace_id: _,
            namespace,
            name,
            generate_name,
            kind,
            request: _,
            findings,
            findings_left_out,
            spec_sha256: _,
            denied_at: _,
        } = &mut self;
        *findings_left_out += findings.len().saturating_sub(MAX_FINDINGS);
        findings.truncate(MAX_FINDINGS);
        findings.shrink_to_fit();
        for Finding { code: _, field, message } in findings {
            cut(field, MAX_NAME_CHARS);
            cut(message, MAX_MESSAGE_CHARS);
        }
        for text in
            [uid, &mut actor.id, namespace, kind].into_iter().chain(submitted_by).chain(name).chain(generate_name)
        {
            cut(text, MAX_NAME_CHARS);
        }
        self
    }
}

/// Cuts `text`, and shows that it did.
fn cut(text: &mut String, most_chars: usize) {
    if text.chars().nth(most_chars).is_some() {
        let at = text.char_indices().nth(most_chars - 1).map_or(0, |(at, _)| at);
        text.truncate(at);
        text.push('…');
    }
    // The original may have been much longer.
    text.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;

    #[test]
    fn nothing_is_longer_than_the_log_takes() {
        let long = "é".repeat(100_000);
        let finding = Finding::new(Code::InvalidSpec, long.clone(), long.clone());
        let denial = Denial {
            door: Door::Kubernetes,
            uid: long.clone(),
            actor: Actor::authenticated(&long),
            submitted_by: Some(long.clone()),
            trace_id: TraceId::derive("x"),
            namespace: long.clone(),
            name: Some(long.clone()),
            generate_name: Some(long.clone()),
            kind: long,
            request: Request::Create,
            findings: vec![finding; 1000],
            findings_left_out: 0,
            spec_sha256: "ab".repeat(32),
            denied_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        };
        let bounded = denial.bounded();
        assert_eq!((bounded.findings.len(), bounded.findings_left_out), (20, 980));
        assert_eq!(bounded.findings[0].message, "é".repeat(499) + "…");
        assert_eq!(bounded.name, Some("é".repeat(252) + "…"));
        let texts = [&bounded.uid, &bounded.actor.id, &bounded.namespace, &bounded.kind, &bounded.findings[0].field];
        assert!(texts.iter().all(|text| text.chars().count() == 253 && text.capacity() < 1000));
        assert_eq!(bounded.clone().bounded(), bounded);
    }

    #[test]
    fn what_is_short_stays() {
        let mut text = "a".repeat(253);
        cut(&mut text, 253);
        assert_eq!(text, "a".repeat(253));
    }
}
