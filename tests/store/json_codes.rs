//! JSON has codes in its columns, and nowhere else; what earlier versions wrote has none.

use jct::domain::cwom::Kind;
use jct::store::{AuditCheck, ObjectField, ObjectFilter, Page, Store};
use rstest::rstest;
use serde_json::Value;

use crate::harness::{Backend, Backend::*, Database, audit};
use crate::maintenance::{export, fill, import, problems, rows};

/// The bytes of the JSON of all entries and Issues, as it is stored.
async fn stored(db: &Database) -> (i64, i64) {
    (
        db.number("SELECT CAST(SUM(LENGTH(before)) + SUM(LENGTH(after)) AS BIGINT) FROM audit_log").await,
        db.number("SELECT CAST(SUM(LENGTH(spec)) AS BIGINT) FROM cwom_issues").await,
    )
}

/// The same, as it is exported.
fn exported(export: &str) -> (i64, i64) {
    let of = |table: &str, columns: &[&str]| {
        let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let rows = lines.filter(|line| line["table"] == table);
        let length = |row: Value| -> usize {
            columns.iter().filter_map(|column| row["row"][column].as_str()).map(|text| text.chars().count()).sum()
        };
        i64::try_from(rows.map(length).sum::<usize>()).unwrap()
    };
    (of("audit_log", &["before", "after"]), of("cwom_issues", &["spec"]))
}

#[rstest]
#[case(Sqlite, Postgres)]
#[case(Postgres, Sqlite)]
#[tokio::test]
async fn columns_have_codes_that_neither_an_export_nor_a_reader_sees(#[case] here: Backend, #[case] there: Backend) {
    let first = Database::fresh(here).await;
    fill(&first.store, 0, 4).await;
    let original = export(&first).await;
    let (plain, coded) = (exported(&original), stored(&first).await);
    assert!(coded.0 * 100 < plain.0 * 85 && coded.1 * 100 < plain.1 * 85, "{coded:?} of {plain:?}");
    assert!(!original.contains("\\u00"), "a code is in the export");
    assert!(!audit(&first.store).await.to_string().contains("\\u00"), "a reader sees a code");
    // An import stores them likewise.
    let second = Database::fresh(there).await;
    import(&second, &original).await.unwrap();
    assert_eq!(stored(&second).await, coded);
    assert_eq!(rows(&export(&second).await), rows(&original));
    // An index looks into these.
    let store = Store::open(&second.settings).await.unwrap();
    let filter = ObjectFilter { fields: vec![(ObjectField::Owner, "ada".into())], ..ObjectFilter::default() };
    let found = store.objects(Kind::ConstraintSnapshot, &filter, Page::default()).await.unwrap();
    assert_eq!(found.len(), 4);
}

#[rstest]
#[tokio::test]
async fn entries_of_earlier_versions_say_what_they_said(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    fill(&db.store, 0, 4).await;
    let (original, reported, coded) = (export(&db).await, audit(&db.store).await, stored(&db).await.0);
    db.write_entries_without_codes().await;
    assert_eq!(stored(&db).await.0, exported(&original).0, "a control");
    assert_eq!(rows(&export(&db).await), rows(&original));
    assert_eq!(audit(&db.store).await, reported);
    // And later ones follow them.
    fill(&db.store, 4, 4).await;
    assert!(stored(&db).await.0 < exported(&original).0 + coded * 11 / 10);
    assert!(matches!(db.store.verify_audit().await.unwrap(), AuditCheck::Intact { .. }));
    let is_of_a_trigger = |problem: &String| problem.contains("trigger");
    let found: Vec<String> =
        db.check().await.problems.into_iter().filter(|problem| !is_of_a_trigger(problem)).collect();
    assert_eq!(found, [] as [&str; 0]);
    let copy = Database::fresh(Sqlite).await;
    import(&copy, &export(&db).await).await.unwrap();
    assert_eq!(problems(&copy).await, [] as [&str; 0]);
}
