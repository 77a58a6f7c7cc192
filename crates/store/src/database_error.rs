//! What the databases say, as [`StoreError`]s. By code, never by message.

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

use super::StoreError;

/// In [`StoreError::Corrupt`]: the damage is not bound to a table.
pub(super) const DATABASE: &str = "database";

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Database(database) => from_database(database.as_ref()),
            Error::ColumnDecode { index, .. } => Self::corrupt(DATABASE, index, &error),
            Error::Decode(_) => Self::corrupt(DATABASE, "", &error),
            Error::PoolClosed => Self::Closed,
            Error::Tls(_) => Self::Unavailable(with_hint(&error)),
            Error::Io(io) if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Self::Unavailable(with_hint(&error))
            }
            Error::Io(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::WorkerCrashed => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Internal(error.to_string()),
        }
    }
}

fn with_hint(error: &Error) -> String {
    format!(
        "{error}. The server's certificate is checked as sslmode of DATABASE_URL says, which is verify-full where it says nothing \
         and the server is another machine: name its authority by sslrootcert=FILE"
    )
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        from_sqlite(code.parse().unwrap_or(0), error.to_string())
    } else {
        from_postgres(&code, error.to_string())
    }
}

/// <https://www.sqlite.org/rescode.html>; the lowest byte is the primary code.
fn from_sqlite(code: u32, text: String) -> StoreError {
    // IOERR_SHMSIZE: no room for the index of the write-ahead log, as when a database on a full disk is opened.
    if code == 4874 {
        return StoreError::Full(text);
    }
    match code & 0xff {
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, CANTOPEN, PROTOCOL
        5 | 6 | 7 | 9 | 10 | 14 | 15 => StoreError::Unavailable(text),
        // PERM, READONLY
        3 | 8 => StoreError::ReadOnly(text),
        // FULL
        13 => StoreError::Full(text),
        // CORRUPT, NOTADB
        11 | 26 => StoreError::corrupt(DATABASE, "", text),
        _ => StoreError::Internal(text),
    }
}

/// <https://www.postgresql.org/docs/15/errcodes-appendix.html>; the first two characters are the class.
fn from_postgres(code: &str, text: String) -> StoreError {
    match (code.get(..2).unwrap_or_default(), code) {
        // disk_full
        (_, "53100") => StoreError::Full(text),
        // read_only_sql_transaction, insufficient_privilege
        (_, "25006" | "42501") => StoreError::ReadOnly(text),
        // data_corrupted, index_corrupted
        (_, "XX001" | "XX002") => StoreError::corrupt(DATABASE, "", text),
        // Connection, authorization, database unknown, rollback of concurrent transactions, resources, lock not
        // available, intervention of the operator, system error
        ("08" | "28" | "3D" | "40" | "53" | "55" | "57" | "58", _) => StoreError::Unavailable(text),
        _ => StoreError::Internal(text),
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::NewerSchema(version),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match Self::from(error) {
                Self::Internal(text) => Self::Migration(text),
                known => known,
            },
            other => Self::Migration(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_categories() {
        let sqlite = |code| from_sqlite(code, String::new()).category();
        assert_eq!(
            [sqlite(5), sqlite(13), sqlite(1032), sqlite(778)],
            ["unavailable", "full", "read_only", "unavailable"]
        );
        assert_eq!([sqlite(11), sqlite(2067), sqlite(4874)], ["corrupt", "internal", "full"]);
        let postgres = |code| from_postgres(code, String::new()).category();
        assert_eq!([postgres("53100"), postgres("40P01"), postgres("25006")], ["full", "unavailable", "read_only"]);
        assert_eq!([postgres("57P01"), postgres("XX001"), postgres("23505")], ["unavailable", "corrupt", "internal"]);
    }
}
