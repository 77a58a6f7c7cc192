//! Writing down that requests were denied: audit entries about objects that there never were.

use std::collections::BTreeSet;

use serde_json::json;

use crate::Result;
use crate::audit::Change;
use crate::operation::{Changes, Needs, Operation, View};
use crate::rows::{stored, without_nul};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::denial::{LeftOut, Notice, Repeats};
use jct_domain::{Actor, Code, Denial, TraceId};

/// Denied requests. One whose uid is written down already is passed over. That there were more of them is written each
/// time: should a commit be lost sight of and repeated, the log says so twice.
pub(crate) struct Denied(pub(crate) Vec<Notice>);

impl Operation for Denied {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.denials.extend(self.0.iter().filter_map(uid));
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let mut seen = BTreeSet::new();
        let mut changes = Changes::default();
        for notice in &self.0 {
            let is_new = uid(notice).is_none_or(|uid| !view.denials.contains(&uid) && seen.insert(uid));
            if is_new {
                changes.entries.push(match notice {
                    Notice::Denied(denial) => denied(denial),
                    Notice::Repeated(repeats) => repeated(repeats),
                    Notice::LeftOut(left_out) => self::left_out(left_out),
                });
            }
        }
        changes.denials = seen.into_iter().collect();
        Ok(((), changes))
    }
}

/// What is written once, as the log holds it.
fn uid(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Denied(denial) => Some(without_nul(denial.uid.clone())),
        Notice::LeftOut(left_out) => Some(without_nul(left_out.uid.clone())),
        Notice::Repeated(_) => None,
    }
}

/// Who the log names: of a caller whom nobody has vouched for, only that the webhook was told so.
fn actor(denial: &Denial) -> Actor {
    if denial.authenticated { denial.actor.clone() } else { Actor::webhook() }
}

fn note(denial: &Denial, what: &str) -> String {
    let unsure = "; reported by admission, caller not authenticated: the user is as reported";
    format!("{what} by the policy gate{}", if denial.authenticated { "" } else { unsure })
}

fn denied(denial: &Denial) -> Change {
    let Denial {
        interface,
        uid,
        actor: user,
        authenticated,
        submitted_by,
        trace_id,
        namespace,
        name,
        generate_name,
        kind,
        request,
        findings,
        findings_left_out,
        spec_sha256,
        denied_at,
    } = denial;
    let mut codes: Vec<Code> = Vec::new();
    for finding in findings {
        if !codes.contains(&finding.code) {
            codes.push(finding.code);
        }
    }
    Change {
        actor: actor(denial),
        action: Action::Created,
        entity_kind: EntityKind::AdmissionDenial,
        entity_id: without_nul(uid.clone()),
        before: None,
        after: Some(json!({
            "door": interface,
            "operation": request,
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "generate_name": generate_name,
            "user": user.id,
            "authenticated": authenticated,
            "submitted_by": submitted_by,
            "codes": codes,
            "findings": findings,
            "findings_left_out": findings_left_out,
            "spec_sha256": spec_sha256,
            "denied_at": stored(*denied_at),
        })),
        note: Some(note(denial, "denied")),
        trace_id: trace_id.clone(),
    }
}

fn repeated(repeats: &Repeats) -> Change {
    let Repeats { first, count, last_at } = repeats;
    Change {
        actor: actor(first),
        action: Action::Updated,
        entity_kind: EntityKind::AdmissionDenial,
        entity_id: without_nul(first.uid.clone()),
        before: Some(json!({"count": 1})),
        after: Some(json!({
            "count": count,
            "first_at": stored(first.denied_at),
            "last_at": stored(*last_at),
            "door": first.interface,
            "operation": first.request,
            "kind": first.kind,
            "namespace": first.namespace,
            "user": first.actor.id,
            "authenticated": first.authenticated,
            "spec_sha256": first.spec_sha256,
        })),
        note: Some(note(first, "denied again")),
        trace_id: first.trace_id.clone(),
    }
}

fn left_out(left_out: &LeftOut) -> Change {
    let LeftOut { uid, by_namespace, elsewhere, since, until } = left_out;
    Change {
        actor: Actor::webhook(),
        action: Action::Created,
        entity_kind: EntityKind::AdmissionDenial,
        entity_id: without_nul(uid.clone()),
        before: None,
        after: Some(json!({
            "left_out": left_out.count(),
            "by_namespace": by_namespace,
            "elsewhere": elsewhere,
            "since": stored(*since),
            "until": stored(*until),
        })),
        note: Some(format!("{} denials left out: there were too many to write each down", left_out.count())),
        trace_id: TraceId::derive(uid),
    }
}
