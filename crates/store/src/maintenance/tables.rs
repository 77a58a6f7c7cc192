//! Every table of the record and its columns: the one list that export, import and check go by.
//!
//! A table that is not here is lost when people move to another database; `jct db check`, and with it the tests, hold the list
//! against the schema of both databases.

use crate::Result;
use crate::audit::entry_parses;
use crate::conn::RawRow;
use crate::contents::content_parses;
use crate::cwom::object_parses;
use crate::rows::{artifact_parses, job_parses, task_parses};
use jct_domain::cwom::Kind;

/// A table.
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// The columns of its primary key, in order.
    pub(super) key: &'static [&'static str],
    /// Columns of type TEXT.
    pub(super) text: &'static [&'static str],
    /// Columns of type BIGINT, on SQLite INTEGER.
    pub(super) numbers: &'static [&'static str],
    /// Columns of type BOOLEAN, on SQLite INTEGER.
    pub(super) flags: &'static [&'static str],
    /// Whether a row, of all columns, is one that this program can read.
    pub(super) parses: fn(&RawRow) -> Result<()>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Number,
    Flag,
}

impl Table {
    /// Every column and what it holds, in the order of every statement.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, Type)> + use<> {
        let text = self.text.iter().map(|name| (*name, Type::Text));
        let numbers = self.numbers.iter().map(|name| (*name, Type::Number));
        text.chain(numbers).chain(self.flags.iter().map(|name| (*name, Type::Flag)))
    }
}

/// A table of one kind of work object: the columns that all of them have, and its own.
macro_rules! objects {
    ($name:literal, $kind:ident $(, $own:literal)+) => {
        Table {
            name: $name,
            key: &["id"],
            text: &[
                "id", "trace_id", "namespace", "name", "uid", "submitted_by", "task_id", "names", "spec", "spec_sha256"
                $(, $own)+
            ],
            numbers: &["created_at", "updated_at", "recorded_at", "deleted_at", "superseded_at"],
            flags: &[],
            parses: |row| object_parses(Kind::$kind, row),
        }
    };
}

/// A table of links: the columns of its key, and what every link has.
macro_rules! links {
    ($name:literal $(, $key:literal)+) => {
        Table {
            name: $name,
            key: &[$($key),+],
            text: &[$($key,)+ "trace_id"],
            numbers: &["created_at"],
            flags: &[],
            parses: |_| Ok(()),
        }
    };
}

/// Every table. The audit log is the first: it only grows, so what is exported of it stays true. The others follow, each
/// after those that it refers to.
pub(super) const TABLES: [Table; 20] = [
    Table {
        name: "audit_log",
        key: &["seq"],
        text: &[
            "id",
            "actor_kind",
            "actor_id",
            "action",
            "entity_kind",
            "entity_id",
            "before",
            "after",
            "note",
            "trace_id",
            "prev_hash",
            "hash",
        ],
        numbers: &["seq", "ts"],
        flags: &[],
        parses: entry_parses,
    },
    Table {
        name: "contents",
        key: &["sha256"],
        text: &["sha256", "body"],
        numbers: &["size_bytes"],
        flags: &[],
        parses: content_parses,
    },
    Table {
        name: "content_refs",
        key: &["owner_id", "sha256"],
        text: &["owner_id", "sha256"],
        numbers: &[],
        flags: &[],
        parses: |_| Ok(()),
    },
    Table {
        name: "tasks",
        key: &["id"],
        text: &[
            "id",
            "trace_id",
            "namespace",
            "name",
            "uid",
            "submitted_by",
            "version",
            "idempotency_key",
            "requested_by_kind",
            "requested_by_id",
            "requested_by_label",
            "objective",
            "operation",
            "target_repo",
            "target_ref",
            "target_path",
            "inputs",
            "metadata",
            "acceptance_criteria",
            "evidence_requirements",
            "executor",
            "status",
            "job_name",
            "source_commit",
            "assigned_to",
            "result",
            "error",
            "trace_path",
            "manifest_sha256",
            "cwom_issue_id",
            "cwom_repo_id",
            "cwom_run_id",
            "restored_by",
            "adopted_by",
            "duplicate_of",
        ],
        numbers: &[
            "time_budget_seconds",
            "max_attempts",
            "attempt",
            "attempt_ended_at",
            "created_at",
            "recorded_at",
            "queued_at",
            "started_at",
            "completed_at",
            "trace_files",
            "deleted_at",
            "infrastructure_failures",
            "trace_removed_at",
            "spec_generation",
        ],
        flags: &["allow_network", "allow_secrets", "create_cwom"],
        parses: task_parses,
    },
    Table {
        name: "jobs",
        key: &["id"],
        text: &[
            "id",
            "task_id",
            "trace_id",
            "job_name",
            "status",
            "worker_id",
            "source_commit",
            "trace_path",
            "manifest_sha256",
            "result",
            "error",
            "trace_removed_by",
        ],
        numbers: &[
            "attempt",
            "created_at",
            "started_at",
            "ended_at",
            "exit_code",
            "trace_files",
            "trace_removed_at",
            "trace_purged_at",
        ],
        flags: &["trace_complete", "manifest_announced"],
        parses: job_parses,
    },
    Table {
        name: "artifacts",
        key: &["job_id", "uri"],
        text: &["id", "task_id", "job_id", "trace_id", "kind", "uri", "content_type", "checksum"],
        numbers: &["size_bytes", "created_at"],
        flags: &[],
        parses: artifact_parses,
    },
    objects!("cwom_repos", Repo, "slug", "visibility"),
    objects!("cwom_issues", Issue, "repo_id", "status", "type", "priority"),
    objects!("cwom_context_packets", ContextPacket, "issue_id"),
    objects!("cwom_constraint_snapshots", ConstraintSnapshot, "scope"),
    objects!("cwom_doctrine_refs", DoctrineRef, "doctrine_namespace", "doctrine_name", "version", "type", "priority"),
    objects!("cwom_runs", Run, "issue_id", "repo_id", "status", "mode"),
    objects!("cwom_artifacts", Artifact, "run_id", "issue_id", "type"),
    links!("cwom_issue_context_packets", "issue_id", "context_packet_id"),
    links!("cwom_issue_doctrine_refs", "issue_id", "doctrine_ref_id"),
    links!("cwom_issue_constraint_snapshots", "issue_id", "constraint_snapshot_id"),
    links!("cwom_run_context_packets", "run_id", "context_packet_id"),
    links!("cwom_run_doctrine_refs", "run_id", "doctrine_ref_id"),
    links!("cwom_context_packet_doctrine_refs", "context_packet_id", "doctrine_ref_id"),
    links!("cwom_issue_relations", "issue_id", "relation", "other_id"),
];

/// Tables that are not rows of the record: the chain's end, which an export tells at its own end; the row that probes write
/// to; notes on deletions that are not recorded yet; what migrations leave; and how far an import is.
pub(super) const OTHERS: [&str; 5] =
    ["audit_head", "store_probe", "deletion_notes", "_sqlx_migrations", super::import::PROGRESS];
