//! What these bodies look like.

use serde_json::{Map, Value, json};

use crate::api::openapi::{id, or_null, trace_id};
use crate::domain::evidence::{CriterionStatus, Verdict};
use crate::domain::review::Decision;

/// Every schema that the operations refer to.
pub fn all() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let time = || json!({"type": "string", "format": "date-time"});
    let actor = || whole(json!({"actor_kind": text(), "actor_id": text(), "display": or_null(text())}));
    let to = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let list = |name: &str| json!({"type": "array", "items": to(name)});
    let objects = |fields: Value| json!({"type": "array", "items": whole(fields)});
    let reference =
        || json!({"type": "object", "required": ["kind", "id"], "properties": {"kind": text(), "id": id()}});
    let sha256 = || json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    let schemas = json!({
        "EvidencePack": whole(json!({
            "kind": {"type": "string", "enum": ["EvidencePack"]},
            "id": id(), "trace_id": trace_id(), "namespace": text(), "task_id": id(),
            "for_run": or_null(reference()), "for_issue": or_null(reference()),
            "subject": {"type": "object", "required": ["attempt", "manifest_sha256", "repo"], "properties": {
                "attempt": {"type": "integer", "minimum": 1}, "manifest_sha256": text(), "commit": text(), "tree": text(),
                "base_commit": text(), "branch": text(), "repo": text()}},
            "subject_sha256": sha256(),
            "verdict": {"type": "string", "enum": Verdict::NAMES}, "verdict_reason": text(),
            "evaluated_at": time(), "evaluated_by": actor(),
            "criteria_results": objects(json!({"criterion": text(), "index": {"type": "integer", "minimum": 0},
                "status": {"type": "string", "enum": CriterionStatus::NAMES}, "reason": text(), "evidence_refs": texts()})),
            "evidence_collected": objects(json!({"requirement": text(), "index": {"type": "integer", "minimum": 0},
                "found": {"type": "boolean"}, "artifact_uri": or_null(text()), "artifact_type": or_null(text()), "notes": text()})),
            "evidence_missing": texts(), "checks_passed": texts(), "checks_failed": texts(), "checks_skipped": texts(),
            "evidence_uri": or_null(text()),
            "review_required": {"type": ["object", "null"], "description": "The review that a delivery needs: forge, approvals, expires_at, users, groups, self_approval, because"},
        })),
        "EvidencePacks": list("EvidencePack"),
        "ReviewDecision": whole(json!({
            "kind": {"type": "string", "enum": ["ReviewDecision"]},
            "id": id(), "trace_id": trace_id(), "namespace": text(), "task_id": id(),
            "for_evidence_pack": reference(), "for_run": or_null(reference()), "for_issue": or_null(reference()),
            "subject_sha256": sha256(), "reviewer": actor(),
            "decision": {"type": "string", "enum": Decision::NAMES}, "decision_reason": or_null(text()),
            "criteria_overrides": objects(json!({"criterion_index": {"type": "integer", "minimum": 0},
                "original_status": or_null(text()), "override_status": text(), "reason": or_null(text())})),
            "created_at": time(),
            "self_approved": {"type": "boolean", "description": "Whether the reviewer has a part in the Task, which the forge's policy allows"},
        })),
        "ReviewDecisions": list("ReviewDecision"),
        "ReviewRequest": {
            "type": "object",
            "required": ["for_evidence_pack", "subject_sha256", "decision"],
            "additionalProperties": false,
            "properties": {
                "for_evidence_pack": {"type": "object", "required": ["id"], "properties": {"id": id()}},
                "subject_sha256": text(),
                "decision": {"type": "string", "enum": Decision::NAMES},
                "decision_reason": or_null(json!({"type": "string", "maxLength": 4000})),
                "criteria_overrides": {"type": "array", "maxItems": 50, "items": {"type": "object",
                    "required": ["criterion_index", "override_status"], "additionalProperties": false, "properties": {
                        "criterion_index": {"type": "integer", "minimum": 0, "maximum": 49},
                        "original_status": {"type": "string", "enum": CriterionStatus::NAMES},
                        "override_status": {"type": "string", "enum": CriterionStatus::NAMES},
                        "reason": {"type": "string", "maxLength": 4000}}}},
                "reviewer": {"type": ["object", "null"], "description": "Not looked at: the reviewer is the caller"},
                "for_run": {"type": ["object", "null"], "description": "Not looked at"},
                "for_issue": {"type": ["object", "null"], "description": "Not looked at"},
            },
        },
        "ReviewAnswer": whole(json!({
            "status": {"type": "string", "enum": ["success"]},
            "review": to("ReviewDecision"),
            "outcome": {"type": "object", "description": "What the review comes to: state, and approvals, by, reason"},
        })),
        "TaskEvidence": whole(json!({
            "evidence_pack": to("EvidencePack"),
            "review": {"type": ["object", "null"], "description": "state (not_required, missing, approved, rejected, needs_changes, expired), approvals still missing, by, reason, approved_by, self_approved"},
            "reviews": list("ReviewDecision"),
        })),
    });
    schemas.as_object().cloned().unwrap_or_default()
}

/// An object that has all of these fields.
fn whole(fields: Value) -> Value {
    let names: Vec<&String> = fields.as_object().into_iter().flat_map(Map::keys).collect();
    json!({"type": "object", "required": names, "properties": fields})
}
