//! A request that the gate denied: no object came of it, and the audit log keeps who asked for what (contract section 4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::id::sha256_hex;
use super::{Actor, Finding, TraceId};

/// Where a request came in (contract: "Two doors, one way behind them").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    Kubernetes,
    Rest,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Request {
    Create,
    /// A change of an object that is there.
    Update,
}

/// A denied request. What it asked for is not in it but by digest: nobody has vetted it, and it may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub interface: Interface,
    /// The request's uid. Of two denials with the same one, the audit log keeps the first.
    pub uid: String,
    pub actor: Actor,
    /// Whether that is certain: the API server, or Kubernetes by a token, has vouched for it. Else it is what somebody says
    /// who reaches the webhook.
    pub authenticated: bool,
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
    pub kind: String,
    pub request: Request,
    /// Why it was denied, the first finding being "the" reason. Not empty.
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub findings_left_out: usize,
    /// The digest of the spec that was asked for, as compact JSON with sorted keys.
    pub spec_sha256: String,
    pub denied_at: Timestamp,
}

/// What the audit log is told of denied requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// One was denied, the first of its like for an hour.
    Denied(Denial),
    /// More of the same were.
    Repeated(Repeats),
    /// Others were, of which nothing else is written down.
    LeftOut(LeftOut),
}

impl From<Denial> for Notice {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Requests like one that is written down: of the same user for the same spec in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The first of them. Its findings are not kept here.
    pub first: Denial,
    /// How many there were, the first one included.
    pub count: u64,
    /// When the last one was.
    pub last_at: Timestamp,
}

/// Denied requests that are counted and no more, for there were too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// What the entry is called.
    pub uid: String,
    /// How many, by namespace.
    pub by_namespace: BTreeMap<String, u64>,
    /// How many of further namespaces.
    pub elsewhere: u64,
    /// From when on.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl LeftOut {
    pub fn count(&self) -> u64 {
        self.by_namespace.values().sum::<u64>() + self.elsewhere
    }
}

/// `uid` if it has the form of a UUID, as every uid of the API server has; else a UUID made from it. The uid is the
/// caller's to choose, and the audit log must not be told that a request was something else, such as a Task.
pub fn request_uid(uid: &str) -> String {
    let is_uuid = uid.len() == 36
        && uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    if is_uuid {
        return uid.to_owned();
    }
    let hash = sha256_hex(uid.as_bytes());
    // Version 8: of a form of its own.
    format!("{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
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
            interface: _,
            uid,
            actor,
            authenticated: _,
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
        for Finding { code: _, field, message, is_dangling: _ } in findings {
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
    use crate::Code;

    #[test]
    fn nothing_is_longer_than_the_log_takes() {
        let long = "é".repeat(100_000);
        let finding = Finding::new(Code::InvalidSpec, long.clone(), long.clone());
        let denial = Denial {
            interface: Interface::Kubernetes,
            uid: long.clone(),
            actor: Actor::authenticated(&long),
            authenticated: true,
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
    fn a_request_is_called_by_a_uuid_whatever_its_uid_is() {
        let uuid = "7f9c2ba4-e88f-4a3c-9d52-0f1d6c1f2e11";
        assert_eq!(request_uid(uuid), uuid);
        for other in ["01KJMMA2G027CE4HT1RZKZBW4A", "", "team/01KJMMA2G027CE4HT1RZKZBW4A/1", &uuid.to_uppercase()] {
            let made = request_uid(other);
            assert_ne!(made, other);
            assert_eq!(request_uid(&made), made, "{made}");
        }
    }

    #[test]
    fn what_is_short_stays() {
        let mut text = "a".repeat(253);
        cut(&mut text, 253);
        assert_eq!(text, "a".repeat(253));
    }
}
