//! Every table of the record: the one list that export, import and check go by. Its columns are those that the statements of
//! the store have.
//!
//! A table that is not here is lost when people move to another database; `jct db check`, and with it the tests, hold the list
//! against the schema of both databases.

use std::sync::LazyLock;

use crate::Result;
use crate::audit::{AuditColumns, entry_parses};
use crate::columns::Column;
use crate::conn::RawRow;
use crate::contents::{ContentColumns, ContentRefColumns, content_parses};
use crate::cwom::{LINK_TABLES, LinkColumns, object_columns, object_parses, table_name};
use crate::ledger::{AccountColumns, ExchangeColumns, HoldColumns, ReservationColumns};
use crate::outbox::OutboxColumns;
use crate::review::{OpenColumns, PackColumns, PeopleColumns, ReviewColumns, decision_parses, pack_parses};
use crate::rows::{ArtifactColumns, DUPLICATE_OF, JobColumns, TaskColumns, artifact_parses, job_parses, task_parses};
use jct_domain::cwom::Kind;

pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns of its primary key, in order.
    pub(super) key: &'static [&'static str],
    /// Every column, in the order of the cells of a row.
    pub(super) columns: Vec<Column>,
    parses: Parses,
}

/// Whether a row, of all columns, is one that this program can read.
enum Parses {
    As(fn(&RawRow) -> Result<()>),
    Object(Kind),
    Always,
}

impl Table {
    fn new(name: &'static str, key: &'static [&'static str], columns: &[Column], parses: Parses) -> Self {
        Self { name, key, columns: columns.to_vec(), parses }
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|column| column.name).collect()
    }

    /// An error unless `row`, of all columns, is one that this program can read.
    pub(super) fn parse(&self, row: &RawRow) -> Result<()> {
        match self.parses {
            Parses::As(parses) => parses(row),
            Parses::Object(kind) => object_parses(kind, row),
            Parses::Always => Ok(()),
        }
    }
}

/// Every table. The audit log is the first: it only grows, so what is exported of it stays true. The others follow, each
/// after those that it refers to.
pub(super) static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let task = [TaskColumns::columns(), vec![DUPLICATE_OF]].concat();
    let mut tables = vec![
        Table::new("audit_log", &["seq"], AuditColumns::COLUMNS, Parses::As(entry_parses)),
        Table::new("contents", &["sha256"], ContentColumns::COLUMNS, Parses::As(content_parses)),
        Table::new("content_refs", &["owner_id", "sha256"], ContentRefColumns::COLUMNS, Parses::Always),
        Table::new("tasks", &["id"], &task, Parses::As(task_parses)),
        Table::new("jobs", &["id"], &JobColumns::columns(), Parses::As(job_parses)),
        Table::new("artifacts", &["job_id", "uri"], ArtifactColumns::COLUMNS, Parses::As(artifact_parses)),
    ];
    tables.extend(
        Kind::ALL
            .iter()
            .map(|kind| Table::new(table_name(*kind), &["id"], &object_columns(*kind), Parses::Object(*kind))),
    );
    tables.extend(LINK_TABLES.iter().map(|(name, key)| {
        let columns = key.iter().map(|name| Column::text(name)).chain(LinkColumns::COLUMNS.iter().copied());
        Table::new(name, key, &columns.collect::<Vec<_>>(), Parses::Always)
    }));
    tables.extend([
        Table::new("model_accounts", &["account"], AccountColumns::COLUMNS, Parses::Always),
        Table::new("model_holds", &["task_id"], HoldColumns::COLUMNS, Parses::Always),
        Table::new("model_reservations", &["id"], ReservationColumns::COLUMNS, Parses::Always),
        Table::new("model_exchanges", &["task_id", "attempt", "seq"], ExchangeColumns::COLUMNS, Parses::Always),
        Table::new("cwom_evidence_packs", &["id"], PackColumns::COLUMNS, Parses::As(pack_parses)),
        Table::new("cwom_review_decisions", &["id"], ReviewColumns::COLUMNS, Parses::As(decision_parses)),
        Table::new("open_reviews", &["pack_id"], OpenColumns::COLUMNS, Parses::Always),
        Table::new("task_people", &["task_id", "user_name"], PeopleColumns::COLUMNS, Parses::Always),
        Table::new("outbox", &["receiver", "event_id"], OutboxColumns::COLUMNS, Parses::Always),
    ]);
    tables
});

/// Tables that are not rows of the record: the chain's end, which an export tells at its own end; the row that probes write
/// to; notes on deletions that are not recorded yet; who is signed in to the console; what migrations leave; and how far an import is.
pub(super) const OTHERS: [&str; 6] =
    ["audit_head", "store_probe", "deletion_notes", "console_sessions", "_sqlx_migrations", super::import::PROGRESS];
