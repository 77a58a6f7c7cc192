//! Connections: how they are opened and what they are set to (design decision 12).

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::watch;

use super::conn::Conn;
use super::settings::Location;
use super::{Result, StoreError, StoreSettings};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The operator's container has no folder for temporary files: where SQLite wants one, for a statement's journal or a large
/// sort, it would fail with SQLITE_IOERR_GETTEMPPATH.
fn with_temporaries_in_memory(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options.clone().pragma("temp_store", "memory")
}

/// How many prepared statements the writer keeps: each is there for eight numbers of rows, and with too few of them most
/// batches would prepare theirs anew.
const STATEMENTS: usize = 512;

/// Opens connections for writing.
#[derive(Clone)]
pub(super) enum Connector {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

/// A connection, owned.
pub(super) enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connector {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        match &settings.url.0 {
            Location::Sqlite { options, in_memory } => {
                let options = with_temporaries_in_memory(options)
                    .busy_timeout(settings.wait)
                    .foreign_keys(true)
                    .disable_statement_logging();
                if *in_memory {
                    return Self::Sqlite(options);
                }
                Self::Sqlite(
                    options
                        .create_if_missing(true)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .pragma("journal_size_limit", "67108864")
                        // In KiB. The audit log has a dozen indexes; their hot pages should stay in memory.
                        .pragma("cache_size", "-16384")
                        .statement_cache_capacity(STATEMENTS),
                )
            }
            Location::Postgres(options) => {
                Self::Postgres(with_timeouts(options, settings.wait).statement_cache_capacity(STATEMENTS))
            }
        }
    }

    pub(super) async fn connect(&self) -> Result<Connected> {
        Ok(match self {
            Self::Sqlite(options) => Connected::Sqlite(options.connect().await?),
            Self::Postgres(options) => Connected::Postgres(options.connect().await?),
        })
    }

    /// From now on a missing file is an error: a new, empty one in its place would hide the loss.
    pub(super) fn without_creating(self) -> Self {
        match self {
            Self::Sqlite(options) => Self::Sqlite(options.create_if_missing(false)),
            postgres => postgres,
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl Connected {
    pub(super) fn borrow(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }

    /// Brings the schema up to date; never back.
    pub(super) async fn migrate(&mut self) -> Result<()> {
        // What `run` does, but for taking a pool too: with that a task which awaits it is not seen to be `Send`.
        match self {
            Self::Sqlite(conn) => SQLITE_MIGRATIONS.run_direct(None, conn, false).await?,
            Self::Postgres(conn) => POSTGRES_MIGRATIONS.run_direct(None, conn, false).await?,
        }
        Ok(())
    }

    /// The migrations that this program knows: version and checksum, in order.
    pub(super) fn known_migrations(&self) -> Vec<(i64, Vec<u8>)> {
        let migrator = match self {
            Self::Sqlite(_) => &SQLITE_MIGRATIONS,
            Self::Postgres(_) => &POSTGRES_MIGRATIONS,
        };
        migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect()
    }

    pub(super) async fn close(self) {
        let closed = match self {
            Self::Sqlite(conn) => conn.close().await,
            Self::Postgres(conn) => conn.close().await,
        };
        if let Err(error) = closed {
            tracing::warn!(error = %error, "the database connection did not close cleanly");
        }
    }
}

/// The connections for reading, once the database is opened.
pub(super) struct Readers {
    pool: Pool,
    opening: Opening,
}

/// Whether the database was opened and migrated; before that, what stands in the way.
pub(super) type Opening = watch::Receiver<Result<()>>;

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A connection for reading.
pub(super) enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Readers {
    pub(super) fn new(settings: &StoreSettings, opening: Opening) -> Self {
        let pool = match &settings.url.0 {
            Location::Sqlite { options, in_memory } => {
                let options =
                    with_temporaries_in_memory(options).busy_timeout(settings.wait).disable_statement_logging();
                // An in-memory database has no snapshots: its readers wait for the writer and must outlive it.
                let options = if *in_memory { options } else { options.read_only(true) };
                let pool = SqlitePoolOptions::new().max_connections(settings.readers).acquire_timeout(settings.wait);
                Pool::Sqlite(pool.connect_lazy_with(options))
            }
            Location::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(settings.readers).acquire_timeout(settings.wait);
                Pool::Postgres(pool.connect_lazy_with(with_timeouts(options, settings.wait)))
            }
        };
        Self { pool, opening }
    }

    pub(super) async fn acquire(&self) -> Result<Reader, StoreError> {
        self.opening.borrow().clone()?;
        Ok(match &self.pool {
            Pool::Sqlite(pool) => Reader::Sqlite(pool.acquire().await?),
            Pool::Postgres(pool) => Reader::Postgres(pool.acquire().await?),
        })
    }

    pub(super) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

impl Reader {
    pub(super) fn borrow(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }
}

/// Locks are waited for like on SQLite; no statement of ours takes many times that.
fn with_timeouts(options: &PgConnectOptions, wait: Duration) -> PgConnectOptions {
    let lock = format!("{}ms", wait.as_millis());
    let statement = format!("{}ms", wait.as_millis().saturating_mul(6));
    options
        .clone()
        .application_name("jct")
        .options([("lock_timeout", lock), ("statement_timeout", statement)])
        .disable_statement_logging()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_connection_needs_a_folder_for_temporary_files() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/jct.db", folder.path().display()).parse().unwrap();
        let settings = StoreSettings::new(url);
        let Connected::Sqlite(mut writer) = Connector::new(&settings).connect().await.unwrap() else { panic!() };
        let readers = Readers::new(&settings, watch::channel(Ok(())).1);
        let Reader::Sqlite(mut reader) = readers.acquire().await.unwrap() else { panic!() };
        for connection in [&mut writer, &mut *reader] {
            // 2 is memory.
            assert_eq!(sqlx::query_scalar::<_, i64>("PRAGMA temp_store").fetch_one(connection).await.unwrap(), 2);
        }
    }
}
