//! The whole record as lines, of one state of the database.
//!
//! The audit log comes first. It only grows, and every change of another row has an entry in it; so an export that broke
//! off goes on by adding the entries since and, if there are any, beginning the other tables anew. Resumed or not, a finished
//! export is the database as it was at one moment: the one of the audit head in its last line.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom, Write};

use super::format::{Header, Line, Place, Reader, Signer, Tally, write_end, write_header, write_row};
use super::rows::{cells, from_json, key_of, page, to_json};
use super::tables::TABLES;
use super::{Database, TransferError, Transferred, begin_snapshot, refuse_unfinished_import};
use crate::audit::{AuditCheck, Head, head, verify_all};
use crate::conn::{Argument, Conn, execute, fetch};
use crate::{Result, StoreError};

/// How far an export has come.
#[derive(Clone, Default)]
struct Progress {
    tally: Tally,
    /// The table that is being written, and the key of its last row.
    table: usize,
    after: Option<Vec<Argument>>,
    bytes: u64,
}

/// An export that broke off, as its file tells.
struct Partial {
    header: Header,
    header_sha256: String,
    /// The last entry of the audit log in it.
    last_entry: Option<Place>,
    /// Up to that entry.
    audit_log: Progress,
    /// Up to the last complete line.
    all: Progress,
}

impl Database {
    /// Writes the whole record to `out`, while others may go on to use the database.
    ///
    /// # Errors
    /// [`TransferError::Refused`] unless the schema is up to date.
    pub async fn export(
        &mut self,
        out: &mut dyn Write,
        signer: Option<&Signer<'_>>,
    ) -> Result<Transferred, TransferError> {
        let header = Header::new(self.current_schema().await?);
        let conn = &mut self.connected.borrow();
        refuse_unfinished_import(conn).await?;
        begin_snapshot(conn).await?;
        refuse_to_sign_what_does_not_hold(conn, signer).await?;
        let header_sha256 = write_header(out, &header)?;
        let exported = write_rows(conn, out, Progress::default(), &header_sha256, signer).await?;
        out.flush()?;
        execute!(conn, "COMMIT")?;
        Ok(exported)
    }

    /// Goes on with an export to `file` that broke off.
    ///
    /// # Errors
    /// [`TransferError::Refused`] if there is nothing to go on with: it is finished, or of another database.
    pub async fn resume_export(
        &mut self,
        file: &mut File,
        signer: Option<&Signer<'_>>,
    ) -> Result<Transferred, TransferError> {
        let schema = self.current_schema().await?;
        file.seek(SeekFrom::Start(0))?;
        let partial = read_partial(file)?;
        if partial.header.schema != schema {
            let message = "the schema was migrated since the export began: remove the file and export anew";
            return Err(TransferError::Refused(message.into()));
        }
        let conn = &mut self.connected.borrow();
        refuse_unfinished_import(conn).await?;
        begin_snapshot(conn).await?;
        refuse_to_sign_what_does_not_hold(conn, signer).await?;
        let header_sha256 = partial.header_sha256.clone();
        let progress = go_on_from(conn, partial).await?;
        file.set_len(progress.bytes)?;
        file.seek(SeekFrom::End(0))?;
        let mut out = BufWriter::new(file);
        let exported = write_rows(conn, &mut out, progress, &header_sha256, signer).await?;
        out.flush()?;
        execute!(conn, "COMMIT")?;
        Ok(exported)
    }
}

/// A signature on an export says that the installation vouches for it: not for a log that somebody has rewritten.
async fn refuse_to_sign_what_does_not_hold(
    conn: &mut Conn<'_>,
    signer: Option<&Signer<'_>>,
) -> Result<(), TransferError> {
    let Some(signer) = signer else { return Ok(()) };
    match verify_all(conn, signer.checkpoints).await?.check {
        AuditCheck::Intact { .. } => Ok(()),
        AuditCheck::Broken { seq, problem, .. } => Err(TransferError::Refused(format!(
            "the audit log is broken at entry {seq}: {problem}; it is not signed. --unsigned exports it as it is"
        ))),
    }
}

/// Writes all that `progress` has not seen yet, and the last line.
async fn write_rows(
    conn: &mut Conn<'_>,
    out: &mut dyn Write,
    progress: Progress,
    header_sha256: &str,
    signer: Option<&Signer<'_>>,
) -> Result<Transferred, TransferError> {
    let Progress { mut tally, table: begin, mut after, bytes: _ } = progress;
    let resumed_after = tally.total();
    for table in &TABLES[begin..] {
        loop {
            let rows = page(conn, table, after.as_deref()).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let cells = cells(table, &row)?;
                after = Some(key_of(table, &cells));
                write_row(out, &mut tally, table, &to_json(table, cells))?;
            }
        }
        after = None;
    }
    let end = tally.end(present_head(conn).await?);
    write_end(out, header_sha256, &end, signer)?;
    Ok(Transferred { rows: end.rows, audit_head: end.audit_head.hash, resumed_after, differences: 0 })
}

async fn present_head(conn: &mut Conn<'_>) -> Result<Place> {
    let found = head(conn).await?;
    let Head { seq, hash } = found.ok_or_else(|| StoreError::corrupt("audit_head", "", "the chain has no head"))?;
    Ok(Place { seq, hash })
}

/// What of a broken-off export still holds.
async fn go_on_from(conn: &mut Conn<'_>, partial: Partial) -> Result<Progress, TransferError> {
    let Partial { header: _, header_sha256: _, last_entry, audit_log, all } = partial;
    let Some(last) = last_entry else { return Ok(audit_log) };
    let there = fetch!((String,), conn, "SELECT hash FROM audit_log WHERE seq = $1", last.seq)?;
    if there.first().is_none_or(|(hash,)| *hash != last.hash) {
        let message = "the export is of another database: remove the file and export anew";
        return Err(TransferError::Refused(message.into()));
    }
    // Without an entry since, no row has changed since.
    let unchanged = present_head(conn).await? == last;
    Ok(if unchanged && all.table > 0 { all } else { audit_log })
}

fn read_partial(file: &mut File) -> Result<Partial, TransferError> {
    let mut input = BufReader::new(file);
    let (mut reader, header) = Reader::new(&mut input)?;
    let mut audit_log = Progress { bytes: reader.bytes, ..Progress::default() };
    let mut last_entry = None;
    let mut last_row = None;
    while let Some(line) = reader.next()? {
        let Line::Row { table, row } = line else {
            let message = "the export is finished: there is nothing to go on with";
            return Err(TransferError::Refused(message.into()));
        };
        if table.name == TABLES[0].name {
            let place = serde_json::from_value(row.clone().into());
            let place: Place = place.map_err(|error| reader.problem(&error.to_string()))?;
            let after = Some(vec![Argument::from(place.seq)]);
            audit_log = Progress { tally: reader.tally.clone(), table: 0, after, bytes: reader.bytes };
            last_entry = Some(place);
        } else {
            last_row = Some((table, row));
        }
    }
    let all = match last_row {
        Some((table, row)) => {
            let cells = from_json(table, row).map_err(|error| reader.problem(&error))?;
            Progress {
                tally: reader.tally.clone(),
                table: TABLES.iter().position(|other| other.name == table.name).unwrap_or_default(),
                after: Some(key_of(table, &cells)),
                bytes: reader.bytes,
            }
        }
        None => audit_log.clone(),
    };
    Ok(Partial { header, header_sha256: reader.header_sha256, last_entry, audit_log, all })
}
