//! The two forms in which commands tell their result.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::domain::shown::plain_json;

/// Form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Human,
    /// One JSON object.
    Json,
}

/// Writes `value` as indented JSON, harmless to a terminal, and ends the line.
///
/// # Errors
/// If `out` does not take it.
pub fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", plain_json(&serde_json::to_string_pretty(value)?))
}
