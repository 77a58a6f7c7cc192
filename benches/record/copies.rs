//! Copies of the Tasks that are there, under other ids.

use std::ops::Range;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// Columns that hold what is another in each copy.
const IDS: [&str; 21] = [
    "id",
    "task_id",
    "job_id",
    "trace_id",
    "uid",
    "name",
    "entity_id",
    "owner_id",
    "issue_id",
    "context_packet_id",
    "constraint_snapshot_id",
    "doctrine_ref_id",
    "run_id",
    "other_id",
    "cwom_issue_id",
    "cwom_run_id",
    "idempotency_key",
    "job_name",
    "assigned_to",
    "trace_path",
    "worker_id",
];
/// What copies refer to as the first ones do.
const SHARED: [&str; 3] = ["cwom_repos", "contents", "cwom_doctrine_refs"];

/// Adds the copies with these numbers of the Tasks that there were at first; the numbers begin with 1.
pub async fn add(url: &str, numbers: Range<usize>) -> anyhow::Result<()> {
    let is_postgres = url.starts_with("postgres");
    let mut statements = Vec::new();
    for table in tables(url).await? {
        let names: Vec<&str> = table.columns.iter().map(String::as_str).collect();
        let value = |name: &&str| match *name {
            "seq" => "seq + {n} * (SELECT entries FROM bench_size)".to_owned(),
            "idempotency_key" => "idempotency_key || '{tag}'".to_owned(),
            // Of ids neither the time, nor what tells those of one moment apart.
            name if IDS.contains(&name) => format!("substr({name}, 1, 10) || '{{tag}}' || substr({name}, 15)"),
            name => name.to_owned(),
        };
        let values: Vec<String> = names.iter().map(value).collect();
        let first = match names.contains(&"seq") {
            true => " WHERE seq <= (SELECT entries FROM bench_size)".to_owned(),
            false => format!(" WHERE substr({0}, 11, 2) <> 'ZZ'", table.key),
        };
        statements.push(format!(
            "INSERT INTO {0} ({1}) SELECT {2} FROM {0}{first}",
            table.name,
            names.join(", "),
            values.join(", ")
        ));
    }
    let size = "CREATE TABLE IF NOT EXISTS bench_size AS SELECT MAX(seq) AS entries FROM audit_log";
    let of = |n: usize| -> Vec<String> {
        let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let tag = format!("ZZ{}{}", digits[n / 32 % 32] as char, digits[n % 32] as char);
        statements.iter().map(|sql| sql.replace("{tag}", &tag).replace("{n}", &n.to_string())).collect()
    };
    if is_postgres {
        let mut conn = PgConnection::connect(url).await?;
        sqlx::raw_sql(size).execute(&mut conn).await?;
        for n in numbers {
            for sql in of(n) {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
            }
        }
    } else {
        let mut conn = SqliteConnection::connect(url).await?;
        let setup = "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; \
                     DROP TRIGGER IF EXISTS audit_log_no_replace";
        sqlx::raw_sql(setup).execute(&mut conn).await?;
        sqlx::raw_sql(size).execute(&mut conn).await?;
        // Built anew at the end, somewhat smaller than they grow, in a fraction of the time.
        let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
        let indexes: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut conn).await?;
        for (name, _) in &indexes {
            sqlx::raw_sql(AssertSqlSafe(format!("DROP INDEX {name}"))).execute(&mut conn).await?;
        }
        for n in numbers {
            sqlx::raw_sql("BEGIN").execute(&mut conn).await?;
            for sql in of(n) {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
            }
            sqlx::raw_sql("COMMIT").execute(&mut conn).await?;
        }
        for (_, sql) in indexes {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
        }
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await?;
    }
    Ok(())
}

struct Table {
    name: String,
    columns: Vec<String>,
    /// The column that tells a copy.
    key: &'static str,
}

async fn tables(url: &str) -> anyhow::Result<Vec<Table>> {
    let order = [
        "tasks",
        "jobs",
        "artifacts",
        "cwom_issues",
        "cwom_constraint_snapshots",
        "cwom_context_packets",
        "cwom_runs",
        "cwom_artifacts",
        "content_refs",
        "cwom_issue_context_packets",
        "cwom_issue_constraint_snapshots",
        "cwom_run_context_packets",
        "audit_log",
    ];
    debug_assert!(order.iter().all(|table| !SHARED.contains(table)));
    let mut tables = Vec::new();
    for name in order {
        let columns: Vec<(String,)> = if url.starts_with("postgres") {
            let mut conn = PgConnection::connect(url).await?;
            let sql = "SELECT column_name::text FROM information_schema.columns \
                       WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position";
            sqlx::query_as(sql).bind(name).fetch_all(&mut conn).await?
        } else {
            let mut conn = SqliteConnection::connect(url).await?;
            sqlx::query_as("SELECT name FROM pragma_table_info($1)").bind(name).fetch_all(&mut conn).await?
        };
        let columns: Vec<String> = columns.into_iter().map(|(name,)| name).collect();
        let has = |column: &str| columns.iter().any(|name| name == column);
        let key = ["id", "owner_id", "issue_id", "run_id"].into_iter().find(|key| has(key)).unwrap_or("id");
        tables.push(Table { name: name.into(), columns, key });
    }
    Ok(tables)
}
