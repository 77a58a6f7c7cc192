//! What happens in an attempt, a line for each event.

use jct_domain::shown::{cut, plain};
use jiff::Timestamp;
use serde_json::Value;

use super::{Style, bytes, time};

/// An event as a line: when, what, and what of it matters. Times count from `began`.
pub fn line(event: &Value, began: Option<Timestamp>, style: Style) -> String {
    let name = event["event"].as_str().unwrap_or_default();
    let at = time::parsed(&event["ts"]).zip(began).map_or(0, |(at, began)| at.duration_since(began).as_millis());
    let fields = &event["fields"];
    let detail = match name {
        "source_started" => format!("{} at {}", text(fields, "repo"), text(fields, "ref")),
        "source_fetched" => format!(
            "commit {}, {} files, {}",
            text(fields, "commit").chars().take(12).collect::<String>(),
            number(fields, "files"),
            bytes(number(fields, "bytes")),
        ),
        "executor_started" => {
            format!("{}, at most {}", text(fields, "executor"), seconds(fields, "time_budget_seconds"))
        }
        "executor_confined" => match fields["missing"].as_array().map_or(0, Vec::len) {
            0 => "Landlock, seccomp and limits hold it".to_owned(),
            _ => format!("without {}", compact(&fields["missing"])),
        },
        "executor_ended" => format!(
            "{}, took {}.{} s, at most {} of memory",
            end(&fields["end"]),
            number(fields, "wall_ms") / 1000,
            number(fields, "wall_ms") % 1000 / 100,
            bytes(number(fields, "peak_memory_bytes")),
        ),
        "attempt_ended" => {
            let outcome = text(fields, "outcome");
            let why = match text(fields, "reason") {
                reason if reason.is_empty() => String::new(),
                reason => format!(" ({reason})"),
            };
            let detail = format!("{}{why}: {}", style.status(&outcome), text(fields, "message"));
            return format!("{}  {:<18} {detail}", style.dim(&time::since(millis(at))), "attempt ended");
        }
        _ => compact(fields),
    };
    let name: String = plain(name).replace('_', " ").chars().take(64).collect();
    format!("{}  {name:<18} {}", style.dim(&time::since(millis(at))), plain(&detail)).trim_end().to_owned()
}

fn millis(at: i128) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn text(fields: &Value, name: &str) -> String {
    plain(fields[name].as_str().unwrap_or_default())
}

fn number(fields: &Value, name: &str) -> u64 {
    fields[name].as_u64().unwrap_or_default()
}

fn seconds(fields: &Value, name: &str) -> String {
    time::ago(i64::try_from(number(fields, name)).unwrap_or(i64::MAX))
}

/// How a process ended.
fn end(end: &Value) -> String {
    match (end["exited"].as_i64(), &end["signalled"]) {
        (Some(code), _) => format!("exited {code}"),
        (None, signal) if !signal.is_null() => format!("ended by signal {}", compact(signal)),
        _ => compact(end),
    }
}

/// Fields in short, as the log has them.
fn compact(value: &Value) -> String {
    const MOST: usize = 200;
    let detail = match value {
        Value::Null => String::new(),
        Value::Object(fields) => {
            let detail = fields.iter().filter(|(_, value)| !value.is_null());
            detail.map(|(name, value)| format!("{name}={}", one(value))).collect::<Vec<_>>().join(" ")
        }
        value => one(value),
    };
    plain(&cut(&detail, MOST))
}

fn one(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(name: &str, fields: Value) -> String {
        let event = json!({"ts": "2026-03-01T12:00:01.234Z", "seq": 1, "event": name, "fields": fields});
        line(&event, "2026-03-01T12:00:00Z".parse().ok(), Style::default())
    }

    #[test]
    fn an_attempt_reads_as_a_story() {
        let story = [
            step("source_started", json!({"repo": "octo/hello", "ref": "main", "path": "", "pod": "p"})),
            step(
                "source_fetched",
                json!({"bytes": 123_456, "commit": "b34e72f1f9fba0d995abc03d1763c52d61d4c48d", "files": 12}),
            ),
            step("executor_started", json!({"executor": "analysis", "time_budget_seconds": 900})),
            step("executor_confined", json!({"landlock_abi": 7, "missing": [], "seccomp": true})),
            step("executor_confined", json!({"missing": ["namespaces"]})),
            step("executor_ended", json!({"end": {"exited": 3}, "wall_ms": 5_678, "peak_memory_bytes": 43_651_072})),
            step(
                "attempt_ended",
                json!({"outcome": "failed", "reason": "ExecutorFailed", "message": "it exited with 3"}),
            ),
            step("something_new", json!({"a": 1, "b": "x", "c": null})),
        ];
        insta::assert_snapshot!(story.join("\n"));
    }

    #[test]
    fn a_hostile_event_is_a_line() {
        let evil = "a\u{1b}[2J\n\u{202e}b";
        for name in ["source_started", "executor_ended", "attempt_ended", evil] {
            let line =
                step(name, json!({"repo": evil, "end": evil, "message": evil, "outcome": evil, "x": evil.repeat(999)}));
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
            assert!(line.len() < 2000, "{}", line.len());
        }
    }
}
