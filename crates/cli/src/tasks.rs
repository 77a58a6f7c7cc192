//! Which Task is meant, and how one is named.

use anyhow::{Context as _, bail};
use jct_domain::Id;
use jct_domain::url::percent_encoded;
use serde_json::Value;

use crate::connect::Context;
use crate::rest::Rest;
use crate::{CANCELLED, DONE, FAILED, GOES_ON};

/// How many Tasks are looked through for one whose object is gone.
const LOOKED_THROUGH: usize = 1000;

/// The record of the Task that `name` names: by its id, or by the name of its object, also of one that is gone.
///
/// # Errors
/// If there is none that the caller may get.
pub async fn find(context: &Context, rest: &Rest, name: &str) -> anyhow::Result<Value> {
    if let Ok(id) = name.parse::<Id>() {
        return rest.get(&format!("/tasks/{id}")).await;
    }
    let name = bare(name)?;
    if let Some(object) = context.object(&path(&context.namespace, name)).await? {
        let Some(id) = object.pointer("/status/id").and_then(Value::as_str) else {
            bail!("Task {name} is not recorded yet; try again");
        };
        return rest.get(&format!("/tasks/{id}")).await;
    }
    let namespace = &context.namespace;
    let listed = rest.list(&format!("/tasks?namespace={namespace}&limit=1000"), LOOKED_THROUGH).await;
    let listed = listed.with_context(|| format!("there is no Task {name} in namespace {namespace}"))?;
    match listed.into_iter().find(|task| task["name"] == name) {
        Some(task) => Ok(task),
        None => bail!("there is no Task {name} in namespace {namespace}, nor among the last that were recorded"),
    }
}

/// The name alone, as kubectl writes it: `task.jct.dev/x`, `task/x`, `x`.
fn bare(name: &str) -> anyhow::Result<&str> {
    let bare = name.rsplit_once('/').map_or(name, |(_, name)| name);
    let is_name =
        !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if is_name { Ok(bare) } else { bail!("{name:?} is neither the id nor the name of a Task") }
}

/// Where the object of a Task is.
pub fn path(namespace: &str, name: &str) -> String {
    format!("/apis/jct.dev/v1/namespaces/{namespace}/tasks/{name}")
}

/// A field that is a text.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Where people see a Task in a browser, if the operator knows where people reach it.
pub async fn page(rest: &Rest, task: &Value) -> Option<String> {
    let version = rest.get("/version").await.ok()?;
    page_at(&version, text(task, "id"))
}

fn page_at(version: &Value, id: &str) -> Option<String> {
    let url = text(version, "public_url").trim_end_matches('/');
    (!url.is_empty() && !id.is_empty()).then(|| format!("{url}/console/tasks/{id}"))
}

/// The exit code of a Task by its status.
pub fn exit_code(task: &Value) -> u8 {
    match text(task, "status") {
        "completed" => DONE,
        "failed" => FAILED,
        "cancelled" => CANCELLED,
        _ => GOES_ON,
    }
}

/// The attempts of a Task, the newest last.
///
/// # Errors
/// If the caller may not read them.
pub async fn attempts(rest: &Rest, id: &str) -> anyhow::Result<Vec<Value>> {
    match rest.get(&format!("/tasks/{id}/trace")).await? {
        Value::Array(attempts) => Ok(attempts),
        _ => bail!("the API tells of no attempts"),
    }
}

/// The attempt of this number, or the newest.
///
/// # Errors
/// If there is none.
pub fn attempt(attempts: &[Value], number: Option<u32>) -> anyhow::Result<&Value> {
    let found = match number {
        Some(number) => attempts.iter().find(|attempt| attempt["attempt"] == number),
        None => attempts.last(),
    };
    match (found, number) {
        (Some(found), _) => Ok(found),
        (None, Some(number)) => bail!("there is no attempt {number}; the last one is {}", attempts.len()),
        (None, None) => bail!("nothing has run yet"),
    }
}

/// A path within a trace as a part of a URL.
pub fn encoded(path: &str) -> String {
    percent_encoded(path.as_bytes(), b"-._~/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_is_named_as_with_kubectl() {
        for name in ["x", "task/x", "tasks.jct.dev/x"] {
            assert_eq!(bare(name).unwrap(), "x");
        }
        for bad in ["", "task/", "X", "a b", "../x?y=z", "x%2f"] {
            assert!(bare(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_newest_attempt_is_meant_unless_another_is_named() {
        let two = [json!({"attempt": 1}), json!({"attempt": 2})];
        assert_eq!(attempt(&two, None).unwrap()["attempt"], 2);
        assert_eq!(attempt(&two, Some(1)).unwrap()["attempt"], 1);
        assert!(attempt(&two, Some(3)).is_err() && attempt(&[], None).is_err());
    }

    #[test]
    fn a_hostile_path_stays_a_path() {
        assert_eq!(encoded("artifacts/report.md"), "artifacts/report.md");
        assert_eq!(encoded("artifacts/a b?c#d%ö"), "artifacts/a%20b%3Fc%23d%25%C3%B6");
    }

    #[test]
    fn the_exit_code_is_the_outcome() {
        let code = |status: &str| exit_code(&json!({"status": status}));
        assert_eq!(["completed", "failed", "cancelled", "running", ""].map(code), [0, 1, 130, 4, 4]);
    }

    #[test]
    fn a_task_has_a_page_where_the_operator_knows_of_one() {
        let version = serde_json::json!({"version": "1", "public_url": "https://jct.example.org/x"});
        assert_eq!(page_at(&version, "01K").as_deref(), Some("https://jct.example.org/x/console/tasks/01K"));
        assert_eq!(page_at(&serde_json::json!({"version": "1"}), "01K"), None);
        assert_eq!(page_at(&version, ""), None);
    }
}
