//! Rows as the databases hold them, and the way to and from the types of the program.
//!
//! Every row type is taken apart and put together without `..`, so that a new column can't be forgotten. A value that
//! does not parse is [`StoreError::Corrupt`].

mod artifact;
mod job;
mod task;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Result, StoreError};

#[cfg(test)]
pub(super) use job::UPDATE_JOBS;
#[cfg(test)]
pub(super) use task::UPDATE_TASKS;

pub(super) use artifact::{
    ArtifactColumns, artifact_of_job, artifact_parses, artifacts_of, artifacts_of_job, files_digest, insert_artifacts,
};
pub(super) use job::{JobColumns, insert_jobs, job_parses, jobs_after, jobs_of, load_jobs, update_jobs};
pub(super) use task::{
    DUPLICATE_OF, TaskColumns, insert_tasks, load_tasks, load_tasks_by_key, load_tasks_by_uid, open_by_namespace,
    open_by_phase, open_tasks, remove_task, task_by_id, task_by_key, task_by_uid, task_created, task_parses,
    task_record, task_state, tasks_by_phase, tasks_of, tasks_of_trace, update_tasks,
};

/// `text` as it goes into a column: neither JSON strings nor PostgreSQL's text hold a NUL.
pub(super) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// Whether nothing is known.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The value without fields of which nothing is known, at any depth, and with the others in one order.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Array(entries) => entries.into_iter().map(plain).collect(),
        Value::Object(fields) => {
            let sorted: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
            sorted.into_iter().filter(|(_, value)| !is_nothing(value)).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// `time` with the precision that is stored.
pub(super) fn stored(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

pub(super) fn time(table: &'static str, id: &str, microseconds: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(|error| StoreError::corrupt(table, id, error))
}

pub(super) fn time_or_null(table: &'static str, id: &str, microseconds: Option<i64>) -> Result<Option<Timestamp>> {
    microseconds.map(|microseconds| time(table, id, microseconds)).transpose()
}

pub(super) fn microseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.as_microsecond())
}

/// A value with a fixed set of names.
pub(super) fn named<T>(
    table: &'static str,
    id: &str,
    column: &'static str,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T> {
    parse(name).ok_or_else(|| StoreError::corrupt(table, id, format_args!("{column} {name:?} is not known")))
}

/// A value with its own syntax.
pub(super) fn parsed<T: FromStr<Err: Display>>(table: &'static str, id: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error| StoreError::corrupt(table, id, error))
}

fn number<T: TryFrom<i64>>(table: &'static str, id: &str, number: i64) -> Result<T> {
    T::try_from(number).map_err(|_| StoreError::corrupt(table, id, format_args!("{number} is out of range")))
}

fn number_or_null<T: TryFrom<i64>>(table: &'static str, id: &str, value: Option<i64>) -> Result<Option<T>> {
    value.map(|value| number(table, id, value)).transpose()
}

/// A value stored as JSON.
pub(super) fn json<T: DeserializeOwned>(table: &'static str, id: &impl Display, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(table, id, error))
}

fn json_or_null<T: DeserializeOwned>(table: &'static str, id: &str, text: Option<String>) -> Result<Option<T>> {
    text.map(|text| json(table, &id, &text)).transpose()
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal(error.to_string()))
}

fn to_json_or_null(value: Option<&impl Serialize>) -> Result<Option<String>> {
    value.map(to_json).transpose()
}
