//! Where the record lies.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
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
            let options: PgConnectOptions = text.parse().map_err(|_| InvalidDatabaseUrl::Postgres)?;
            let is_said = names_ssl_mode(text) || std::env::var_os("PGSSLMODE").is_some();
            let is_for_us_to_say = !is_said && !is_local(&options);
            let options = if is_for_us_to_say { options.ssl_mode(PgSslMode::VerifyFull) } else { options };
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

    /// What makes a connection to the database unsafe that leaves this machine; none if nothing does.
    pub fn warning(&self) -> Option<String> {
        let Location::Postgres(options) = &self.0 else { return None };
        let what = match options.get_ssl_mode() {
            _ if is_local(options) => return None,
            PgSslMode::VerifyFull | PgSslMode::VerifyCa => return None,
            PgSslMode::Disable | PgSslMode::Allow => {
                "is not encrypted: whoever is on the way reads and changes the record"
            }
            PgSslMode::Prefer => "may be without encryption, and is to whoever answers",
            PgSslMode::Require => "is encrypted, but to whoever answers: no certificate is checked",
        };
        Some(format!(
            "the connection to PostgreSQL at {} {what}. sslmode of DATABASE_URL (or PGSSLMODE) says so; without it, it would \
             be verify-full",
            options.get_host()
        ))
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

/// Whether nothing of a connection leaves this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the URL says how the connection is to be secured.
fn names_ssl_mode(url: &str) -> bool {
    let (_, query) = url.split_once('?').unwrap_or_default();
    query.split('&').any(|parameter| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        matches!(name, "sslmode" | "ssl-mode")
    })
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_safe_string())
    }
}

/// How the store works. [`StoreSettings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: DatabaseUrl,
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn mode(url: &str) -> (&'static str, bool) {
        let url: DatabaseUrl = url.parse().unwrap();
        let Location::Postgres(options) = &url.0 else { panic!() };
        let mode = match options.get_ssl_mode() {
            PgSslMode::VerifyFull => "verify-full",
            PgSslMode::VerifyCa => "verify-ca",
            PgSslMode::Require => "require",
            PgSslMode::Prefer => "prefer",
            PgSslMode::Allow => "allow",
            PgSslMode::Disable => "disable",
        };
        (mode, url.warning().is_some())
    }

    #[rstest]
    #[case("postgres://jct:secret@db.example.org/jct", "verify-full", false)]
    #[case("postgres://jct@10.0.0.7:5432/jct?application_name=x", "verify-full", false)]
    #[case("postgres://jct@127.example.org/jct", "verify-full", false)]
    #[case("postgres://jct@localhost.example.org/jct", "verify-full", false)]
    #[case("postgres://jct@db/jct?application_name=sslmode", "verify-full", false)]
    #[case("postgres://jct@localhost/jct?host=db.example.org", "verify-full", false)]
    #[case("postgres://jct@db/jct?sslmode=verify-ca", "verify-ca", false)]
    #[case("postgres://jct@db/jct?sslmode=prefer", "prefer", true)]
    #[case("postgres://jct@db/jct?application_name=x&ssl-mode=require", "require", true)]
    #[case("postgres://jct@db/jct?sslmode=disable", "disable", true)]
    #[case("postgres://jct@localhost/jct", "prefer", false)]
    #[case("postgres://jct@127.0.0.1/jct", "prefer", false)]
    #[case("postgres://jct@[::1]/jct", "prefer", false)]
    #[case("postgres://jct@db/jct?host=/var/run/postgresql", "prefer", false)]
    #[case("postgres://jct@localhost/jct?sslmode=disable", "disable", false)]
    fn what_leaves_the_machine_is_verified_unless_the_url_says_otherwise(
        #[case] url: &str,
        #[case] expected: &str,
        #[case] warns: bool,
    ) {
        assert_eq!(mode(url), (expected, warns));
    }

    #[test]
    fn a_warning_shows_no_password() {
        let url: DatabaseUrl = "postgres://jct:s3cret@db/jct?sslmode=require".parse().unwrap();
        assert!(!url.warning().unwrap().contains("s3cret"));
    }
}
