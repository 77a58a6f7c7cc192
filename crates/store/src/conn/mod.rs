//! One connection of either database, and statements that are the same for both.
//!
//! SQL is shared: `$1` placeholders work on both, and the few differences are chosen where they occur.

mod statement;

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, FromRow, Row as _};

use super::{Result, StoreError};

pub(super) use statement::{Select, Values, insert_all};

/// A connection, borrowed.
pub(super) enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    /// With how long an answer may take. The server has a limit of its own, but one that is gone without a word does not tell
    /// of it, and each connection that waited for ever would be one less.
    Postgres(&'c mut PgConnection, Duration),
}

/// How a statement refers to its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// `$1`, `$2`, …
    Numbered,
    /// `?`. On SQLite a numbered one is a name, which is looked for among all names each time it is bound.
    Plain,
}

impl Conn<'_> {
    fn placeholder(&self) -> Placeholder {
        match self {
            Self::Sqlite(_) => Placeholder::Plain,
            Self::Postgres(..) => Placeholder::Numbered,
        }
    }
}

/// Runs a statement with these arguments; the number of rows that it changed.
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match &mut *$conn {
            $crate::conn::Conn::Sqlite(conn) => {
                let done = sqlx::query($sql)$(.bind($argument))*.execute(&mut **conn).await;
                done.map(|done| done.rows_affected()).map_err($crate::StoreError::from)
            }
            $crate::conn::Conn::Postgres(conn, patience) => {
                let done = sqlx::query($sql)$(.bind($argument))*.execute(&mut **conn);
                $crate::conn::answered(*patience, done).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// Runs a query with these arguments; all its rows, as `Vec<$row>`.
macro_rules! fetch {
    ($row:ty, $conn:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match &mut *$conn {
            $crate::conn::Conn::Sqlite(conn) => {
                let rows = sqlx::query_as::<_, $row>($sql)$(.bind($argument))*.fetch_all(&mut **conn).await;
                rows.map_err($crate::StoreError::from)
            }
            $crate::conn::Conn::Postgres(conn, patience) => {
                let rows = sqlx::query_as::<_, $row>($sql)$(.bind($argument))*.fetch_all(&mut **conn);
                $crate::conn::answered(*patience, rows).await
            }
        }
    };
}

pub(super) use {execute, fetch};

/// What PostgreSQL answers, if it does in time.
pub(super) async fn answered<T>(patience: Duration, statement: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    match tokio::time::timeout(patience, statement).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Unavailable(format!("no answer in {} s", patience.as_secs()))),
    }
}

/// An argument of a statement that is put together when it runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Text(Option<String>),
    Int(Option<i64>),
    Bool(Option<bool>),
}

macro_rules! arguments_from {
    ($($from:ty => |$value:ident| $argument:expr;)+) => {
        $(impl From<$from> for Argument {
            fn from($value: $from) -> Self {
                $argument
            }
        })+
    };
}

arguments_from! {
    String => |text| Self::Text(Some(text));
    &str => |text| Self::Text(Some(text.into()));
    &String => |text| Self::Text(Some(text.clone()));
    Option<String> => |text| Self::Text(text);
    &Option<String> => |text| Self::Text(text.clone());
    i64 => |number| Self::Int(Some(number));
    u32 => |number| Self::Int(Some(number.into()));
    Option<i64> => |number| Self::Int(number);
    Option<u32> => |number| Self::Int(number.map(i64::from));
    Option<i32> => |number| Self::Int(number.map(i64::from));
    bool => |flag| Self::Bool(Some(flag));
    Option<bool> => |flag| Self::Bool(flag);
}

macro_rules! bind_all {
    ($query:expr, $arguments:expr) => {
        $arguments.into_iter().fold($query, |query, argument| match argument {
            Argument::Text(text) => query.bind(text),
            Argument::Int(number) => query.bind(number),
            Argument::Bool(flag) => query.bind(flag),
        })
    };
}
use bind_all;

/// A type that rows of both databases can be read as.
pub(super) trait AnyRow:
    Send + Unpin + for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + for<'r> FromRow<'r, sqlx::postgres::PgRow>
{
}

impl<Row> AnyRow for Row where
    Row: Send + Unpin + for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + for<'r> FromRow<'r, sqlx::postgres::PgRow>
{
}

async fn fetch_assembled<Row: AnyRow>(
    conn: &mut Conn<'_>,
    sql: String,
    arguments: impl IntoIterator<Item = Argument>,
) -> Result<Vec<Row>> {
    let sql = AssertSqlSafe(sql);
    match conn {
        Conn::Sqlite(conn) => Ok(bind_all!(sqlx::query_as(sql), arguments).fetch_all(&mut **conn).await?),
        Conn::Postgres(conn, patience) => {
            answered(*patience, bind_all!(sqlx::query_as(sql), arguments).fetch_all(&mut **conn)).await
        }
    }
}

/// A row whose columns are not looked at yet.
pub(super) enum RawRow {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

macro_rules! cell {
    ($row:expr, $index:expr) => {
        match $row {
            RawRow::Sqlite(row) => row.try_get($index),
            RawRow::Postgres(row) => row.try_get($index),
        }
    };
}

impl RawRow {
    /// The row as this type.
    pub(super) fn read<Row: AnyRow>(&self) -> Result<Row> {
        Ok(match self {
            Self::Sqlite(row) => Row::from_row(row)?,
            Self::Postgres(row) => Row::from_row(row)?,
        })
    }

    /// The text in a column.
    pub(super) fn text(&self, index: usize) -> Result<Option<String>> {
        Ok(cell!(self, index)?)
    }

    /// The text in a column of this name.
    pub(super) fn text_of(&self, column: &str) -> Result<Option<String>> {
        Ok(cell!(self, column)?)
    }

    /// The number in a column.
    pub(super) fn number(&self, index: usize) -> Result<Option<i64>> {
        Ok(cell!(self, index)?)
    }

    /// The truth value in a column; SQLite holds it as a number.
    pub(super) fn flag(&self, index: usize) -> Result<Option<bool>> {
        Ok(cell!(self, index)?)
    }
}

/// Runs a query that is put together, of constant pieces alone; what users say goes in as arguments.
pub(super) async fn fetch_raw(
    conn: &mut Conn<'_>,
    sql: String,
    arguments: impl IntoIterator<Item = Argument>,
) -> Result<Vec<RawRow>> {
    let sql = AssertSqlSafe(sql);
    Ok(match conn {
        Conn::Sqlite(conn) => {
            let rows = bind_all!(sqlx::query(sql), arguments).fetch_all(&mut **conn).await?;
            rows.into_iter().map(RawRow::Sqlite).collect()
        }
        Conn::Postgres(conn, patience) => {
            let rows = bind_all!(sqlx::query(sql), arguments).fetch_all(&mut **conn);
            let rows = answered(*patience, rows).await?;
            rows.into_iter().map(RawRow::Postgres).collect()
        }
    })
}
