//! The provenance of an attempt: whether a key signed it, and whether it is about what lies there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use serde_json::Value;

use super::{Checked, Signed};
use crate::folder::read_if_there;
use jct_domain::provenance::{
    BUILD_TYPE, Envelope, MAX_PROVENANCE_BYTES, PREDICATE_TYPE, ResourceDescriptor, STATEMENT_TYPE, Statement,
    invocation_id,
};
use jct_domain::trace::{PROVENANCE_FILE, TASK_FILE};
use jct_domain::{Id, TraceId};
use jct_signing::PublicKey;

/// What the folder says it is.
pub(super) struct Claim<'a> {
    pub task_id: Id,
    pub trace_id: &'a TraceId,
    pub attempt: u32,
    pub namespace: Option<&'a str>,
}

/// The statement, if there is one and, where `keys` are given, one of them signed it.
pub(super) fn provenance(
    directory: &File,
    keys: Option<&[PublicKey]>,
    checked: &mut Checked,
) -> io::Result<Option<Statement>> {
    let wrong = |checked: &mut Checked, why: String| {
        checked.signature = if keys.is_some() { Signed::Invalid } else { Signed::NotChecked };
        checked.problems.push(why);
        Ok(None)
    };
    let bytes = match read_if_there(directory, PROVENANCE_FILE, MAX_PROVENANCE_BYTES)? {
        None if keys.is_some() => {
            checked.problems.push(format!("{PROVENANCE_FILE} is missing: nobody vouches for this trace"));
            return Ok(None);
        }
        None => return Ok(None),
        Some(Err(why)) => return wrong(checked, why),
        Some(Ok(bytes)) => bytes,
    };
    let envelope: Envelope = match serde_json::from_slice(&bytes) {
        Ok(envelope) => envelope,
        Err(error) => return wrong(checked, format!("{PROVENANCE_FILE} is no DSSE envelope: {error}")),
    };
    let payload = match keys {
        Some(keys) => match jct_signing::verify(&envelope, keys) {
            Ok((payload, keyid)) => {
                checked.signature = Signed::Valid;
                checked.keyid = Some(keyid);
                payload
            }
            Err(problem) => return wrong(checked, format!("{PROVENANCE_FILE}: {problem}")),
        },
        None => match envelope.payload() {
            Some(payload) => {
                checked.signature = Signed::NotChecked;
                payload
            }
            None => return wrong(checked, format!("{PROVENANCE_FILE}: the payload is not base64")),
        },
    };
    let statement: Statement = match serde_json::from_slice(&payload) {
        Ok(statement) => statement,
        Err(error) => {
            checked.problems.push(format!("{PROVENANCE_FILE} has no provenance in it: {error}"));
            return Ok(None);
        }
    };
    let types = [
        ("_type", statement.type_.as_str(), STATEMENT_TYPE),
        ("predicateType", statement.predicate_type.as_str(), PREDICATE_TYPE),
        ("buildType", statement.predicate.build_definition.build_type.as_str(), BUILD_TYPE),
    ];
    if let Some((field, found, known)) = types.into_iter().find(|(_, found, known)| found != known) {
        checked.problems.push(format!("{PROVENANCE_FILE}: {field} is {found:?}; this version knows {known:?}"));
        return Ok(None);
    }
    Ok(Some(statement))
}

/// Notes what the folder says it is, and whether the provenance is about the same.
pub(super) fn identify(claim: &Claim, statement: Option<&Statement>, checked: &mut Checked) {
    checked.task_id = Some(claim.task_id);
    checked.trace_id = Some(claim.trace_id.clone());
    checked.attempt = Some(claim.attempt);
    checked.namespace = claim.namespace.map(str::to_owned);
    let Some(statement) = statement else { return };
    checked.outcome = statement.outcome().map(str::to_owned);
    let by = &statement.predicate.build_definition.internal_parameters;
    checked.namespace = Some(by.namespace.clone());
    let invocation = invocation_id(claim.trace_id.as_str(), claim.attempt);
    let differing = [
        ("taskId", by.task_id != claim.task_id.to_string()),
        ("traceId", by.trace_id != claim.trace_id.as_str()),
        ("attempt", by.attempt != claim.attempt),
        ("namespace", claim.namespace.is_some_and(|namespace| namespace != by.namespace)),
        ("invocationId", statement.predicate.run_details.metadata.invocation_id != invocation),
    ];
    let fields: Vec<&str> = differing.iter().filter(|(_, differs)| *differs).map(|(field, _)| *field).collect();
    if !fields.is_empty() {
        checked.problems.push(format!("the provenance is of another attempt: {} differ", fields.join(", ")));
    }
}

pub(super) fn same_subjects(statement: &Statement, expected: &[ResourceDescriptor], checked: &mut Checked) {
    let table = |subjects: &[ResourceDescriptor]| {
        let named = |subject: &ResourceDescriptor| {
            (subject.name.clone().unwrap_or_default(), subject.digest.get("sha256").cloned().unwrap_or_default())
        };
        let table: BTreeMap<String, String> = subjects.iter().map(named).collect();
        (table.len() == subjects.len()).then_some(table)
    };
    let (Some(said), Some(found)) = (table(&statement.subject), table(expected)) else {
        checked.problems.push("the provenance names a subject twice".into());
        return;
    };
    let differing: Vec<&String> = said
        .keys()
        .chain(found.keys().filter(|name| !said.contains_key(*name)))
        .filter(|name| said.get(*name) != found.get(*name))
        .collect();
    if let Some(first) = differing.first() {
        let more = if differing.len() > 1 { format!(" and {} more", differing.len() - 1) } else { String::new() };
        checked.problems.push(format!("the provenance is of other files: {first:?}{more} is not what was signed"));
    }
}

/// Whether the Task that was signed is the one in `task.json`.
pub(super) fn parameters(statement: &Statement, task: Option<&[u8]>, checked: &mut Checked) {
    let Some(task) = task else { return };
    let signed = &statement.predicate.build_definition.external_parameters;
    if serde_json::from_slice::<Value>(task).ok().as_ref() != Some(signed) {
        checked.problems.push(format!("{TASK_FILE} is not the Task that was signed (externalParameters)"));
    }
}
