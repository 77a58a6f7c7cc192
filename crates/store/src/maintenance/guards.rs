//! What guards the tables, held against what the migrations make: indexes, triggers, constraints. Whoever takes one away wants
//! to do what it refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::declared::{Constraints, Declared, Index, Trigger};
use super::tables::{OTHERS, TABLES};
use crate::Result;
use crate::conn::{Conn, fetch};
use crate::connect::{Connected, postgres_migrations};

/// Notes what guards are missing, are others, or are not ours.
pub(super) async fn check_guards(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    if matches!(conn, Conn::Sqlite(_)) { of_sqlite(conn, check).await } else { of_postgres(conn, check).await }
}

fn is_ours(table: &str) -> bool {
    TABLES.iter().any(|known| known.name == table) || OTHERS.contains(&table)
}

/// Kind, name and table, and the statement that made it.
type Made = BTreeMap<(String, String, String), String>;

/// SQLite keeps the text of each statement: a fresh database in memory has what ours is to have.
async fn of_sqlite(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let there = present_guards(conn).await?;
    let mut reference = Connected::reference().await?;
    let wanted = present_guards(&mut reference.borrow()).await;
    reference.close().await;
    let wanted = wanted?;
    // Columns are compared by themselves, which tells more.
    let columns_differ = !check.problems.is_empty();
    for (key, sql) in &wanted {
        let (kind, name, table) = key;
        match there.get(key) {
            Some(_) if kind == "table" && columns_differ => {}
            Some(there) if there == sql => {}
            Some(_) => check.problem(format!("the {kind} {name} of {table} is not the one that migrations make")),
            None if kind == "table" => {}
            None => check.problem(format!("the {kind} {name} of {table} is missing: it was dropped")),
        }
    }
    for ((kind, name, table), sql) in there {
        let is_known = wanted.contains_key(&(kind.clone(), name.clone(), table.clone()));
        // An index that makes others' questions faster does no harm.
        let is_harmless = kind == "table" || kind == "index" && !sql.starts_with("CREATE UNIQUE");
        if !is_known && !is_harmless && is_ours(&table) {
            check.problem(format!("the {kind} {name} of {table} is not JCT's"));
        }
    }
    Ok(())
}

async fn present_guards(conn: &mut Conn<'_>) -> Result<Made> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
    let rows = fetch!((String, String, String, String), conn, sql)?;
    let plain = |sql: String| sql.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(rows
        .into_iter()
        .filter(|(_, _, table, _)| is_ours(table))
        .map(|(kind, name, table, sql)| ((kind, name, table), plain(sql)))
        .collect())
}

async fn of_postgres(conn: &mut Conn<'_>, check: &mut Check) -> Result<()> {
    let declared = Declared::of(postgres_migrations());
    indexes(conn, &declared, check).await?;
    triggers(conn, &declared, check).await?;
    constraints(conn, &declared, check).await?;
    let sql = "SELECT c.relname::text, r.rulename::text FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
               WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'";
    for (table, rule) in fetch!((String, String), conn, sql)?.into_iter().filter(|(table, _)| is_ours(table)) {
        check.problem(format!("the rule {rule} of {table} is not JCT's"));
    }
    let sql = "SELECT relname::text FROM pg_class \
               WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relrowsecurity";
    for (table,) in fetch!((String,), conn, sql)?.into_iter().filter(|(table,)| is_ours(table)) {
        check.problem(format!("row security of {table} is on: rows may be hidden from us"));
    }
    Ok(())
}

