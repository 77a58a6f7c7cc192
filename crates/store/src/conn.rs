//! One connection of either database, and statements that are the same for both.
//!
//! SQL is shared: `$1` placeholders work on both, and the few differences are chosen where they occur.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, FromRow, Row as _};

use super::{Result, StoreError};

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

    /// Adds a condition with as many `?` as there are arguments.
    pub(super) fn filter_all(&mut self, condition: &str, arguments: Vec<Argument>) {
        self.sql.push_str(if self.arguments.is_empty() { " WHERE " } else { " AND " });
        let mut pieces = condition.split('?');
        self.sql.push_str(pieces.next().unwrap_or_default());
        for (argument, piece) in arguments.into_iter().zip(pieces) {
            self.arguments.push(argument);
            self.sql.push_str(&format!("${}{piece}", self.arguments.len()));
        }
    }

    /// Adds an order and the bounds of the page.
    pub(super) fn page(&mut self, order: &'static str, limit: u32, offset: u32) {
        self.sql.push_str(order);
        self.sql.push_str(&format!(" LIMIT {limit} OFFSET {offset}"));
    }

    /// The statement.
    #[cfg(test)]
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Runs it; rows whose columns are not looked at yet.
    pub(super) async fn fetch_raw(self, conn: &mut Conn<'_>) -> Result<Vec<RawRow>> {
        fetch_raw(conn, self.sql, self.arguments).await
    }

    /// Runs it.
    pub(super) async fn fetch<Row: AnyRow>(self, conn: &mut Conn<'_>) -> Result<Vec<Row>> {
        fetch_assembled(conn, self.sql, self.arguments).await
    }
}

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

/// A statement around a list of values, `before (…), (…) after`, for as many rows of arguments as there are.
#[derive(Clone, Copy)]
pub(super) struct Values {
    /// What stands before the rows.
    pub(super) before: &'static str,
    /// The number of arguments in a row.
    pub(super) width: usize,
    /// What follows the rows.
    pub(super) after: &'static str,
}

impl Values {
    /// Rows in one statement at most; times the width it stays below the databases' limits of arguments.
    const MOST: usize = 128;

    /// Runs it; the number of rows that it changed.
    pub(super) async fn execute(&self, conn: &mut Conn<'_>, rows: Vec<Vec<Argument>>) -> Result<u64> {
        execute_all(conn, self.statements(conn.placeholder(), rows)).await
    }

    /// Runs it as a query; all rows that it finds.
    pub(super) async fn fetch<Row: AnyRow>(&self, conn: &mut Conn<'_>, rows: Vec<Vec<Argument>>) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        for (sql, arguments) in self.statements(conn.placeholder(), rows) {
            found.extend(fetch_assembled(conn, sql, arguments).await?);
        }
        Ok(found)
    }

    /// Likewise, rows whose columns are not looked at yet.
    pub(super) async fn fetch_raw(&self, conn: &mut Conn<'_>, rows: Vec<Vec<Argument>>) -> Result<Vec<RawRow>> {
        let mut found = Vec::new();
        for (sql, arguments) in self.statements(conn.placeholder(), rows) {
            found.extend(fetch_raw(conn, sql, arguments).await?);
        }
        Ok(found)
    }

    /// Powers of two, so that few statements serve all numbers of rows and are found prepared.
    fn statements(&self, placeholder: Placeholder, rows: Vec<Vec<Argument>>) -> Vec<(String, Vec<Argument>)> {
        in_powers_of_two(rows, |size| self.sql(placeholder, size))
    }

    /// The statement for so many rows.
    pub(super) fn sql(&self, placeholder: Placeholder, rows: usize) -> String {
        format!("{}{}{}", self.before, values(placeholder, self.width, rows), self.after)
    }
}

