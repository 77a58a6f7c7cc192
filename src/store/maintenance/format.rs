//! The form of an export: lines of JSON.
//!
//! ```text
//! {"format":"jct-export","version":1,"schema":2,"created_at":"2026-03-01T12:00:00Z"}
//! {"table":"audit_log","row":{"seq":1, …}}
//! …
//! {"end":{"rows":{"audit_log":1, …},"rows_sha256":"…","audit_head":{"seq":1,"hash":"…"}}}
//! ```
//!
//! Numbers are those of the database (times in microseconds since 1970 UTC); JSON of the database is text, for the chain of
//! the audit log is over that text. `rows_sha256` is over the lines between the first and the last one, each with its end of
//! line.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::TransferError;
use super::tables::{TABLES, Table};
use crate::domain::id::hex;

const FORMAT: &str = "jct-export";
const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The version of the schema that the rows are of.
    pub(super) schema: i64,
    created_at: Timestamp,
}

impl Header {
    pub(super) fn new(schema: i64) -> Self {
        Self { format: FORMAT.into(), version: VERSION, schema, created_at: Timestamp::now() }
    }
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) rows_sha256: String,
    pub(super) audit_head: Place,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) seq: i64,
    pub(super) hash: String,
}

#[derive(Serialize)]
struct RowLine<'r> {
    table: &'r str,
    row: &'r Map<String, Value>,
}

#[derive(Serialize)]
struct EndLine<'e> {
    end: &'e End,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyLine {
    table: Option<String>,
    row: Option<Map<String, Value>>,
    end: Option<End>,
}

/// Rows counted and digested as they pass.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) rows: BTreeMap<String, u64>,
    digest: Sha256,
}

impl Tally {
    fn add(&mut self, table: &str, line: &[u8]) {
        match self.rows.get_mut(table) {
            Some(count) => *count += 1,
            None => drop(self.rows.insert(table.to_owned(), 1)),
        }
        self.digest.update(line);
    }

    /// How many rows have passed.
    pub(super) fn total(&self) -> u64 {
        self.rows.values().sum()
    }

    /// The digest of all that has passed.
    pub(super) fn sha256(&self) -> String {
        hex(&self.digest.clone().finalize())
    }

    /// What the last line says if this is all.
    pub(super) fn end(&self, audit_head: Place) -> End {
        let count = |table: &Table| (table.name.to_owned(), self.rows.get(table.name).copied().unwrap_or(0));
        End { rows: TABLES.iter().map(count).collect(), rows_sha256: self.sha256(), audit_head }
    }
}

pub(super) fn write_header(out: &mut dyn Write, header: &Header) -> Result<(), TransferError> {
    write(out, &to_line(header)?)
}

pub(super) fn write_row(
    out: &mut dyn Write,
    tally: &mut Tally,
    table: &Table,
    row: &Map<String, Value>,
) -> Result<(), TransferError> {
    let line = to_line(&RowLine { table: table.name, row })?;
    tally.add(table.name, &line);
    write(out, &line)
}

pub(super) fn write_end(out: &mut dyn Write, end: &End) -> Result<(), TransferError> {
    write(out, &to_line(&EndLine { end })?)
}

fn write(out: &mut dyn Write, line: &[u8]) -> Result<(), TransferError> {
    Ok(out.write_all(line)?)
}

fn to_line(value: &impl Serialize) -> Result<Vec<u8>, TransferError> {
    let mut line = serde_json::to_vec(value).map_err(std::io::Error::from)?;
    line.push(b'\n');
    Ok(line)
}

/// A line between the first and the last one, or that one.
pub(super) enum Line {
    Row { table: &'static Table, row: Map<String, Value> },
    End(End),
}

/// Reads an export line by line.
pub(super) struct Reader<'i> {
    input: &'i mut dyn BufRead,
    line: Vec<u8>,
    /// The number of the line read last, from 1.
    number: u64,
    /// Bytes of all complete lines read.
    pub(super) bytes: u64,
    /// The rows read.
    pub(super) tally: Tally,
}

impl<'i> Reader<'i> {
    /// Reads the first line.
    ///
    /// # Errors
    /// If it is not that of an export that this program understands.
    pub(super) fn new(input: &'i mut dyn BufRead) -> Result<(Self, Header), TransferError> {
        let mut reader = Self { input, line: Vec::new(), number: 0, bytes: 0, tally: Tally::default() };
        if !reader.read()? {
            return Err(reader.problem("this is no export: there is no complete line"));
        }
        let header: Header = serde_json::from_slice(&reader.line)
            .map_err(|error| reader.problem(&format!("this is not the first line of an export: {error}")))?;
        if header.format != FORMAT || header.version != VERSION {
            let message = format!("{} {} is not understood, only {FORMAT} {VERSION}", header.format, header.version);
            return Err(reader.problem(&message));
        }
        Ok((reader, header))
    }

    /// The next line; none if no complete one is left.
    ///
    /// # Errors
    /// If it is not a line of an export.
    pub(super) fn next(&mut self) -> Result<Option<Line>, TransferError> {
        if !self.read()? {
            return Ok(None);
        }
        let line: AnyLine = serde_json::from_slice(&self.line).map_err(|error| self.problem(&error.to_string()))?;
        match line {
            AnyLine { table: Some(name), row: Some(row), end: None } => {
                let found = TABLES.iter().find(|table| table.name == name);
                let table = found.ok_or_else(|| self.problem(&format!("there is no table {name}")))?;
                self.tally.add(table.name, &self.line);
                Ok(Some(Line::Row { table, row }))
            }
            AnyLine { table: None, row: None, end: Some(end) } => Ok(Some(Line::End(end))),
            _ => Err(self.problem("neither a row nor the end")),
        }
    }

    /// An error about the line read last.
    pub(super) fn problem(&self, problem: &str) -> TransferError {
        TransferError::Line { line: self.number.max(1), problem: problem.into() }
    }

    /// Reads a line with its end; whether there was a complete one.
    fn read(&mut self) -> Result<bool, TransferError> {
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line)?;
        let is_complete = self.line.ends_with(b"\n");
        if is_complete {
            self.number += 1;
            self.bytes += self.line.len() as u64;
        }
        Ok(is_complete)
    }
}