async fn indexes(conn: &mut Conn<'_>, declared: &Declared, check: &mut Check) -> Result<()> {
    let sql = "SELECT t.relname::text, i.relname::text, x.indisunique, x.indisvalid AND x.indisready, \
               x.indpred IS NOT NULL, \
               (SELECT string_agg(pg_get_indexdef(x.indexrelid, k, true), ', ' ORDER BY k) \
                FROM generate_series(1, x.indnkeyatts::integer) k) \
               FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
               WHERE t.relnamespace = current_schema()::regnamespace \
               AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = x.indexrelid)";
    let mut there = BTreeMap::new();
    for (table, name, is_unique, works, is_partial, columns) in
        fetch!((String, String, bool, bool, bool, Option<String>), conn, sql)?
    {
        let index = Index { table, is_unique, columns: columns.unwrap_or_default(), is_partial };
        there.insert(name, (index, works));
    }
    for (name, wanted) in &declared.indexes {
        let table = &wanted.table;
        match there.remove(name) {
            Some((found, true)) if found == *wanted => {}
            Some((_, false)) => check.problem(format!("the index {name} of {table} is not valid: build it anew")),
            Some(_) => check.problem(format!("the index {name} of {table} is not the one that migrations make")),
            None => check.problem(format!("the index {name} of {table} is missing: it was dropped")),
        }
    }
    for (name, (index, _)) in there.into_iter().filter(|(_, (index, _))| index.is_unique && is_ours(&index.table)) {
        check.problem(format!("the index {name} of {} is not JCT's", index.table));
    }
    Ok(())
}

async fn triggers(conn: &mut Conn<'_>, declared: &Declared, check: &mut Check) -> Result<()> {
    let sql = "SELECT c.relname::text, t.tgname::text, t.tgenabled::text, t.tgtype::bigint, p.proname::text, p.prosrc::text, \
               t.tgisinternal, t.tgqual IS NOT NULL \
               FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid \
               WHERE c.relnamespace = current_schema()::regnamespace";
    let mut off = BTreeSet::new();
    let mut there = BTreeMap::new();
    for (table, name, enabled, fires, function, body, is_internal, is_conditional) in
        fetch!((String, String, String, i64, String, String, bool, bool), conn, sql)?
    {
        let enabled = enabled.chars().next().unwrap_or('D');
        if !is_internal {
            let trigger = Trigger { table, function, fires, enabled };
            there.insert(name, (trigger, body, is_conditional));
        } else if enabled != 'O' {
            off.insert(table);
        }
    }
    for table in off.into_iter().filter(|table| is_ours(table)) {
        check.problem(format!("references from and to {table} are not enforced: their triggers are switched off"));
    }
    for (name, wanted) in &declared.triggers {
        let table = &wanted.table;
        let Some((found, body, is_conditional)) = there.remove(name) else {
            check.problem(format!("the trigger {name} of {table} is missing: it was dropped"));
            continue;
        };
        let is_the_one = Trigger { enabled: wanted.enabled, ..found.clone() } == *wanted
            && declared.functions.get(&wanted.function).is_some_and(|wanted| wanted == body.trim())
            && !is_conditional;
        if !is_the_one {
            check.problem(format!("the trigger {name} of {table} is not the one that migrations make"));
        } else if found.enabled != wanted.enabled {
            let how = if found.enabled == 'D' { "switched off" } else { "passed over in some sessions" };
            check.problem(format!("the trigger {name} of {table} is {how}"));
        }
    }
    for (name, (trigger, ..)) in there.into_iter().filter(|(_, (trigger, ..))| is_ours(&trigger.table)) {
        check.problem(format!("the trigger {name} of {} is not JCT's", trigger.table));
    }
    Ok(())
}

async fn constraints(conn: &mut Conn<'_>, declared: &Declared, check: &mut Check) -> Result<()> {
    let sql = "SELECT c.relname::text, COUNT(*) FILTER (WHERE contype = 'u'), \
               COUNT(*) FILTER (WHERE contype = 'f' AND convalidated), \
               COUNT(*) FILTER (WHERE contype = 'c' AND convalidated) \
               FROM pg_class c LEFT JOIN pg_constraint k ON k.conrelid = c.oid \
               WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' GROUP BY c.relname";
    for (table, unique, references, checks) in fetch!((String, i64, i64, i64), conn, sql)? {
        let Some(wanted) = declared.constraints.get(&table) else { continue };
        if (Constraints { unique, references, checks }) != *wanted {
            let message =
                format!("the constraints of {table} are not those that migrations make: one was dropped or added");
            check.problem(message);
        }
    }
    Ok(())
}
