use jct::store::{DatabaseUrl, InvalidDatabaseUrl, Store, StoreError};
use rstest::rstest;

use crate::harness::{Backend, Backend::*, Database, new_task, row};

#[rstest]
#[tokio::test]
async fn opening_again_changes_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    let recorded = row(db.store.record_task(new_task("a")).await.unwrap());
    db.store.close().await;
    for _ in 0..3 {
        let store = Store::open(&db.settings).await.unwrap();
        assert_eq!(store.task(recorded.id).await.unwrap().as_ref(), Some(&recorded));
        store.close().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_newer_database_is_refused(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.close().await;
    db.execute(
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
         SELECT 9999, 'later', installed_on, success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await
    .unwrap();
    let error = Store::open(&db.settings).await.unwrap_err();
    assert_eq!(error, StoreError::NewerSchema(9999));
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[rstest]
#[tokio::test]
async fn a_changed_migration_is_refused(#[values(Sqlite, Postgres)] backend: Backend) {
    let db = Database::fresh(backend).await;
    db.store.close().await;
    db.execute("UPDATE _sqlx_migrations SET checksum = '00' WHERE version = 1").await.unwrap();
    assert_eq!(Store::open(&db.settings).await.unwrap_err().category(), "migration");
}

#[rstest]
#[case("sqlite:///var/lib/jct/jct.db", "sqlite:///var/lib/jct/jct.db")]
#[case("sqlite://relative/jct.db", "sqlite://relative/jct.db")]
#[case("sqlite:jct.db", "sqlite://jct.db")]
#[case("postgres://jct:s3cret@db.example.org/record", "postgres://db.example.org:5432/record")]
#[case("postgresql://jct:s3cret@db:6432/record?sslmode=require", "postgres://db:6432/record")]
fn database_urls(#[case] text: &str, #[case] shown: &str) {
    let url: DatabaseUrl = text.parse().unwrap();
    assert_eq!(url.to_safe_string(), shown);
    assert_eq!(format!("{url:?}"), shown);
    assert!(!url.is_ephemeral());
}

#[rstest]
#[case("", InvalidDatabaseUrl::Scheme)]
#[case("mysql://root:s3cret@db/x", InvalidDatabaseUrl::Scheme)]
#[case("sqlite://", InvalidDatabaseUrl::Sqlite)]
#[case("sqlite:", InvalidDatabaseUrl::Sqlite)]
#[case("sqlite:///x.db?mode=s3cret", InvalidDatabaseUrl::Sqlite)]
#[case("postgres://jct:s3cret@db:port/x", InvalidDatabaseUrl::Postgres)]
#[case("postgres://jct:s3cret@db/x?sslmode=s3cret", InvalidDatabaseUrl::Postgres)]
fn bad_database_urls(#[case] text: &str, #[case] error: InvalidDatabaseUrl) {
    let refused = text.parse::<DatabaseUrl>().unwrap_err();
    assert_eq!(refused, error);
    assert!(refused.to_string().contains("DATABASE_URL") && !refused.to_string().contains("s3cret"));
}
