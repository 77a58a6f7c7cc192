//! Whether the database is whole: schema, the database's own check, the chain of the audit log, every row.

use std::collections::BTreeMap;

use super::guards::check_guards;
use super::replay::replay;
use super::rows::{cells, key_of, page, shown};
use super::schema::compare;
use super::tables::TABLES;
use super::{Database, applied_migrations, begin_snapshot, refuse_unfinished_import};
use crate::audit::{AuditCheck, verify_all};
use crate::conn::{Conn, execute, fetch};
use crate::{Result, StoreError};

/// Problems that are told one by one.
const MOST: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The version of the schema.
    pub schema: i64,
    /// Rows in each table; empty if the schema was not to be trusted.
    pub rows: BTreeMap<&'static str, u64>,
    /// Tables that are not JCT's: they are left alone, and not exported.
    pub other_tables: Vec<String>,
    /// The head of the audit log, if it holds.
    pub audit_head: Option<String>,
    /// What is wrong, a sentence for each thing.
    pub problems: Vec<String>,
    /// How many more problems there are.
    pub problems_left_out: u64,
}

impl Check {
    fn count(&self) -> u64 {
        self.problems.len() as u64 + self.problems_left_out
    }

    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        if self.problems.len() < MOST { self.problems.push(problem.into()) } else { self.problems_left_out += 1 }
    }
}

impl Database {
    /// Looks at everything, while others may go on to use the database; changes nothing.
    pub async fn check(&mut self) -> Result<Check> {
        let known = self.connected.known_migrations();
        let conn = &mut self.connected.borrow();
        let mut check = Check::default();
        begin_snapshot(conn).await?;
        check_schema(conn, &known, &mut check).await?;
        check_integrity(conn, &mut check).await?;
        if check.problems.is_empty() {
            compare(conn, &mut check).await?;
            let is_readable = check.problems.is_empty();
            check_guards(conn, &mut check).await?;
            if is_readable {
                check_audit_log(conn, &mut check).await?;
                let before = check.count();
                check_rows(conn, &mut check).await?;
                // What can't be read can't be compared.
                if check.count() == before {
                    replay(conn, &mut check).await?;
                }
            }
        }
        execute!(conn, "COMMIT")?;
        Ok(check)
    }
}

async fn check_schema(conn: &mut Conn<'_>, known: &[(i64, Vec<u8>)], check: &mut Check) -> Result<()> {
    let applied = applied_migrations(conn).await?;
    check.schema = applied.last().map_or(0, |(version, _)| *version);
    for (version, checksum) in &applied {
        match known.iter().find(|(other, _)| other == version) {
            None => check.problem(StoreError::NewerSchema(*version).to_string()),
            Some((_, ours)) if ours != checksum => {
                check.problem(format!("migration {version} is not the one that this version knows: it was changed"));
            }
            Some(_) => {}
        }
    }
    for (version, _) in known.iter().filter(|(version, _)| !applied.iter().any(|(other, _)| other == version)) {
        check.problem(format!("migration {version} is not applied: run `jct db migrate`"));
    }
    if let Err(unfinished) = refuse_unfinished_import(conn).await {
        check.problem(unfinished.to_string());
    }
    Ok(())
}

/// What SQLite can find out about its file. PostgreSQL has no such check; it enforces its constraints itself.
async fn check_integrity(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    if matches!(conn, Conn::Postgres(..)) {
        return Ok(());
    }
    for (found,) in fetch!((String,), conn, "SELECT integrity_check FROM pragma_integrity_check")? {
        if found != "ok" {
            check.problem(format!("the file is damaged: {found}"));
        }
    }
    let sql = "SELECT \"table\", CAST(rowid AS TEXT), parent FROM pragma_foreign_key_check";
    for (table, row, parent) in fetch!((String, Option<String>, String), conn, sql)? {
        check.problem(format!("{table}, row {}: what it refers to is not in {parent}", row.unwrap_or_default()));
    }
    Ok(())
}

async fn check_audit_log(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    match verify_all(conn, &[]).await?.check {
        AuditCheck::Intact { head, .. } => check.audit_head = Some(head),
        AuditCheck::Broken { seq, problem, .. } => {
            check.problem(format!("the audit log is broken at entry {seq}: {problem}"));
        }
    }
    Ok(())
}

async fn check_rows(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    for table in TABLES.iter() {
        let mut after = None;
        let mut count = 0;
        loop {
            let rows = page(conn, table, after.as_deref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(key_of(table, &cells(table, last)?));
            for row in rows {
                count += 1;
                if let Err(error) = table.parse(&row) {
                    let key = cells(table, &row).map(|cells| shown(&key_of(table, &cells))).unwrap_or_default();
                    let detail =
                        if let StoreError::Corrupt { detail, .. } = error { detail } else { error.to_string() };
                    check.problem(format!("{} {key}: {detail}", table.name));
                }
            }
        }
        check.rows.insert(table.name, count);
    }
    Ok(())
}
