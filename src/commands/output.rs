//! The two forms in which commands tell their result.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// Form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Human,
    /// One JSON object.
    Json,
}

/// Writes `value` as indented JSON, and ends the line.
///
/// # Errors
/// If `out` does not take it.
pub fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
