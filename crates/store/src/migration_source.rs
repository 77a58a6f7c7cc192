//! Migrations from the 16th on are written once, in `migrations/source`, and expanded for each dialect by the rules here;
//! `make generate` writes the files, and a test holds them against their source. CONTRIBUTING.md tells how to write one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The first migration that has a source.
const FIRST: &str = "0016";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    Postgres,
}

/// What stands in a source, and what it is on SQLite and on PostgreSQL.
const PLACEHOLDERS: [(&str, &str, &str); 6] = [
    ("{number}", "INTEGER", "BIGINT"),
    ("{flag}", "INTEGER", "BOOLEAN"),
    ("{bytes}", "BLOB", "BYTEA"),
    // Text that is compared or sorted by its bytes on both: ids, cursors, parts of keys.
    ("{ordered_text}", "TEXT", "TEXT COLLATE \"C\""),
    ("{true}", "1", "TRUE"),
    ("{false}", "0", "FALSE"),
];

/// Words that are of one dialect, or mean another thing in each.
const OF_A_DIALECT: [&str; 10] =
    ["INTEGER", "BIGINT", "BOOLEAN", "INT", "SERIAL", "BLOB", "BYTEA", "COLLATE", "STRICT", "AUTOINCREMENT"];

/// The migration for a dialect; or in which line of the source what is wrong.
fn expand(source: &str, dialect: Dialect) -> Result<String, String> {
    let mut expanded = String::new();
    let mut only = None;
    let mut is_table = false;
    for (number, line) in (1..).zip(source.lines()) {
        match (line, only) {
            ("{sqlite}", None) => only = Some(Dialect::Sqlite),
            ("{postgres}", None) => only = Some(Dialect::Postgres),
            ("{both}", Some(_)) => only = None,
            (line, Some(of)) => expanded.push_str(&if of == dialect { format!("{line}\n") } else { String::new() }),
            (line, None) => {
                let mut line = line.to_owned();
                let code = line.split("--").next().unwrap_or_default();
                let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
                if let Some(word) = words.find(|word| OF_A_DIALECT.contains(word)) {
                    return Err(format!("line {number}: {word} is of one dialect: use a placeholder, or {{sqlite}}"));
                }
                is_table |= line.starts_with("CREATE TABLE");
                if is_table && line == ");" {
                    line = if dialect == Dialect::Sqlite { ") STRICT;".into() } else { line };
                    is_table = false;
                }
                for (placeholder, sqlite, postgres) in PLACEHOLDERS {
                    line = line.replace(placeholder, if dialect == Dialect::Sqlite { sqlite } else { postgres });
                }
                if line.contains(['{', '}']) {
                    return Err(format!("line {number}: no such placeholder: {line}"));
                }
                expanded.push_str(&line);
                expanded.push('\n');
            }
        }
    }
    if only.is_some() { Err("the last part for one dialect has no {both} after it".into()) } else { Ok(expanded) }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name)
}

/// The files of a folder from the first on that has a source, with what they hold.
fn files(name: &str) -> BTreeMap<String, String> {
    let paths = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named
        .filter(|(name, _)| name.as_str() >= FIRST)
        .map(|(name, path)| (name, fs::read_to_string(path).unwrap()))
        .collect()
}

/// With `JCT_WRITE_MIGRATIONS` set, as `make generate` does, writes those that are not there; what is there is never written
/// anew, for databases have it.
#[test]
fn migrations_are_what_their_source_makes() {
    let sources = files("source");
    for (name, dialect) in [("sqlite", Dialect::Sqlite), ("postgres", Dialect::Postgres)] {
        for (file, source) in &sources {
            let expanded = expand(source, dialect).unwrap_or_else(|error| panic!("migrations/source/{file}: {error}"));
            let path = folder(name).join(file);
            if std::env::var_os("JCT_WRITE_MIGRATIONS").is_some() && !path.exists() {
                fs::write(&path, &expanded).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, expanded, "migrations/{name}/{file} is not what its source makes: `make generate`");
        }
        let without: Vec<_> = files(name).into_keys().filter(|file| !sources.contains_key(file)).collect();
        assert!(without.is_empty(), "migrations/{name}: no source in migrations/source: {without:?}");
    }
}

/// What was written twice by hand can be written once: an earlier migration with a table, numbers and triggers of its dialects.
#[test]
fn the_rules_make_what_was_written_for_each_dialect() {
    let source = "-- BIGINT in a comment is no word of a dialect.\n\
                  CREATE TABLE notes (\n    id {ordered_text} NOT NULL PRIMARY KEY,\n    at {number} NOT NULL,\n    \
                  done {flag} NOT NULL DEFAULT {false}\n);\n\
                  {sqlite}\nCREATE TRIGGER one;\n{both}\n{postgres}\nCREATE FUNCTION two () AS $$ {} $$;\n{both}\n\
                  CREATE INDEX notes_at ON notes (at);\n";
    assert_eq!(
        expand(source, Dialect::Sqlite).unwrap(),
        "-- BIGINT in a comment is no word of a dialect.\n\
         CREATE TABLE notes (\n    id TEXT NOT NULL PRIMARY KEY,\n    at INTEGER NOT NULL,\n    \
         done INTEGER NOT NULL DEFAULT 0\n) STRICT;\nCREATE TRIGGER one;\nCREATE INDEX notes_at ON notes (at);\n"
    );
    assert_eq!(
        expand(source, Dialect::Postgres).unwrap(),
        "-- BIGINT in a comment is no word of a dialect.\n\
         CREATE TABLE notes (\n    id TEXT COLLATE \"C\" NOT NULL PRIMARY KEY,\n    at BIGINT NOT NULL,\n    \
         done BOOLEAN NOT NULL DEFAULT FALSE\n);\nCREATE FUNCTION two () AS $$ {} $$;\nCREATE INDEX notes_at ON notes (at);\n"
    );
}

#[test]
fn what_is_of_one_dialect_is_refused_in_a_source() {
    let refused = [
        ("ALTER TABLE tasks ADD COLUMN a INTEGER;", "line 1: INTEGER is of one dialect"),
        ("-- note\nALTER TABLE tasks ADD COLUMN a BOOLEAN;", "line 2: BOOLEAN is of one dialect"),
        ("ALTER TABLE tasks ADD COLUMN a {text};", "line 1: no such placeholder"),
        ("{sqlite}\nSELECT 1;", "has no {both} after it"),
    ];
    for (source, problem) in refused {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let said = expand(source, dialect).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
