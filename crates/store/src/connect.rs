//! Connections: how they are opened and what they are set to (design decision 12).

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::watch;

use super::conn::{Conn, execute, fetch};
use super::place::explained;
use super::settings::Location;
use super::{Result, StoreError, StoreSettings};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// What every connection to SQLite is set to. The operator's container has no folder for temporary files: where SQLite wants one,
/// for a statement's journal or a large sort, it would fail with SQLITE_IOERR_GETTEMPPATH. And a row that an INSERT OR REPLACE
/// removes counts as deleted for triggers too.
fn with_pragmas(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    options.clone().pragma("temp_store", "memory").pragma("recursive_triggers", "on")
}

/// How many prepared statements the writer keeps: each is there for six numbers of rows, and with too few of them most
/// batches would prepare theirs anew.
const STATEMENTS: usize = 512;

/// How long a statement may take, and its answer, on PostgreSQL where it may take long: a migration, or a look at every row.
const LONG: Timeouts =
    Timeouts { statement: Duration::from_secs(6 * 3600), answer: Duration::from_secs(6 * 3600 + 10) };
/// How long the answer to any other statement may take.
const SHORT: Duration = Duration::from_secs(40);

/// How long a statement may take on PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// By the server.
    statement: Duration,
    /// Until the server has answered.
    answer: Duration,
}

impl Timeouts {
    /// For what everybody waits for: some times what a lock may take.
    fn short(wait: Duration) -> Self {
        Self { statement: wait.saturating_mul(6), answer: SHORT }
    }

    fn setting(self) -> String {
        format!("{}ms", self.statement.as_millis())
    }
}

#[derive(Clone)]
pub(super) enum Connector {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions, Timeouts),
}

/// A connection, owned.
pub(super) enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection, Timeouts),
}

impl Connector {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        match &settings.url.0 {
            Location::Sqlite { options, in_memory } => {
                let options =
                    with_pragmas(options).busy_timeout(settings.wait).foreign_keys(true).disable_statement_logging();
                if *in_memory {
                    return Self::Sqlite(options);
                }
                Self::Sqlite(
                    options
                        .create_if_missing(true)
                        // Of a new file: what retention frees is given back, a part at a time. Of others `jct db compact` makes one.
                        .auto_vacuum(SqliteAutoVacuum::Incremental)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .pragma("journal_size_limit", "67108864")
                        // In KiB. The audit log has a dozen indexes; their hot pages should stay in memory. What does not fit
                        // here is in the kernel's cache, which is not the operator's memory.
                        .pragma("cache_size", "-2048")
                        .statement_cache_capacity(STATEMENTS),
                )
            }
            Location::Postgres(options) => {
                let timeouts = Timeouts::short(settings.wait);
                let options = with_timeouts(options, settings.wait, timeouts).statement_cache_capacity(STATEMENTS);
                Self::Postgres(options, timeouts)
            }
        }
    }

    /// For a database that is there, to read it: nothing is made, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`] if there is no file.
    pub(super) fn reading(settings: &StoreSettings) -> Result<Self> {
        if let Some(file) = settings.url.file_there()? {
            tracing::debug!(file = %file.display(), "the database is opened to be read");
        }
        Ok(match &settings.url.0 {
            Location::Sqlite { options, in_memory: true } => Self::Sqlite(with_pragmas(options)),
            Location::Sqlite { options, in_memory: false } => Self::Sqlite(
                with_pragmas(options)
                    .busy_timeout(settings.wait)
                    .disable_statement_logging()
                    .read_only(true)
                    .immutable(settings.url.is_at_rest()),
            ),
            Location::Postgres(options) => {
                let timeouts = Timeouts::short(settings.wait);
                let options = with_timeouts(options, settings.wait, timeouts);
                Self::Postgres(options.options([("default_transaction_read_only", "on")]), timeouts)
            }
        })
    }

    pub(super) async fn connect(&self) -> Result<Connected> {
        Ok(match self {
            Self::Sqlite(options) => {
                let connected = options.connect().await.map_err(StoreError::from);
                Connected::Sqlite(connected.map_err(|error| explained(error, options.get_filename()))?)
            }
            Self::Postgres(options, timeouts) => {
                let mut connected = Connected::Postgres(options.connect().await?, *timeouts);
                ensure_durable_commits(&mut connected.borrow()).await?;
                connected
            }
        })
    }

    /// From now on a missing file is an error: a new, empty one in its place would hide the loss.
    pub(super) fn without_creating(self) -> Self {
        match self {
            Self::Sqlite(options) => Self::Sqlite(options.create_if_missing(false)),
            postgres => postgres,
        }
    }

    /// For statements that may take long.
    pub(super) fn for_long_statements(self) -> Self {
        match self {
            Self::Postgres(options, _) => {
                Self::Postgres(options.options([("statement_timeout", LONG.setting())]), LONG)
            }
            sqlite => sqlite,
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }
}

