//! The columns of a table, named once: of one list, `columns!` makes the row that statements read and write, and the lists of
//! names that SELECT, INSERT, UPDATE, export and import have. Nothing depends on the order of the list.

use super::conn::Argument;
use super::json_codes::CodedJson;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// TEXT.
    Text,
    /// TEXT that is JSON with [codes](super::json_codes).
    Json,
    /// BIGINT, on SQLite INTEGER.
    Number,
    /// BOOLEAN, on SQLite INTEGER.
    Flag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) holds: Type,
}

impl Column {
    pub(super) const fn text(name: &'static str) -> Self {
        Self { name, holds: Type::Text }
    }

    pub(super) const fn number(name: &'static str) -> Self {
        Self { name, holds: Type::Number }
    }
}

/// A type that a column is read as and written from.
pub(super) trait Cell: Into<Argument> {
    const HOLDS: Type;
}

macro_rules! cells {
    ($($cell:ty => $holds:ident),+ $(,)?) => {
        $(impl Cell for $cell {
            const HOLDS: Type = Type::$holds;
        }

        impl Cell for Option<$cell> {
            const HOLDS: Type = Type::$holds;
        })+
    };
}

cells!(String => Text, CodedJson => Json, i64 => Number, bool => Flag);

/// The columns of a table as a type: `struct Name { column: Type, … }`; or, where some of them are written again later,
/// `struct Name { fixed: Fixed { column: Type, … }, changing: Changing { … } }`.
macro_rules! columns {
    (
        $(#[$attribute:meta])* $vis:vis struct $name:ident {
            fixed: $fixed:ident { $($fixed_columns:tt)+ },
            changing: $changing:ident { $($changing_columns:tt)+ } $(,)?
        }
    ) => {
        $crate::columns::columns! { $vis struct $fixed { $($fixed_columns)+ } }
        $crate::columns::columns! { $vis struct $changing { $($changing_columns)+ } }

        $(#[$attribute])*
        #[derive(Clone, Debug, sqlx::FromRow)]
        $vis struct $name {
            #[sqlx(flatten)]
            $vis fixed: $fixed,
            #[sqlx(flatten)]
            $vis changing: $changing,
        }

        #[allow(dead_code)]
        impl $name {
            $vis const NAMES: &'static str = $crate::columns::sql!($fixed::NAMES, ", ", $changing::NAMES);
            $vis const WIDTH: usize = $fixed::WIDTH + $changing::WIDTH;

            $vis fn columns() -> Vec<$crate::columns::Column> {
                [$fixed::COLUMNS, $changing::COLUMNS].concat()
            }

            /// For an INSERT of [`Self::NAMES`].
            $vis fn into_arguments(self) -> Vec<$crate::conn::Argument> {
                let mut arguments = self.fixed.into_arguments();
                arguments.extend(self.changing.into_arguments());
                arguments
            }
        }
    };
    (
        $(#[$attribute:meta])* $vis:vis struct $name:ident {
            $(#[$of_first:meta])* $first:ident: $first_type:ty
            $(, $(#[$of_column:meta])* $column:ident: $type:ty)* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, sqlx::FromRow)]
        $vis struct $name {
            $(#[$of_first])* $vis $first: $first_type,
            $($(#[$of_column])* $vis $column: $type),*
        }

        #[allow(dead_code)]
        impl $name {
            $vis const COLUMNS: &'static [$crate::columns::Column] = &[
                $crate::columns::Column { name: stringify!($first), holds: <$first_type as $crate::columns::Cell>::HOLDS },
                $($crate::columns::Column { name: stringify!($column), holds: <$type as $crate::columns::Cell>::HOLDS }),*
            ];
            $vis const WIDTH: usize = Self::COLUMNS.len();
            /// The names, for a SELECT and an INSERT.
            $vis const NAMES: &'static str = concat!(stringify!($first) $(, ", ", stringify!($column))*);
            /// For an UPDATE from rows `v` of such columns.
            $vis const ASSIGNMENTS: &'static str = concat!(
                stringify!($first), " = v.", stringify!($first) $(, ", ", stringify!($column), " = v.", stringify!($column))*
            );

            /// For an INSERT of [`Self::NAMES`].
            $vis fn into_arguments(self) -> Vec<$crate::conn::Argument> {
                vec![self.$first.into() $(, self.$column.into())*]
            }
        }
    };
}

/// A constant text, put together of constant texts.
macro_rules! sql {
    ($($part:expr),+ $(,)?) => {{
        const PARTS: &[&str] = &[$($part),+];
        const BYTES: [u8; $crate::columns::length(PARTS)] = $crate::columns::joined(PARTS);
        // Whole texts one after the other are a text.
        const SQL: &str = if let Ok(sql) = std::str::from_utf8(&BYTES) { sql } else { "" };
        SQL
    }};
}

/// The INSERT of rows of these columns into a table.
macro_rules! insert_into {
    ($table:expr, $columns:ident, $after:expr) => {
        $crate::conn::Values {
            before: $crate::columns::sql!("INSERT INTO ", $table, " (", $columns::NAMES, ") VALUES"),
            width: $columns::WIDTH,
            after: $after,
        }
    };
}

/// The UPDATE of these columns in rows of a table, of each by its `id`, which comes first among the arguments.
macro_rules! update_by_id {
    ($table:expr, $columns:ident) => {
        $crate::conn::Values {
            before: $crate::columns::sql!("WITH v (id, ", $columns::NAMES, ") AS (VALUES"),
            width: 1 + $columns::WIDTH,
            after: $crate::columns::sql!(
                ") UPDATE ",
                $table,
                " SET ",
                $columns::ASSIGNMENTS,
                " FROM v WHERE ",
                $table,
                ".id = v.id"
            ),
        }
    };
}

pub(super) use {columns, insert_into, sql, update_by_id};

pub(super) const fn length(parts: &[&str]) -> usize {
    let (mut length, mut part) = (0, 0);
    while part < parts.len() {
        length += parts[part].len();
        part += 1;
    }
    length
}

pub(super) const fn joined<const LENGTH: usize>(parts: &[&str]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let text = parts[part].as_bytes();
        let mut index = 0;
        while index < text.len() {
            bytes[at] = text[index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::{Placeholder, Values};

    columns! {
        struct Row {
            fixed: Fixed { id: String, at: i64 },
            changing: Changing { note: Option<String>, done: bool },
        }
    }

    #[test]
    fn statements_and_arguments_come_from_one_list() {
        const INSERT: Values = insert_into!("t", Row, " ON CONFLICT DO NOTHING");
        const UPDATE: Values = update_by_id!("t", Changing);
        let row = || Row { fixed: Fixed { id: "a".into(), at: 7 }, changing: Changing { note: None, done: true } };
        assert_eq!(
            INSERT.sql(Placeholder::Plain, 1),
            "INSERT INTO t (id, at, note, done) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            row().into_arguments(),
            ["a".into(), 7_i64.into(), Argument::Text(None), Argument::Bool(Some(true))]
        );
        assert_eq!(
            UPDATE.sql(Placeholder::Plain, 1),
            "WITH v (id, note, done) AS (VALUES (?, ?, ?)) UPDATE t SET note = v.note, done = v.done FROM v WHERE t.id = v.id"
        );
        assert_eq!(row().changing.into_arguments(), [Argument::Text(None), Argument::Bool(Some(true))]);
        let holds: Vec<_> = Row::columns().into_iter().map(|column| (column.name, column.holds)).collect();
        assert_eq!(holds, [("id", Type::Text), ("at", Type::Number), ("note", Type::Text), ("done", Type::Flag)]);
    }
}
