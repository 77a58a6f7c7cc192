//! The one function that reads a Task specification, whoever wrote it.
//!
//! Total: any JSON gives a draft and all findings. Aliases and defaults are resolved here and nowhere else, by the table of the
//! fields.

use serde_json::{Map, Value};

use super::{Controls, DEFAULT_TIME_BUDGET_SECONDS, Draft, Repo, SHAPES};
use crate::table::read::Reader;
use crate::{Finding, Naming};

/// Reads `spec`. An empty list of findings means that the schema is kept; the policy has not been asked yet.
pub fn read(spec: &Value, naming: Naming) -> (Draft, Vec<Finding>) {
    let mut reader = Reader::new(naming).sorted();
    reader.is_crowded(spec);
    reader.is_deep(spec);
    let mut fields = reader.record(&SHAPES, spec);
    let controls = Controls::SHAPE.fields.iter().filter_map(|field| fields.remove_entry(field.name)).collect();
    (draft(fields, controls), reader.findings)
}

fn draft(fields: Map<String, Value>, controls: Map<String, Value>) -> Draft {
    let within = |record: &str, name: &str| fields.get(record).and_then(|record| record.get(name));
    let flag = |name: &str| within("constraints", name).and_then(Value::as_bool).unwrap_or_default();
    let budget = within("constraints", "time_budget_seconds").and_then(Value::as_i64);
    Draft {
        operation: fields.get("operation").and_then(Value::as_str).map(str::to_owned),
        repo: within("target", "repo").and_then(Value::as_str).and_then(|repo| Repo::parse(repo).ok()),
        time_budget_seconds: budget.unwrap_or(i64::from(DEFAULT_TIME_BUDGET_SECONDS)),
        allow_network: flag("allow_network"),
        allow_secrets: flag("allow_secrets"),
        controls: serde_json::from_value::<Controls>(Value::Object(controls)).unwrap_or_default(),
        fields,
    }
}
