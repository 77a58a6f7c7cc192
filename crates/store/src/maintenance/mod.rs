//! What is done to the database as a whole: its schema, a check of every row, and the way from one database to another.

mod check;
mod declared;
mod export;
mod fold;
mod format;
mod guards;
mod import;
mod marks;
mod replay;
mod rows;
mod schema;
mod tables;

use std::collections::BTreeMap;
use std::io;

pub use check::Check;
pub use format::{EXPORT_TYPE, Signature, Signer, Trust};

use super::conn::{Conn, execute, fetch, fetch_raw};
use super::connect::{Connected, Connector};
use super::{Result, StoreError, StoreSettings};

/// The database, by one connection and without the store over it.
pub struct Database {
    connected: Connected,
}

/// From which version of the schema to which one a migration went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Before; 0 for a new database.
    pub from: i64,
    /// Now.
    pub to: i64,
}

/// What was exported or imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// Rows in each table.
    pub rows: BTreeMap<String, u64>,
    /// The head of the audit log that it ends with.
    pub audit_head: String,
    /// How many rows were there from an earlier try.
    pub resumed_after: u64,
    /// In how many places the imported rows do not follow from their audit log.
    pub differences: u64,
}

/// Why an export or an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("the export cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// A line of the export.
    #[error("line {line} of the export: {problem}")]
    Line {
        /// Counts from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// What was asked for does not fit what is there; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

impl Database {
    /// Connects to a database that is there.
    pub async fn open(settings: &StoreSettings) -> Result<Self> {
        Ok(Self { connected: Connector::new(settings).without_creating().for_long_statements().connect().await? })
    }

    /// Connects to a database that is there, to read it.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`] if there is no file.
    pub async fn open_to_read(settings: &StoreSettings) -> Result<Self> {
        Ok(Self { connected: Connector::reading(settings)?.connect().await? })
    }

    /// Connects to a database, creating the file of one that is not there.
    pub async fn open_or_create(settings: &StoreSettings) -> Result<Self> {
        Ok(Self { connected: Connector::new(settings).for_long_statements().connect().await? })
    }

    /// Brings the schema up to date; never back.
    pub async fn migrate(&mut self) -> Result<Migrated> {
        let from = self.schema().await?;
        self.connected.migrate().await?;
        marks::log_missing(&mut self.connected.borrow()).await?;
        Ok(Migrated { from, to: self.schema().await? })
    }

    /// Gives space that is free back; the bytes of the database before and after. SQLite writes its file anew, for which nobody else
    /// may use it, and from then on gives space back by itself; PostgreSQL lets others go on, and gives back what is at the end of
    /// its files.
    pub async fn compact(&mut self) -> Result<(u64, u64)> {
        let conn = &mut self.connected.borrow();
        refuse_unfinished_import(conn).await?;
        let before = bytes(conn).await?;
        if matches!(conn, Conn::Sqlite(_)) {
            execute!(conn, "PRAGMA auto_vacuum = INCREMENTAL")?;
            execute!(conn, "VACUUM")?;
            execute!(conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
        } else {
            for table in tables::TABLES.iter() {
                let vacuum = format!("VACUUM (ANALYZE) {}", table.name);
                fetch_raw(conn, vacuum, []).await?;
            }
        }
        Ok((before, bytes(conn).await?))
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.connected.close().await;
    }

    /// The version of the schema; 0 before the first migration.
    async fn schema(&mut self) -> Result<i64> {
        Ok(applied_migrations(&mut self.connected.borrow()).await?.last().map_or(0, |(version, _)| *version))
    }

    /// The version of the schema, which must be the one that this program makes.
    async fn current_schema(&mut self) -> Result<i64, TransferError> {
        let schema = self.schema().await?;
        let ours = self.connected.known_migrations().last().map_or(0, |(version, _)| *version);
        if schema > ours {
            return Err(StoreError::NewerSchema(schema).into());
        }
        if schema < ours {
            return Err(StoreError::OlderSchema { found: schema, wanted: ours }.into());
        }
        Ok(schema)
    }
}

/// The migrations that the database has: version and checksum, in order.
async fn applied_migrations(conn: &mut Conn<'_>) -> Result<Vec<(i64, Vec<u8>)>> {
    if !has_table(conn, "_sqlx_migrations").await? {
        return Ok(Vec::new());
    }
    fetch!((i64, Vec<u8>), conn, "SELECT version, checksum FROM _sqlx_migrations ORDER BY version")
}

async fn has_table(conn: &mut Conn<'_>, name: &'static str) -> Result<bool> {
    let sql = match conn {
        Conn::Sqlite(_) => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1",
        Conn::Postgres(..) => "SELECT COUNT(to_regclass($1))",
    };
    Ok(fetch!((i64,), conn, sql, name)?.first().is_some_and(|(count,)| *count > 0))
}

async fn bytes(conn: &mut Conn<'_>) -> Result<u64> {
    let sql = match conn {
        Conn::Sqlite(_) => "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        Conn::Postgres(..) => "SELECT pg_database_size(current_database())",
    };
    Ok(fetch!((i64,), conn, sql)?.first().map_or(0, |(bytes,)| bytes.unsigned_abs()))
}

/// Begins a transaction that sees one state of the database, whatever is written meanwhile.
async fn begin_snapshot(conn: &mut Conn<'_>) -> Result<()> {
    let sql = match conn {
        Conn::Sqlite(_) => "BEGIN",
        Conn::Postgres(..) => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    };
    execute!(conn, sql).map(drop)
}

/// Makes a database ready to be worked with: whole, and of this program's schema.
pub(super) async fn prepare(connected: &mut Connected) -> Result<()> {
    refuse_unfinished_import(&mut connected.borrow()).await?;
    connected.allow_long_statements(true).await?;
    connected.migrate().await?;
    marks::log_missing(&mut connected.borrow()).await?;
    connected.allow_long_statements(false).await
}

/// An error if the database can't be read by this program, which brings no schema up to date.
pub(super) async fn fits_to_read(connected: &mut Connected, only_audit: bool) -> Result<()> {
    let wanted = connected.known_migrations().last().map_or(0, |(version, _)| *version);
    let conn = &mut connected.borrow();
    refuse_unfinished_import(conn).await?;
    let found = applied_migrations(conn).await?.last().map_or(0, |(version, _)| *version);
    match found {
        0 => Err(StoreError::NoRecord("the database is empty, or another program's".into())),
        found if found > wanted => Err(StoreError::NewerSchema(found)),
        found if found < wanted && !only_audit => Err(StoreError::OlderSchema { found, wanted }),
        _ => Ok(()),
    }
}

/// An error if an import has left the database half full: whoever went on from there would run Tasks again.
async fn refuse_unfinished_import(conn: &mut Conn<'_>) -> Result<()> {
    if has_table(conn, import::PROGRESS).await? { Err(StoreError::ImportUnfinished) } else { Ok(()) }
}
