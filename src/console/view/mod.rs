//! What the API answers, as people read it. Texts of others are made harmless here: nothing in them changes how what stands around
//! them reads; that they are no markup is held by the templates.

pub mod causes;
pub mod changes;
pub mod chart;
pub mod diff;
pub mod events;
pub mod markdown;
pub mod strip;
pub mod time;

use serde_json::Value;

use crate::domain::shown::plain_json;
pub use crate::domain::shown::{cut, plain, plain_lines};

/// The text at `pointer`; empty if there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => plain(text),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// The text at `pointer`, with its lines.
pub fn lines(value: &Value, pointer: &str) -> String {
    plain_lines(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
}

/// The entries of a list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A value as JSON for people, harmless, and not longer than `most` characters.
pub fn pretty(value: &Value, most: usize) -> String {
    cut(&plain_json(&serde_json::to_string_pretty(value).unwrap_or_default()), most)
}

/// So many bytes, as people count them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut rest, mut unit) = (count, 0);
    while rest >= 1024 * 1024 && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", rest / 1024, rest % 1024 * 10 / 1024, UNITS[unit])
}

/// The beginning of a digest or an id.
pub fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

/// A status in words, and the class that colours it.
pub fn status(name: &str) -> (&'static str, &'static str) {
    match name {
        "pending" => ("Pending", "wait"),
        "queued" => ("Queued", "wait"),
        "running" => ("Running", "run"),
        "completed" | "succeeded" | "done" | "passed" | "ok" => ("Completed", "good"),
        "failed" => ("Failed", "bad"),
        "cancelled" | "canceled" => ("Cancelled", "off"),
        _ => ("Unknown", "off"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_harmless_and_bounded() {
        let value = json!({"a": {"b": "x\u{202e}y\n"}, "n": 7});
        assert_eq!(text(&value, "/a/b"), "x\\u{202e}y ");
        assert_eq!((text(&value, "/n").as_str(), text(&value, "/none").as_str()), ("7", ""));
        assert_eq!((cut("äöü", 2).as_str(), cut("äöü", 3).as_str()), ("äö…", "äöü"));
        assert_eq!(
            [0, 1023, 1024, 1536, 5 << 20, 3 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 GiB"]
        );
    }
}
