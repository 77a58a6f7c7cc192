//! Writing down that requests were denied: audit entries about objects that there never were.

use std::collections::BTreeSet;

use serde_json::json;

use crate::domain::audit::{Action, EntityKind};
use crate::domain::{Code, Denial};
use crate::store::Result;
use crate::store::audit::Change;
use crate::store::operation::{Changes, Needs, Operation, View};
use crate::store::rows::{stored, without_nul};

/// Denied requests. One whose uid is written down already is passed over.
pub(in crate::store) struct Denied(pub(in crate::store) Vec<Denial>);

impl Operation for Denied {
    type Output = ();

    fn needs(&self, needs: &mut Needs) {
        needs.denials.extend(self.0.iter().map(uid));
    }

    fn decide(&self, view: &View) -> Result<((), Changes)> {
        let mut seen = BTreeSet::new();
        let mut changes = Changes::default();
        for denial in &self.0 {
            let uid = uid(denial);
            if !view.denials.contains(&uid) && seen.insert(uid) {
                changes.entries.push(change(denial));
            }
        }
        changes.denials = seen.into_iter().collect();
        Ok(((), changes))
    }
}

/// As the log holds it.
fn uid(denial: &Denial) -> String {
    without_nul(denial.uid.clone())
}

fn change(denial: &Denial) -> Change {
    let Denial {
        door,
        uid: _,
        actor,
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
        actor: actor.clone(),
        action: Action::Created,
        entity_kind: EntityKind::AdmissionDenial,
        entity_id: uid(denial),
        before: None,
        after: Some(json!({
            "door": door,
            "operation": request,
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "generate_name": generate_name,
            "submitted_by": submitted_by,
            "codes": codes,
            "findings": findings,
            "findings_left_out": findings_left_out,
            "spec_sha256": spec_sha256,
            "denied_at": stored(*denied_at),
        })),
        note: Some("denied by the policy gate".into()),
        trace_id: trace_id.clone(),
    }
}