/// Inserts rows by a statement that is put together: `insert` is `INSERT INTO … (…) VALUES`, of `width` columns.
pub(super) async fn insert_all(
    conn: &mut Conn<'_>,
    insert: &str,
    width: usize,
    rows: Vec<Vec<Argument>>,
) -> Result<u64> {
    let placeholder = conn.placeholder();
    let statements = in_powers_of_two(rows, |size| format!("{insert}{}", values(placeholder, width, size)));
    execute_all(conn, statements).await
}

async fn execute_all(conn: &mut Conn<'_>, statements: Vec<(String, Vec<Argument>)>) -> Result<u64> {
    let mut changed = 0;
    for (sql, arguments) in statements {
        let sql = AssertSqlSafe(sql);
        changed += match conn {
            Conn::Sqlite(conn) => bind_all!(sqlx::query(sql), arguments).execute(&mut **conn).await?.rows_affected(),
            Conn::Postgres(conn, patience) => {
                answered(*patience, bind_all!(sqlx::query(sql), arguments).execute(&mut **conn)).await?.rows_affected()
            }
        };
    }
    Ok(changed)
}

fn in_powers_of_two(rows: Vec<Vec<Argument>>, sql: impl Fn(usize) -> String) -> Vec<(String, Vec<Argument>)> {
    let mut statements = Vec::new();
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let size = if rows.len() >= Values::MOST { Values::MOST } else { 1 << rows.len().ilog2() };
        statements.push((sql(size), rows.by_ref().take(size).flatten().collect()));
    }
    statements
}

/// ` (…), (…)`.
fn values(placeholder: Placeholder, width: usize, rows: usize) -> String {
    let mut sql = String::new();
    for row in 0..rows {
        sql.push_str(if row == 0 { " (" } else { ", (" });
        for column in 1..=width {
            sql.push_str(if column == 1 { "" } else { ", " });
            match placeholder {
                Placeholder::Numbered => sql.push_str(&format!("${}", row * width + column)),
                Placeholder::Plain => sql.push('?'),
            }
        }
        sql.push(')');
    }
    sql
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_numbered() {
        let mut select = Select::new("SELECT 1 FROM t");
        select.filter("a = ?", 1_i64);
        select.filter_by("b = ?", None::<i64>);
        select.filter_by("c < (SELECT d FROM e WHERE f = ?)", Some("x"));
        select.page(" ORDER BY a", 10, 0);
        assert_eq!(
            select.sql,
            "SELECT 1 FROM t WHERE a = $1 AND c < (SELECT d FROM e WHERE f = $2) ORDER BY a LIMIT 10 OFFSET 0"
        );
    }

    #[test]
    fn a_condition_of_many_arguments_is_numbered_on() {
        let mut select = Select::new("SELECT 1 FROM t");
        select.filter("a = ?", 1_i64);
        select.filter_all("(b IN (?, ?) OR c = ?)", vec![1_i64.into(), 2_i64.into(), 3_i64.into()]);
        assert_eq!(select.sql, "SELECT 1 FROM t WHERE a = $1 AND (b IN ($2, $3) OR c = $4)");
        assert_eq!(select.arguments.len(), 4);
    }

    #[test]
    fn rows_are_taken_in_powers_of_two() {
        let insert = Values { before: "INSERT INTO t (a, b) VALUES", width: 2, after: " ON CONFLICT DO NOTHING" };
        let numbered = insert.sql(Placeholder::Numbered, 2);
        assert_eq!(numbered, "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING");
        let plain = insert.sql(Placeholder::Plain, 2);
        assert_eq!(plain, "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
        let rows = |count| (0..count).map(|n: i64| vec![n.into(), n.into()]).collect();
        let sizes = |count| -> Vec<usize> {
            insert
                .statements(Placeholder::Plain, rows(count))
                .iter()
                .map(|(_, arguments)| arguments.len() / 2)
                .collect()
        };
        assert_eq!((sizes(0), sizes(7), sizes(300)), (vec![], vec![4, 2, 1], vec![128, 128, 32, 8, 4]));
    }
}
