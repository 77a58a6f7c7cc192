//! What happens in an attempt.

use jiff::Timestamp;
use serde_json::Value;

use super::time::{self, Moment};
use super::{bytes, cut, list, plain, text};

/// An event, in words.
#[derive(Clone, Debug)]
pub struct EventLine {
    /// When.
    pub at: Moment,
    /// So long after the first one.
    pub since: String,
    /// What happened.
    pub name: String,
    /// What of it matters.
    pub detail: String,
    /// The class that colours it.
    pub class: &'static str,
}

/// The events of an attempt.
pub fn lines(events: &[Value], now: Timestamp) -> Vec<EventLine> {
    let began = events.first().and_then(|event| time::parsed(&event["ts"]));
    let of = |event: &Value| {
        let at = time::parsed(&event["ts"]);
        let since = at.zip(began).map_or(0, |(at, began)| at.duration_since(began).as_millis());
        let name = text(event, "/event");
        EventLine {
            at: at.map(|at| Moment::at(at, now)).unwrap_or_default(),
            since: format!("+{}", time::millis(i64::try_from(since).unwrap_or(i64::MAX))),
            detail: fields(&name, &event["fields"]),
            class: class(&name, &event["fields"]),
            name: cut(&name.replace('_', " "), 64),
        }
    };
    events.iter().map(of).collect()
}

fn class(name: &str, fields: &Value) -> &'static str {
    match name {
        "attempt_ended" if fields["outcome"] == "succeeded" => "good",
        "attempt_ended" => "bad",
        "change_not_taken" | "outputs_not_taken" | "source_incomplete" | "executor_result_unreadable" => "warn",
        "executor_step" => "step",
        _ => "",
    }
}

fn fields(name: &str, fields: &Value) -> String {
    let number = |name: &str| fields[name].as_u64().unwrap_or_default();
    match name {
        "source_started" => format!("{} at {}", text(fields, "/repo"), text(fields, "/ref")),
        "source_fetched" => format!(
            "commit {}, {} files, {}",
            super::short(&text(fields, "/commit")),
            number("files"),
            bytes(number("bytes"))
        ),
        "executor_started" => format!(
            "{}, at most {}",
            text(fields, "/executor"),
            time::seconds(i64::try_from(number("time_budget_seconds")).unwrap_or(i64::MAX))
        ),
        "executor_confined" if list(&fields["missing"]).is_empty() => "Landlock, seccomp and limits hold it".to_owned(),
        "executor_step" => text(fields, "/message"),
        "executor_ended" => format!(
            "{}, took {}, at most {} of memory",
            match fields["end"]["exited"].as_i64() {
                Some(code) => format!("exited {code}"),
                None => compact(&fields["end"]),
            },
            time::millis(i64::try_from(number("wall_ms")).unwrap_or(i64::MAX)),
            bytes(number("peak_memory_bytes"))
        ),
        "attempt_ended" => {
            let parts = [text(fields, "/outcome"), text(fields, "/reason"), text(fields, "/message")];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        }
        _ => compact(fields),
    }
}

fn compact(value: &Value) -> String {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let detail = match value {
        Value::Null => String::new(),
        Value::Object(fields) => {
            let detail = fields.iter().filter(|(_, value)| !value.is_null());
            detail.map(|(name, value)| format!("{name} {}", one(value))).collect::<Vec<_>>().join(", ")
        }
        value => one(value),
    };
    plain(&cut(&detail, 300))
}
