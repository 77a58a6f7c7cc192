//! What the migrations for PostgreSQL declare besides tables: read off their text, for there is no second server to ask what
//! they make.

use std::collections::BTreeMap;

/// Indexes, triggers and constraints, by their names; constraints by their table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) indexes: BTreeMap<String, Index>,
    pub(super) triggers: BTreeMap<String, Trigger>,
    pub(super) functions: BTreeMap<String, String>,
    pub(super) constraints: BTreeMap<String, Constraints>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) table: String,
    pub(super) is_unique: bool,
    pub(super) columns: String,
    pub(super) is_partial: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) table: String,
    pub(super) function: String,
    /// `pg_trigger.tgtype`: when it fires, as bits.
    pub(super) fires: i64,
    /// `pg_trigger.tgenabled`.
    pub(super) enabled: char,
}

/// How many constraints of each kind a table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Constraints {
    pub(super) unique: i64,
    pub(super) references: i64,
    pub(super) checks: i64,
}

impl Declared {
    /// What these migrations, one after the other, leave behind.
    pub(super) fn of<'s>(migrations: impl IntoIterator<Item = &'s str>) -> Self {
        let mut declared = Self::default();
        for statement in migrations.into_iter().flat_map(statements) {
            declared.take(&statement);
        }
        declared
    }

    fn take(&mut self, statement: &str) {
        let words: Vec<&str> = statement.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["CREATE", "UNIQUE", "INDEX", name, "ON", table, ..] => self.index(statement, name, table, true),
            ["CREATE", "INDEX", name, "ON", table, ..] => self.index(statement, name, table, false),
            ["DROP", "INDEX", rest @ ..] => {
                self.indexes.remove(rest.last().copied().unwrap_or_default());
            }
            ["CREATE", "TRIGGER", name, rest @ ..] => self.trigger(name, rest),
            ["DROP", "TRIGGER", rest @ ..] => {
                let name = rest.iter().find(|word| !["IF", "EXISTS"].contains(word));
                self.triggers.remove(name.copied().unwrap_or_default());
            }
            ["ALTER", "TABLE", _, "ENABLE", "ALWAYS", "TRIGGER", name] => {
                if let Some(trigger) = self.triggers.get_mut(*name) {
                    trigger.enabled = 'A';
                }
            }
            ["CREATE", "FUNCTION", name, ..] | ["CREATE", "OR", "REPLACE", "FUNCTION", name, ..] => {
                let body = statement.split("$$").nth(1).unwrap_or_default();
                self.functions.insert((*name).into(), body.trim().into());
            }
            ["ALTER", "TABLE", table, "DROP", "CONSTRAINT", name] => {
                // Names that PostgreSQL gives by itself.
                let constraints = self.constraints.entry((*table).into()).or_default();
                constraints.unique -= i64::from(name.ends_with("_key"));
                constraints.references -= i64::from(name.ends_with("_fkey"));
            }
            ["CREATE" | "ALTER", "TABLE", table, rest @ ..] => {
                let constraints = self.constraints.entry((*table).into()).or_default();
                let count = |word: &str| rest.iter().filter(|other| **other == word).count() as i64;
                constraints.unique += count("UNIQUE");
                constraints.references += count("REFERENCES");
                constraints.checks += count("CHECK");
            }
            _ => {}
        }
    }

    fn index(&mut self, statement: &str, name: &str, table: &str, is_unique: bool) {
        let (_, rest) = statement.split_once('(').unwrap_or_default();
        let (columns, rest) = columns(rest);
        let is_partial = rest.contains("WHERE");
        self.indexes.insert(name.into(), Index { table: table.into(), is_unique, columns, is_partial });
    }

    fn trigger(&mut self, name: &str, words: &[&str]) {
        let after = |word: &str| words.iter().position(|other| *other == word).and_then(|at| words.get(at + 1));
        let bit = |word: &str, bit: i64| if words.contains(&word) { bit } else { 0 };
        let fires = bit("ROW", 1) + bit("BEFORE", 2) + bit("INSERT", 4) + bit("DELETE", 8) + bit("UPDATE", 16);
        let trigger = Trigger {
            table: after("ON").copied().unwrap_or_default().into(),
            function: after("FUNCTION").copied().unwrap_or_default().into(),
            fires: fires + bit("TRUNCATE", 32),
            enabled: 'O',
        };
        self.triggers.insert(name.into(), trigger);
    }
}

/// The columns of an index, up to the parenthesis that closes them, and what follows. An expression, in parentheses of its own,
/// is taken as it stands: it has to be written as PostgreSQL shows it.
fn columns(text: &str) -> (String, &str) {
    let (mut depth, mut columns) = (0, vec![String::new()]);
    for (at, letter) in text.char_indices() {
        match letter {
            ')' if depth == 0 => {
                let column = |column: &String| match column.trim() {
                    expression if expression.starts_with('(') => expression.to_owned(),
                    column => column.split_whitespace().next().unwrap_or_default().to_owned(),
                };
                return (columns.iter().map(column).collect::<Vec<_>>().join(", "), &text[at + 1..]);
            }
            ',' if depth == 0 => columns.push(String::new()),
            _ => {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                if let Some(last) = columns.last_mut() {
                    last.push(letter);
                }
            }
        }
    }
    (String::new(), "")
}

/// Statements without comments, each on one line, but for the bodies of functions, which stay as they are.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let sql = lines.collect::<Vec<_>>().join("\n");
    let mut statements = vec![String::new()];
    for (at, part) in sql.split("$$").enumerate() {
        if at % 2 == 1 {
            push(&mut statements, &format!("$${part}$$"));
            continue;
        }
        for (at, piece) in part.split(';').enumerate() {
            if at > 0 {
                statements.push(String::new());
            }
            push(&mut statements, &piece.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    statements
}

fn push(statements: &mut [String], more: &str) {
    if let Some(last) = statements.last_mut()
        && !more.is_empty()
    {
        if !last.is_empty() {
            last.push(' ');
        }
        last.push_str(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_in_their_order() {
        let first = "-- CREATE INDEX no ON t (a);\nCREATE TABLE t (a TEXT UNIQUE, b TEXT REFERENCES s (id),\n UNIQUE (a, b));\
             CREATE UNIQUE INDEX one ON t (a, b DESC) WHERE a IS NOT NULL; CREATE INDEX two ON t (b);\
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN; END $$;\
             CREATE TRIGGER stop BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION f();";
        let second = "DROP INDEX two; ALTER TABLE t DROP CONSTRAINT t_a_key; ALTER TABLE t ENABLE ALWAYS TRIGGER stop; DROP TRIGGER other ON t;";
        let declared = Declared::of([first, second]);
        let one = Index { table: "t".into(), is_unique: true, columns: "a, b".into(), is_partial: true };
        assert_eq!(declared.indexes, BTreeMap::from([("one".to_owned(), one)]));
        let stop = Trigger { table: "t".into(), function: "f".into(), fires: 27, enabled: 'A' };
        assert_eq!(declared.triggers, BTreeMap::from([("stop".to_owned(), stop)]));
        assert_eq!(declared.functions["f"], "BEGIN; END");
        assert_eq!(declared.constraints["t"], Constraints { unique: 1, references: 1, checks: 0 });
    }
}
