//! Where the record lies.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

/// The value of `DATABASE_URL`: `sqlite:///absolute/path`, `sqlite://relative/path` or `postgres://user@host/name`.
///
/// It is never shown with its password, neither by `Debug` nor in an error.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Location);

#[derive(Clone)]
pub(super) enum Location {
    Sqlite { options: SqliteConnectOptions, in_memory: bool },
    Postgres(PgConnectOptions),
}

/// Why a text is no [`DatabaseUrl`]. Shows nothing of the text: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// Neither of the two databases.
    #[error("DATABASE_URL must begin with sqlite: or postgres:, such as sqlite:///var/lib/jct/jct.db")]
    Scheme,
    /// No file.
    #[error("DATABASE_URL names no file; write it as sqlite:///absolute/path or sqlite://relative/path")]
    Sqlite,
    /// Not understood.
    #[error("DATABASE_URL is no valid PostgreSQL URL; write it as postgres://user:password@host:5432/database")]
    Postgres,
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let options = text.parse().map_err(|_| InvalidDatabaseUrl::Postgres)?;
            return Ok(Self(Location::Postgres(options)));
        }
        let Some(path) = text.strip_prefix("sqlite:") else { return Err(InvalidDatabaseUrl::Scheme) };
        let path = path.strip_prefix("//").unwrap_or(path);
        let in_memory = path == ":memory:" || path.contains("mode=memory");
        if path.is_empty() || path == "/" || path.starts_with('?') {
            return Err(InvalidDatabaseUrl::Sqlite);
        }
        let options = text.parse().map_err(|_| InvalidDatabaseUrl::Sqlite)?;
        Ok(Self(Location::Sqlite { options, in_memory }))
    }
}

impl DatabaseUrl {
    /// The SQLite file at `path`, whatever characters that holds.
    pub fn file(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path);
        Self(Location::Sqlite { options, in_memory: false })
    }

    /// Whether the record would be gone with the process. Only for tests.
    pub fn is_ephemeral(&self) -> bool {
        matches!(&self.0, Location::Sqlite { in_memory: true, .. })
    }

    /// Whether several replicas may share the database.
    pub fn is_shared(&self) -> bool {
        matches!(&self.0, Location::Postgres(_))
    }

    /// The database for people: without user and password.
    pub fn to_safe_string(&self) -> String {
        match &self.0 {
            Location::Sqlite { options, .. } => format!("sqlite://{}", options.get_filename().display()),
            Location::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                format!("postgres://{}:{}/{database}", options.get_host(), options.get_port())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_safe_string())
    }
}

/// How the store works. [`StoreSettings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Where the record lies.
    pub url: DatabaseUrl,
    /// Connections for reading.
    pub readers: u32,
    /// How long to wait for a lock or a connection before giving up.
    pub wait: Duration,
    /// Writes that may wait for the writer before callers are held back.
    pub queue: usize,
    /// Writes that one transaction takes at most.
    pub batch: usize,
}

impl StoreSettings {
    /// The defaults for a database.
    pub fn new(url: DatabaseUrl) -> Self {
        Self { url, readers: 4, wait: Duration::from_secs(5), queue: 1024, batch: 256 }
    }
}
