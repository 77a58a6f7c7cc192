//! One connection of either database, and statements that are the same for both.
//!
//! SQL is shared: `$1` placeholders work on both, and the few differences are chosen where they occur.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, FromRow};

use super::Result;

/// A connection, borrowed.
pub(super) enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Conn<'_> {
    /// The same connection, for a shorter time.
    pub(super) fn reborrow(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }
}

/// Runs a statement with these arguments; the number of rows that it changed.
macro_rules! execute {
    ($conn:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match &mut *$conn {
            $crate::store::conn::Conn::Sqlite(conn) => sqlx::query($sql)$(.bind($argument))*
                .execute(&mut **conn).await.map(|done| done.rows_affected()),
            $crate::store::conn::Conn::Postgres(conn) => sqlx::query($sql)$(.bind($argument))*
                .execute(&mut **conn).await.map(|done| done.rows_affected()),
        }
        .map_err($crate::store::StoreError::from)
    };
}

/// Runs a query with these arguments; all its rows, as `Vec<$row>`.
macro_rules! fetch {
    ($row:ty, $conn:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match &mut *$conn {
            $crate::store::conn::Conn::Sqlite(conn) => sqlx::query_as::<_, $row>($sql)$(.bind($argument))*
                .fetch_all(&mut **conn).await,
            $crate::store::conn::Conn::Postgres(conn) => sqlx::query_as::<_, $row>($sql)$(.bind($argument))*
                .fetch_all(&mut **conn).await,
        }
        .map_err($crate::store::StoreError::from)
    };
}

pub(super) use {execute, fetch};

/// An argument of a statement that is put together when it runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Text(Option<String>),
    Int(i64),
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<Option<String>> for Argument {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

macro_rules! bind_all {
    ($query:expr, $arguments:expr) => {
        $arguments.into_iter().fold($query, |query, argument| match argument {
            Argument::Text(text) => query.bind(text),
            Argument::Int(number) => query.bind(number),
        })
    };
}

/// A query put together from constant pieces; what users say goes in as arguments only.
pub(super) struct Select {
    sql: String,
    arguments: Vec<Argument>,
}

impl Select {
    /// Begins with `SELECT … FROM …`.
    pub(super) fn new(select: &'static str) -> Self {
        Self { sql: select.into(), arguments: Vec::new() }
    }

    /// Adds a condition; `?` in it stands for the argument.
    pub(super) fn filter(&mut self, condition: &'static str, argument: impl Into<Argument>) {
        self.arguments.push(argument.into());
        let placeholder = format!("${}", self.arguments.len());
        self.sql.push_str(if self.arguments.len() == 1 { " WHERE " } else { " AND " });
        self.sql.push_str(&condition.replacen('?', &placeholder, 1));
    }

    /// Adds a condition, if there is an argument for it.
    pub(super) fn filter_by(&mut self, condition: &'static str, argument: Option<impl Into<Argument>>) {
        if let Some(argument) = argument {
            self.filter(condition, argument);
        }
    }

    /// Adds an order and the bounds of the page.
    pub(super) fn page(&mut self, order: &'static str, limit: u32, offset: u32) {
        self.sql.push_str(order);
        self.sql.push_str(&format!(" LIMIT {limit} OFFSET {offset}"));
    }

    /// Runs it.
    pub(super) async fn fetch<Row>(self, conn: &mut Conn<'_>) -> Result<Vec<Row>>
    where
        Row: Send + Unpin + for<'r> FromRow<'r, sqlx::sqlite::SqliteRow> + for<'r> FromRow<'r, sqlx::postgres::PgRow>,
    {
        let Self { sql, arguments } = self;
        let rows = match conn {
            Conn::Sqlite(conn) => bind_all!(sqlx::query_as(AssertSqlSafe(sql)), arguments).fetch_all(&mut **conn).await,
            Conn::Postgres(conn) => {
                bind_all!(sqlx::query_as(AssertSqlSafe(sql)), arguments).fetch_all(&mut **conn).await
            }
        };
        Ok(rows?)
    }
}

/// Rows that go into a table with one statement for many of them.
pub(super) struct Insert {
    /// `INSERT INTO table (columns…) VALUES`.
    pub(super) into: &'static str,
    /// The number of columns.
    pub(super) width: usize,
    /// What follows the values.
    pub(super) suffix: &'static str,
}

impl Insert {
    /// Few different numbers of rows, so that the prepared statements are found again.
    const CHUNKS: [usize; 3] = [64, 8, 1];

    /// Inserts `rows`, each of `width` arguments.
    pub(super) async fn run(&self, conn: &mut Conn<'_>, mut rows: Vec<Vec<Argument>>) -> Result<()> {
        while !rows.is_empty() {
            let size = Self::CHUNKS.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
            let arguments = rows.drain(..size).flatten();
            let sql = AssertSqlSafe(self.sql(size));
            match conn {
                Conn::Sqlite(conn) => bind_all!(sqlx::query(sql), arguments).execute(&mut **conn).await.map(drop)?,
                Conn::Postgres(conn) => bind_all!(sqlx::query(sql), arguments).execute(&mut **conn).await.map(drop)?,
            }
        }
        Ok(())
    }

    fn sql(&self, rows: usize) -> String {
        let mut sql = String::from(self.into);
        for row in 0..rows {
            sql.push_str(if row == 0 { " (" } else { ", (" });
            for column in 1..=self.width {
                let comma = if column == 1 { "" } else { ", " };
                sql.push_str(&format!("{comma}${}", row * self.width + column));
            }
            sql.push(')');
        }
        sql.push_str(self.suffix);
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_rows_are_numbered() {
        let mut select = Select::new("SELECT 1 FROM t");
        select.filter("a = ?", 1);
        select.filter_by("b = ?", None::<i64>);
        select.filter_by("c < (SELECT d FROM e WHERE f = ?)", Some("x"));
        select.page(" ORDER BY a", 10, 0);
        assert_eq!(
            select.sql,
            "SELECT 1 FROM t WHERE a = $1 AND c < (SELECT d FROM e WHERE f = $2) ORDER BY a LIMIT 10 OFFSET 0"
        );
        let insert = Insert { into: "INSERT INTO t (a, b) VALUES", width: 2, suffix: "" };
        assert_eq!(insert.sql(2), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
    }
}
