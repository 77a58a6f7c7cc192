//! Rows of any table, page by page in the order of its key.

use serde_json::{Map, Value};

use super::tables::Table;
use crate::columns::{Column, Type};
use crate::conn::{Argument, Conn, RawRow, fetch_raw, insert_all};
use crate::json_codes::{CodedJson, decode};
use crate::{Result, StoreError};

/// Rows in a page: one can have some 700 KB, and a page must fit in memory.
const PAGE: usize = 100;

/// The rows of `table` after the one with the key `after`, as the database has them; none left when it is empty.
pub(super) async fn page(conn: &mut Conn<'_>, table: &Table, after: Option<&[Argument]>) -> Result<Vec<RawRow>> {
    // Databases can have an order of text of their own; the key's is that of its bytes, on both.
    let is_text = |key: &&str| table.columns.iter().any(|column| column.name == *key && column.holds == Type::Text);
    let collation = match conn {
        Conn::Sqlite(_) => "",
        Conn::Postgres(..) => " COLLATE \"C\"",
    };
    let key = table.key.iter().map(|column| format!("{column}{}", if is_text(column) { collation } else { "" }));
    let key = key.collect::<Vec<_>>().join(", ");
    let mut sql = format!("SELECT {} FROM {}", table.names().join(", "), table.name);
    if after.is_some() {
        let places: Vec<String> = (1..=table.key.len()).map(|place| format!("${place}")).collect();
        sql.push_str(&format!(" WHERE ({key}) > ({})", places.join(", ")));
    }
    sql.push_str(&format!(" ORDER BY {key} LIMIT {PAGE}"));
    fetch_raw(conn, sql, after.unwrap_or_default().to_vec()).await
}

/// The values of a row of `table`, in the order of its columns; JSON without codes.
pub(super) fn cells(table: &Table, row: &RawRow) -> Result<Vec<Argument>> {
    let cell = |(index, Column { name: column, holds }): (usize, &Column)| {
        let cell = match holds {
            Type::Text => row.text(index).map(Argument::Text),
            Type::Json => row.text(index).map(|text| Argument::Text(text.map(decode))),
            Type::Number => row.number(index).map(Argument::Int),
            Type::Flag => row.flag(index).map(Argument::Bool),
        };
        cell.map_err(|error| StoreError::corrupt(table.name, "", format!("{column}: {error}")))
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// Of these values those of the key.
pub(super) fn key_of(table: &Table, cells: &[Argument]) -> Vec<Argument> {
    let of = |key: &&str| {
        table.columns.iter().zip(cells).find(|(column, _)| column.name == *key).map(|(_, cell)| cell.clone())
    };
    table.key.iter().filter_map(of).collect()
}

/// The key for people.
pub(super) fn shown(key: &[Argument]) -> String {
    let text = |cell: &Argument| match cell {
        Argument::Text(text) => text.clone().unwrap_or_default(),
        Argument::Int(number) => number.unwrap_or_default().to_string(),
        Argument::Bool(flag) => flag.unwrap_or_default().to_string(),
    };
    key.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The values by the names of their columns.
pub(super) fn to_json(table: &Table, cells: Vec<Argument>) -> Map<String, Value> {
    let value = |cell| match cell {
        Argument::Text(text) => Value::from(text),
        Argument::Int(number) => Value::from(number),
        Argument::Bool(flag) => Value::from(flag),
    };
    table.columns.iter().zip(cells).map(|(column, cell)| (column.name.to_owned(), value(cell))).collect()
}

/// The values of a row of `table`, in the order of its columns.
///
/// # Errors
/// What does not fit the columns.
pub(super) fn from_json(table: &Table, mut row: Map<String, Value>) -> Result<Vec<Argument>, String> {
    let mut cells = Vec::with_capacity(row.len());
    for Column { name, holds } in table.columns.iter().copied() {
        let value = row.remove(name).ok_or_else(|| format!("{name} is missing"))?;
        cells.push(match (holds, value) {
            (Type::Text, Value::String(text)) => Argument::Text(Some(text)),
            (Type::Json, Value::String(text)) => CodedJson::new(text).into(),
            (Type::Text | Type::Json, Value::Null) => Argument::Text(None),
            (Type::Number, Value::Null) => Argument::Int(None),
            (Type::Flag, Value::Bool(flag)) => Argument::Bool(Some(flag)),
            (Type::Flag, Value::Null) => Argument::Bool(None),
            (Type::Number, Value::Number(number)) if number.is_i64() => Argument::Int(number.as_i64()),
            (_, value) => return Err(format!("{name} must not be {value}")),
        });
    }
    match row.keys().next() {
        Some(unknown) => Err(format!("{} has no column {unknown}", table.name)),
        None => Ok(cells),
    }
}

/// Inserts rows, each in the order of the columns.
pub(super) async fn insert(conn: &mut Conn<'_>, table: &Table, rows: Vec<Vec<Argument>>) -> Result<u64> {
    let insert = format!("INSERT INTO {} ({}) VALUES", table.name, table.names().join(", "));
    insert_all(conn, &insert, table.columns.len(), rows).await
}
