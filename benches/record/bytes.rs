//! Bytes by table, index and column.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// All of them.
pub async fn print(url: &str, tasks: usize) -> anyhow::Result<()> {
    let parts = parts(url).await?;
    println!("{:<32} {:>10} {:>10}", "bytes a Task", "rows", "indexes");
    for Part { table, rows, indexes } in &parts {
        if rows + indexes > 0 {
            println!("{table:<32} {:>10} {:>10}", rows / tasks as i64, indexes / tasks as i64);
            for (column, bytes) in columns(url, table).await? {
                if bytes / tasks as i64 > 0 {
                    println!("    {column:<28} {:>10}", bytes / tasks as i64);
                }
            }
        }
    }
    total(&parts, tasks);
    Ok(())
}

/// Those of tables.
pub async fn print_totals(url: &str, tasks: usize) -> anyhow::Result<()> {
    let parts = parts(url).await?;
    total(&parts, tasks);
    Ok(())
}

fn total(parts: &[Part], tasks: usize) {
    let (rows, indexes) = parts.iter().fold((0, 0), |(rows, indexes), part| (rows + part.rows, indexes + part.indexes));
    let of = |bytes: i64| bytes / tasks as i64;
    println!(
        "bytes a Task: {} = {} of rows and {} of indexes; {} MB in all",
        of(rows + indexes),
        of(rows),
        of(indexes),
        (rows + indexes) >> 20
    );
}

struct Part {
    table: String,
    rows: i64,
    indexes: i64,
}

async fn parts(url: &str) -> anyhow::Result<Vec<Part>> {
    let found: Vec<(String, i64, i64)> = if url.starts_with("postgres") {
        let sql = "SELECT relname::text, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class \
                   WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 2 + 3 DESC";
        let mut conn = PgConnection::connect(url).await?;
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut conn).await?;
        sqlx::query_as(sql).fetch_all(&mut conn).await?
    } else {
        let sql = "SELECT s.tbl_name, SUM(CASE s.type WHEN 'table' THEN d.pgsize ELSE 0 END), \
                   SUM(CASE s.type WHEN 'index' THEN d.pgsize ELSE 0 END) \
                   FROM sqlite_schema s JOIN (SELECT name, SUM(pgsize) AS pgsize FROM dbstat GROUP BY name) d ON d.name = s.name \
                   GROUP BY s.tbl_name ORDER BY SUM(d.pgsize) DESC";
        let mut conn = SqliteConnection::connect(url).await?;
        sqlx::query_as(sql).fetch_all(&mut conn).await?
    };
    Ok(found.into_iter().map(|(table, rows, indexes)| Part { table, rows, indexes }).collect())
}

/// What the values of each column take, the greatest first; each index likewise.
async fn columns(url: &str, table: &str) -> anyhow::Result<Vec<(String, i64)>> {
    let mut found: Vec<(String, i64)> = Vec::new();
    if url.starts_with("postgres") {
        let mut conn = PgConnection::connect(url).await?;
        let sql = "SELECT column_name::text FROM information_schema.columns \
                   WHERE table_schema = current_schema() AND table_name = $1";
        let names: Vec<(String,)> = sqlx::query_as(sql).bind(table).fetch_all(&mut conn).await?;
        for (name,) in names {
            let sql = AssertSqlSafe(format!("SELECT COALESCE(SUM(pg_column_size({name})), 0)::bigint FROM {table}"));
            let (bytes,): (i64,) = sqlx::query_as(sql).fetch_one(&mut conn).await?;
            found.push((name, bytes));
        }
        let sql = "SELECT 'index ' || indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index \
                   WHERE indrelid = $1::regclass";
        found.extend(sqlx::query_as::<_, (String, i64)>(sql).bind(table).fetch_all(&mut conn).await?);
    } else {
        let mut conn = SqliteConnection::connect(url).await?;
        let sql = "SELECT name FROM pragma_table_info($1)";
        let names: Vec<(String,)> = sqlx::query_as(sql).bind(table).fetch_all(&mut conn).await?;
        for (name,) in names {
            let sql = format!(
                "SELECT COALESCE(SUM(CASE typeof({name}) WHEN 'integer' THEN 6 WHEN 'null' THEN 0 \
                               ELSE length(CAST({name} AS BLOB)) END), 0) FROM {table}"
            );
            let (bytes,): (i64,) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut conn).await?;
            found.push((name, bytes));
        }
        let sql = "SELECT 'index ' || s.name, SUM(d.pgsize) FROM sqlite_schema s JOIN dbstat d ON d.name = s.name \
                   WHERE s.type = 'index' AND s.tbl_name = $1 GROUP BY s.name";
        found.extend(sqlx::query_as::<_, (String, i64)>(sql).bind(table).fetch_all(&mut conn).await?);
    }
    found.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    Ok(found)
}
