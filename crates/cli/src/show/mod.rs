//! How things are shown on a terminal. Pure, and harmless whatever is shown.

pub mod audit;
pub mod diff;
pub mod lines;
pub mod markdown;
pub mod outcome;
pub mod review;
pub mod sse;
pub mod steps;
pub mod table;
pub mod task;
pub mod time;
pub mod why;

use anyhow::Context as _;
use jct_domain::shown::{plain_json, plain_lines};
use serde_json::Value;

use crate::cli::Output;

/// How an output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// To a terminal: nothing may act on it.
    pub is_terminal: bool,
}

impl Style {
    fn in_code(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Strong.
    pub fn bold(self, text: &str) -> String {
        self.in_code("1", text)
    }

    /// In the background.
    pub fn dim(self, text: &str) -> String {
        self.in_code("2", text)
    }

    /// Wrong, or gone.
    pub fn red(self, text: &str) -> String {
        self.in_code("31", text)
    }

    /// Good, or new.
    pub fn green(self, text: &str) -> String {
        self.in_code("32", text)
    }

    /// To be looked at.
    pub fn yellow(self, text: &str) -> String {
        self.in_code("33", text)
    }

    /// A place.
    pub fn cyan(self, text: &str) -> String {
        self.in_code("36", text)
    }

    /// The status of a Task or an attempt, in its colour.
    pub fn status(self, status: &str) -> String {
        match status {
            "completed" | "succeeded" | "ok" | "done" => self.green(status),
            "failed" => self.red(status),
            "cancelled" | "warning" | "pending" => self.yellow(status),
            _ => status.to_owned(),
        }
    }
}

/// `value` as JSON or YAML; none for the forms that each command has its own of.
///
/// # Errors
/// If it can't be written so.
pub fn document(value: &Value, output: Option<Output>) -> anyhow::Result<Option<String>> {
    Ok(match output {
        Some(Output::Json) => Some(format!("{}\n", plain_json(&serde_json::to_string_pretty(value)?))),
        // The same values: JSON's escapes are YAML's within quotes, and what is troublesome stands in quotes.
        Some(Output::Yaml) => Some(plain_lines(&serde_yaml::to_string(value).context("cannot be written as YAML")?)),
        _ => None,
    })
}

/// So many bytes, for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut unit) = (count, 0);
    while whole >= 10_240 && unit + 1 < UNITS.len() {
        whole /= 1024;
        unit += 1;
    }
    // Small numbers of a unit with one digit after the point.
    if whole >= 1024 && unit + 1 < UNITS.len() {
        return format!("{}.{} {}", whole / 1024, whole % 1024 * 10 / 1024, UNITS[unit + 1]);
    }
    format!("{whole} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_few_digits() {
        let shown = [0, 999, 1023, 1024, 1536, 10_239, 10_240, 1 << 20, 5 << 30].map(bytes);
        assert_eq!(shown, ["0 B", "999 B", "1023 B", "1.0 KiB", "1.5 KiB", "9.9 KiB", "10 KiB", "1.0 MiB", "5.0 GiB"]);
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Style::default().status("failed"), "failed");
        let colourful = Style { colour: true, is_terminal: true };
        assert_eq!(colourful.status("failed"), "\u{1b}[31mfailed\u{1b}[0m");
        assert_eq!(colourful.red(""), "");
    }

    #[test]
    fn documents_of_others_act_on_no_terminal() {
        let evil = serde_json::json!({"note": "a\u{1b}[2J\u{9b}\u{202e}b"});
        for output in [Output::Json, Output::Yaml] {
            let text = document(&evil, Some(output)).unwrap().unwrap();
            assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
        }
        let json = document(&evil, Some(Output::Json)).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), evil);
        assert_eq!(document(&evil, None).unwrap(), None);
    }
}
