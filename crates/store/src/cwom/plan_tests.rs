//! No statement that runs with every write may read a whole table: what SQLite means to do, for several rows at once.

use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::belongings::{DELETE, MADE, USED};
use super::links::Join;
use super::model::ObjectField;
use super::table::{condition, table};
use crate::AuditQuery;
use crate::audit::{CREATED, DENIED, REMOVED, list_sql};
use crate::conn::{Conn, Placeholder, Values};
use crate::retention::{RECORDS, TRACES, UNPURGED};
use crate::rows::{UPDATE_JOBS, UPDATE_TASKS};
use jct_domain::audit::{Action, EntityKind};
use jct_domain::cwom::Kind;

#[tokio::test]
async fn statements_find_their_rows_by_an_index() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::migrate!("migrations/sqlite").run_direct(None, &mut conn, false).await.unwrap();
    let mut statements = [CREATED, DENIED, REMOVED].map(|values| values.sql(Placeholder::Plain, 3)).to_vec();
    let mut add = |values: Values| statements.push(values.sql(Placeholder::Plain, 3));
    add(UPDATE_TASKS);
    add(UPDATE_JOBS);
    for kind in Kind::ALL.iter().copied() {
        let table = table(kind);
        for values in [table.by_id, table.by_name, table.update] {
            add(values);
        }
        if !table.unique.is_empty() {
            add(table.by_unique);
        }
    }
    for join in Join::ALL {
        add(join.select());
        add(join.delete());
    }
    let of_retention = [MADE, TRACES, RECORDS, UNPURGED].into_iter().chain(USED).chain(DELETE);
    statements.extend(of_retention.map(str::to_owned));
    for statement in statements {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
                .fetch_all(&mut conn)
                .await
                .unwrap();
        for (_, _, _, step) in plan {
            let reads_all = step.contains("audit_log_action")
                || step.starts_with("SCAN cwom")
                || step.starts_with("SCAN audit")
                || step.starts_with("SCAN tasks")
                || step.starts_with("SCAN j")
                || step.starts_with("SCAN t ")
                || step.contains("TEMP B-TREE FOR ORDER BY");
            assert!(!reads_all, "{step}: {statement}");
        }
    }
}

/// Conditions as they are written where there is an index about them, and that index.
#[tokio::test]
async fn what_is_rare_is_found_by_an_index_of_its_own() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::migrate!("migrations/sqlite").run_direct(None, &mut conn, false).await.unwrap();
    let audit = |query: AuditQuery| list_sql(&query);
    let borrowed = Conn::Sqlite(&mut conn);
    let objects = |kind: Kind, field, value: &str| {
        format!(
            "SELECT id FROM {} WHERE {} ORDER BY id DESC LIMIT 9",
            table(kind).name,
            condition(&borrowed, kind, field, value).unwrap()
        )
    };
    let kind = |entity_kind| AuditQuery { entity_kind: Some(entity_kind), ..AuditQuery::default() };
    let action = |action| AuditQuery { action: Some(action), ..AuditQuery::default() };
    let cases = [
        (audit(kind(EntityKind::AdmissionDenial)), "audit_log_rare_kind"),
        (audit(kind(EntityKind::Repo)), "audit_log_rare_kind"),
        (audit(action(Action::Deleted)), "audit_log_rare_action"),
        (audit(AuditQuery { actor_id: Some("ada".into()), ..AuditQuery::default() }), "audit_log_actor_id"),
        (objects(Kind::Issue, ObjectField::Priority, "P0"), "cwom_issues_priority"),
        (objects(Kind::ConstraintSnapshot, ObjectField::Scope, "org"), "cwom_constraint_snapshots_scope"),
        (objects(Kind::Run, ObjectField::Mode, "human"), "cwom_runs_mode"),
    ];
    for (sql, index) in cases {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut conn).await.unwrap();
        assert!(plan.iter().any(|(.., step)| step.contains(index)), "{sql}: {plan:?}");
        assert!(!plan.iter().any(|(.., step)| step.contains("TEMP B-TREE")), "{sql}: {plan:?}");
    }
    // What is common is found from the newest back, without a sort.
    for sql in [audit(kind(EntityKind::Task)), audit(action(Action::Created))] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut conn).await.unwrap();
        assert!(!plan.iter().any(|(.., step)| step.contains("TEMP B-TREE")), "{sql}: {plan:?}");
    }
}
