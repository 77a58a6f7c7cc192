//! The schema as the database tells it, held against the list of tables.

use std::collections::BTreeMap;

use super::Check;
use super::tables::{OTHERS, TABLES, Table};
use crate::Result;
use crate::columns::{Column, Type};
use crate::conn::{Conn, fetch};

/// A table as the database has it: the type of each column, and the columns of the primary key by their place in it.
#[derive(Debug, Default)]
struct Found {
    columns: BTreeMap<String, String>,
    key: BTreeMap<i64, String>,
}

/// Notes what of the schema is not as the list of tables has it.
pub(super) async fn compare(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let is_sqlite = matches!(conn, Conn::Sqlite(_));
    let mut found = read(conn).await?;
    for table in TABLES.iter() {
        match found.remove(table.name) {
            Some(found) => differences(table, &found, is_sqlite).into_iter().for_each(|text| check.problem(text)),
            None => check.problem(format!("there is no table {}", table.name)),
        }
    }
    check.other_tables = found.into_keys().filter(|name| !OTHERS.contains(&name.as_str())).collect();
    Ok(())
}

fn differences(table: &Table, found: &Found, is_sqlite: bool) -> Vec<String> {
    let mut differences = Vec::new();
    for Column { name: column, holds } in table.columns.iter().copied() {
        let wanted = match (holds, is_sqlite) {
            (Type::Text | Type::Json, _) => "text",
            (Type::Number | Type::Flag, true) => "integer",
            (Type::Number, false) => "bigint",
            (Type::Flag, false) => "boolean",
        };
        match found.columns.get(column) {
            Some(there) if there == wanted => {}
            Some(there) => differences.push(format!("{}.{column} is {there}, not {wanted}", table.name)),
            None => differences.push(format!("{}.{column} is missing", table.name)),
        }
    }
    let known = table.names();
    for column in found.columns.keys().filter(|column| !known.contains(&column.as_str())) {
        differences.push(format!("{}.{column} is not of this version", table.name));
    }
    if !found.key.values().eq(table.key) {
        differences.push(format!("the primary key of {} is not ({})", table.name, table.key.join(", ")));
    }
    differences
}

async fn read(conn: &mut Conn<'_>) -> Result<BTreeMap<String, Found>> {
    let sql = match conn {
        Conn::Sqlite(_) => {
            "SELECT t.name, c.name, lower(c.type), c.pk FROM sqlite_master t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        }
        Conn::Postgres(..) => {
            "SELECT c.table_name::text, c.column_name::text, c.data_type::text, COALESCE(k.ordinal_position, 0)::bigint \
             FROM information_schema.tables t \
             JOIN information_schema.columns c USING (table_schema, table_name) \
             LEFT JOIN information_schema.table_constraints p \
             ON p.constraint_type = 'PRIMARY KEY' AND (p.table_schema, p.table_name) = (t.table_schema, t.table_name) \
             LEFT JOIN information_schema.key_column_usage k \
             ON (k.constraint_schema, k.constraint_name, k.table_name, k.column_name) \
             = (p.constraint_schema, p.constraint_name, c.table_name, c.column_name) \
             WHERE t.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
        }
    };
    let mut tables: BTreeMap<String, Found> = BTreeMap::new();
    for (table, column, holds, place) in fetch!((String, String, String, i64), conn, sql)? {
        let found = tables.entry(table).or_default();
        if place > 0 {
            found.key.insert(place, column.clone());
        }
        found.columns.insert(column, holds);
    }
    Ok(tables)
}