impl Connected {
    pub(super) fn borrow(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn, timeouts) => Conn::Postgres(conn, timeouts.answer),
        }
    }

    /// Brings the schema up to date; never back.
    pub(super) async fn migrate(&mut self) -> Result<()> {
        // What `run` does, but for taking a pool too: with that a task which awaits it is not seen to be `Send`.
        match self {
            Self::Sqlite(conn) => SQLITE_MIGRATIONS.run_direct(None, conn, false).await?,
            Self::Postgres(conn, _) => POSTGRES_MIGRATIONS.run_direct(None, conn, false).await?,
        }
        Ok(())
    }

    /// How long statements may take from here on: as long as they need, or again no longer than others.
    pub(super) async fn allow_long_statements(&mut self, is_long: bool) -> Result<()> {
        let Self::Postgres(conn, timeouts) = self else { return Ok(()) };
        let setting = if is_long { LONG.setting() } else { timeouts.setting() };
        sqlx::query("SELECT set_config('statement_timeout', $1, false)").bind(setting).execute(conn).await?;
        Ok(())
    }

    /// A new SQLite database in memory, with what the migrations make: to hold others against.
    pub(super) async fn reference() -> Result<Self> {
        let mut reference = Self::Sqlite(SqliteConnectOptions::new().filename(":memory:").connect().await?);
        reference.migrate().await?;
        Ok(reference)
    }

    /// The migrations that this program knows: version and checksum, in order.
    pub(super) fn known_migrations(&self) -> Vec<(i64, Vec<u8>)> {
        let migrator = match self {
            Self::Sqlite(_) => &SQLITE_MIGRATIONS,
            Self::Postgres(..) => &POSTGRES_MIGRATIONS,
        };
        migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect()
    }

    pub(super) async fn close(self) {
        let closed = match self {
            Self::Sqlite(conn) => conn.close().await,
            Self::Postgres(conn, _) => conn.close().await,
        };
        if let Err(error) = closed {
            tracing::warn!(error = %error, "the database connection did not close cleanly");
        }
    }
}

/// The texts of the migrations for PostgreSQL, in order.
pub(super) fn postgres_migrations() -> impl Iterator<Item = &'static str> {
    POSTGRES_MIGRATIONS.iter().map(|migration| migration.sql.as_str())
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

pub(super) enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Readers {
    /// Those of a store that is only read. There is nobody who would make the folder's files for them.
    pub(super) fn alone(settings: &StoreSettings, connector: &Connector) -> Self {
        let pool = match connector {
            Connector::Sqlite(options) => {
                let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(settings.wait);
                Pool::Sqlite(pool.connect_lazy_with(options.clone()))
            }
            Connector::Postgres(options, _) => {
                let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(settings.wait);
                Pool::Postgres(pool.connect_lazy_with(options.clone()))
            }
        };
        Self { pool, opening: watch::channel(Ok(())).1 }
    }

    pub(super) fn new(settings: &StoreSettings, opening: Opening) -> Self {
        let pool = match &settings.url.0 {
            Location::Sqlite { options, in_memory } => {
                let options = with_pragmas(options).busy_timeout(settings.wait).disable_statement_logging();
                // An in-memory database has no snapshots: its readers wait for the writer and must outlive it.
                let options = if *in_memory { options } else { options.read_only(true) };
                // Each of them looks for single rows.
                let options = options.pragma("cache_size", "-512");
                let pool = SqlitePoolOptions::new().max_connections(settings.readers).acquire_timeout(settings.wait);
                Pool::Sqlite(pool.connect_lazy_with(options))
            }
            Location::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(settings.readers).acquire_timeout(settings.wait);
                let options = with_timeouts(options, settings.wait, Timeouts::short(settings.wait));
                Pool::Postgres(pool.connect_lazy_with(options))
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
            Self::Postgres(conn) => Conn::Postgres(conn, SHORT),
        }
    }
}

/// A commit that PostgreSQL answers must be one that a crash can't undo: a Task would run again whose end was lost. What a
/// session can set is set; of the rest there is a warning.
async fn ensure_durable_commits(conn: &mut Conn<'_>) -> Result<()> {
    let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync')";
    for (commit, fsync) in fetch!((String, String), conn, sql)? {
        if matches!(commit.as_str(), "off" | "local" | "remote_write") {
            tracing::warn!(
                synchronous_commit = commit,
                "synchronous_commit of the PostgreSQL server, database or role answers before a commit is safe; it is set to on \
                 for JCT's sessions: set it there"
            );
            execute!(conn, "SET synchronous_commit = 'on'")?;
        }
        if fsync == "off" {
            tracing::warn!(
                "fsync of the PostgreSQL server is off: a crash of its machine can lose or damage the record"
            );
        }
    }
    Ok(())
}

/// Locks are waited for like on SQLite; no statement that others wait for takes many times that.
fn with_timeouts(options: &PgConnectOptions, wait: Duration, timeouts: Timeouts) -> PgConnectOptions {
    let lock = format!("{}ms", wait.as_millis());
    let statement = timeouts.setting();
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
    async fn every_connection_to_sqlite_has_its_temporaries_in_memory_and_triggers_that_see_replaced_rows() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/jct.db", folder.path().display()).parse().unwrap();
        let settings = StoreSettings::new(url);
        let Connected::Sqlite(mut writer) = Connector::new(&settings).connect().await.unwrap() else { panic!() };
        let readers = Readers::new(&settings, watch::channel(Ok(())).1);
        let Reader::Sqlite(mut reader) = readers.acquire().await.unwrap() else { panic!() };
        for connection in [&mut writer, &mut *reader] {
            // 2 is memory.
            let temporaries = sqlx::query_scalar::<_, i64>("PRAGMA temp_store").fetch_one(&mut *connection);
            assert_eq!(temporaries.await.unwrap(), 2);
            let triggers = sqlx::query_scalar::<_, i64>("PRAGMA recursive_triggers").fetch_one(connection);
            assert_eq!(triggers.await.unwrap(), 1);
        }
    }
}
