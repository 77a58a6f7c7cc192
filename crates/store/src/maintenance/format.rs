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
//! line. The last line may also have `signature`, a DSSE envelope around the digest of the first line and `end`, and `keys`, the
//! public keys of the installation.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::TransferError;
use super::tables::{TABLES, Table};
use jct_domain::checkpoint::Checkpoint;
use jct_domain::id::{hex, sha256_hex};
use jct_domain::provenance::Envelope;

const FORMAT: &str = "jct-export";
const VERSION: u32 = 1;

/// `payloadType` of the signature on an export.
pub const EXPORT_TYPE: &str = "application/vnd.jct.export.v1+json";

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
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Envelope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'e Value>,
}

/// What is signed: the first line and the last one, which has the digest of all between.
#[derive(Serialize)]
struct Signed<'e> {
    header_sha256: &'e str,
    end: &'e End,
}

/// Signs exports.
pub struct Signer<'s> {
    /// An envelope of the type [`EXPORT_TYPE`] around this.
    pub sign: &'s (dyn Fn(&[u8]) -> Envelope + Sync),
    /// The public keys, a JSON Web Key Set, that travel with it.
    pub keys: Value,
    /// What the audit log must go through, or nothing is signed.
    pub checkpoints: &'s [Checkpoint],
}

/// A signature on an export.
#[derive(Clone, Debug)]
pub struct Signature {
    pub envelope: Envelope,
    /// The public keys that travel with it: nobody vouches for them.
    pub keys: Option<Value>,
}

/// Which exports are believed.
pub struct Trust<'t> {
    /// What was signed, if one of the right keys did so; else what is wrong.
    pub verify: &'t (dyn Fn(&Signature) -> Result<Vec<u8>, String> + Sync),
    /// Also those that are not signed.
    pub allow_unsigned: bool,
    /// Also those whose rows do not follow from their audit log: who asks for it. The log of the imported record tells of it.
    pub allow_differences: Option<&'t str>,
}

/// The bytes that are signed.
fn payload(header_sha256: &str, end: &End) -> Vec<u8> {
    // Numbers, strings and maps with text keys always serialize.
    serde_json::to_vec(&Signed { header_sha256, end }).unwrap_or_default()
}

/// Why the export that ends so is not believed; nothing if it is.
pub(super) fn distrusted_because(
    trust: &Trust<'_>,
    header_sha256: &str,
    end: &End,
    signature: Option<&Signature>,
) -> Option<String> {
    match signature {
        None if trust.allow_unsigned => None,
        None => Some(
            "the export is not signed, so nothing tells whether it was changed: --allow-unsigned takes it all the same"
                .into(),
        ),
        Some(signature) => match (trust.verify)(signature) {
            Err(problem) => Some(format!("the signature of the export is not believed: {problem}")),
            Ok(signed) if signed == payload(header_sha256, end) => None,
            Ok(_) => Some("the signature of the export is of another one: the export was changed".into()),
        },
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyLine {
    table: Option<String>,
    row: Option<Map<String, Value>>,
    end: Option<End>,
    signature: Option<Envelope>,
    keys: Option<Value>,
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

/// Writes the first line; its digest.
pub(super) fn write_header(out: &mut dyn Write, header: &Header) -> Result<String, TransferError> {
    let line = to_line(header)?;
    write(out, &line)?;
    Ok(sha256_hex(&line))
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

pub(super) fn write_end(
    out: &mut dyn Write,
    header_sha256: &str,
    end: &End,
    signer: Option<&Signer<'_>>,
) -> Result<(), TransferError> {
    let signature = signer.map(|signer| (signer.sign)(&payload(header_sha256, end)));
    write(out, &to_line(&EndLine { end, signature, keys: signer.map(|signer| &signer.keys) })?)
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
    End(End, Option<Signature>),
}

/// Reads an export line by line.
pub(super) struct Reader<'i> {
    input: &'i mut dyn BufRead,
    line: Vec<u8>,
    /// The number of the line read last, from 1.
    number: u64,
    /// Bytes of all complete lines read.
    pub(super) bytes: u64,
    pub(super) tally: Tally,
    /// The digest of the first line.
    pub(super) header_sha256: String,
}

impl<'i> Reader<'i> {
    /// Reads the first line.
    ///
    /// # Errors
    /// If it is not that of an export that this program understands.
    pub(super) fn new(input: &'i mut dyn BufRead) -> Result<(Self, Header), TransferError> {
        let mut reader = Self {
            input,
            line: Vec::new(),
            number: 0,
            bytes: 0,
            tally: Tally::default(),
            header_sha256: String::new(),
        };
        if !reader.read()? {
            return Err(reader.problem("this is no export: there is no complete line"));
        }
        let header: Header = serde_json::from_slice(&reader.line)
            .map_err(|error| reader.problem(&format!("this is not the first line of an export: {error}")))?;
        if header.format != FORMAT || header.version != VERSION {
            let message = format!("{} {} is not understood, only {FORMAT} {VERSION}", header.format, header.version);
            return Err(reader.problem(&message));
        }
        reader.header_sha256 = sha256_hex(&reader.line);
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
            AnyLine { table: Some(name), row: Some(row), end: None, signature: None, keys: None } => {
                let found = TABLES.iter().find(|table| table.name == name);
                let table = found.ok_or_else(|| self.problem(&format!("there is no table {name}")))?;
                self.tally.add(table.name, &self.line);
                Ok(Some(Line::Row { table, row }))
            }
            AnyLine { table: None, row: None, end: Some(end), signature, keys } => {
                Ok(Some(Line::End(end, signature.map(|envelope| Signature { envelope, keys }))))
            }
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
