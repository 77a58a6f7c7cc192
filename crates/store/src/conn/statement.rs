//! Statements that are put together when they run, of constant pieces; what users say goes in as arguments only.

use super::{AnyRow, Argument, Conn, Placeholder, RawRow, answered, bind_all, fetch_assembled, fetch_raw};
use crate::Result;
use sqlx::AssertSqlSafe;

/// A query put together from constant pieces; what users say goes in as arguments only.
pub(crate) struct Select {
    sql: String,
    arguments: Vec<Argument>,
}

impl Select {
    /// Begins with `SELECT … FROM …`.
    pub(crate) fn new(select: &'static str) -> Self {
        Self { sql: select.into(), arguments: Vec::new() }
    }

    /// Adds a condition; `?` in it stands for the argument.
    pub(crate) fn filter(&mut self, condition: &'static str, argument: impl Into<Argument>) {
        self.arguments.push(argument.into());
        let placeholder = format!("${}", self.arguments.len());
        self.sql.push_str(if self.arguments.len() == 1 { " WHERE " } else { " AND " });
        self.sql.push_str(&condition.replacen('?', &placeholder, 1));
    }

    /// Adds a condition, if there is an argument for it.
    pub(crate) fn filter_by(&mut self, condition: &'static str, argument: Option<impl Into<Argument>>) {
        if let Some(argument) = argument {
            self.filter(condition, argument);
        }
    }

    /// Adds a condition with as many `?` as there are arguments.
    pub(crate) fn filter_all(&mut self, condition: &str, arguments: Vec<Argument>) {
        self.sql.push_str(if self.arguments.is_empty() { " WHERE " } else { " AND " });
        let mut pieces = condition.split('?');
        self.sql.push_str(pieces.next().unwrap_or_default());
        for (argument, piece) in arguments.into_iter().zip(pieces) {
            self.arguments.push(argument);
            self.sql.push_str(&format!("${}{piece}", self.arguments.len()));
        }
    }

    /// Adds an order and the bounds of the page.
    pub(crate) fn page(&mut self, order: &'static str, limit: u32, offset: u32) {
        self.sql.push_str(order);
        self.sql.push_str(&format!(" LIMIT {limit} OFFSET {offset}"));
    }

    #[cfg(test)]
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// Runs it; rows whose columns are not looked at yet.
    pub(crate) async fn fetch_raw(self, conn: &mut Conn<'_>) -> Result<Vec<RawRow>> {
        fetch_raw(conn, self.sql, self.arguments).await
    }

    pub(crate) async fn fetch<Row: AnyRow>(self, conn: &mut Conn<'_>) -> Result<Vec<Row>> {
        fetch_assembled(conn, self.sql, self.arguments).await
    }
}

/// A statement around a list of values, `before (…), (…) after`, for as many rows of arguments as there are.
#[derive(Clone, Copy)]
pub(crate) struct Values {
    /// What stands before the rows.
    pub(crate) before: &'static str,
    /// The number of arguments in a row.
    pub(crate) width: usize,
    pub(crate) after: &'static str,
}

impl Values {
    /// Rows in one statement at most. Prepared ones are kept, and take a KiB for each row and more; times the width it stays below
    /// the databases' limits of arguments.
    const MOST: usize = 32;

    /// Runs it; the number of rows that it changed.
    pub(crate) async fn execute(&self, conn: &mut Conn<'_>, rows: Vec<Vec<Argument>>) -> Result<u64> {
        execute_all(conn, self.statements(conn.placeholder(), rows)).await
    }

    /// Runs it as a query; all rows that it finds.
    pub(crate) async fn fetch<Row: AnyRow>(&self, conn: &mut Conn<'_>, rows: Vec<Vec<Argument>>) -> Result<Vec<Row>> {
        let mut found = Vec::new();
        for (sql, arguments) in self.statements(conn.placeholder(), rows) {
            found.extend(fetch_assembled(conn, sql, arguments).await?);
        }
        Ok(found)
    }

    /// Likewise, rows whose columns are not looked at yet.
    pub(crate) async fn fetch_raw(&self, conn: &mut Conn<'_>, rows: Vec<Vec<Argument>>) -> Result<Vec<RawRow>> {
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
    pub(crate) fn sql(&self, placeholder: Placeholder, rows: usize) -> String {
        format!("{}{}{}", self.before, values(placeholder, self.width, rows), self.after)
    }
}

/// Inserts rows by a statement that is put together: `insert` is `INSERT INTO … (…) VALUES`, of `width` columns.
pub(crate) async fn insert_all(
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
            Conn::Postgres(conn, timeout) => {
                answered(*timeout, bind_all!(sqlx::query(sql), arguments).execute(&mut **conn)).await?.rows_affected()
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
        assert_eq!((sizes(0), sizes(7), sizes(300)), (vec![], vec![4, 2, 1], [vec![32; 9], vec![8, 4]].concat()));
    }
}
