//! The tables of the seven kinds: the same columns, and a few of its own for each kind.

use super::columns::{ChangingObjectColumns, ObjectColumns};
use super::model::ObjectField;
use crate::columns::{Column, Type, sql};
use crate::conn::{Conn, Values};
use jct_domain::cwom::Kind;

/// The statements of one kind.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) own: &'static [OwnColumn],
    /// Which of them only one object of a namespace may have alike.
    pub(super) unique: &'static [&'static str],
    /// All rows.
    pub(super) select: &'static str,
    /// Rows by id.
    pub(super) by_id: Values,
    /// Rows by namespace and name of a custom resource that was not seen to go.
    pub(super) by_name: Values,
    /// Rows by the uid of a custom resource that was not seen to go.
    pub(super) by_uid: Values,
    /// The id and the digest of the spec of such a row.
    pub(super) recorded_spec: &'static str,
    /// Rows that were not seen to go, by namespace and what must be unique there.
    pub(super) by_unique: Values,
    /// Rows of custom resources that were not seen to go, a page of them after a namespace, name and id.
    pub(super) present: &'static str,
    /// New rows.
    pub(super) insert: Values,
    /// What may change, after the id.
    pub(super) update: Values,
}

/// A column that one kind has besides those of all: what a field of the spec says, to be found by it.
pub(super) struct OwnColumn {
    pub(super) name: &'static str,
    pub(super) field: &'static str,
    /// The kind of what the field refers to, if it is a reference.
    pub(super) refers_to: Option<Kind>,
}

/// The mark of a second row of an object. Migrations alone set it.
pub(super) const SUPERSEDED_AT: Column = Column::number("superseded_at");

macro_rules! own_column {
    ($name:literal) => {
        OwnColumn { name: $name, field: $name, refers_to: None }
    };
    ($name:literal $field:literal) => {
        OwnColumn { name: $name, field: $field, refers_to: None }
    };
    ($name:literal $field:literal $kind:ident) => {
        OwnColumn { name: $name, field: $field, refers_to: Some(Kind::$kind) }
    };
}

/// The table of a kind, of which these columns must be unique in a namespace, with the kind's own columns: each with the field
/// that it is of, where that has another name, and the kind that the field refers to.
macro_rules! table {
    ($table:literal, unique [$($unique:literal),*], $($own:literal $(of $field:literal $(to $kind:ident)?)?),+ $(,)?) => {{
        const SELECT: &str = sql!("SELECT ", ObjectColumns::NAMES $(, ", ", $own)+, " FROM ", $table);
        Table {
            name: $table,
            own: &[$(own_column!($own $($field $($kind)?)?)),+],
            unique: &[$($unique),*],
            select: SELECT,
            by_id: Values { before: sql!(SELECT, " WHERE id IN (VALUES"), width: 1, after: ")" },
            // Joined, for SQLite reads the whole table for pairs that are IN a list.
            by_name: Values {
                before: sql!(SELECT, " JOIN (VALUES"),
                width: 2,
                after: ") AS v ON namespace = v.column1 AND name = v.column2 \
                        WHERE deleted_at IS NULL AND superseded_at IS NULL",
            },
            by_uid: Values {
                before: sql!(SELECT, " WHERE deleted_at IS NULL AND superseded_at IS NULL AND uid IN (VALUES"),
                width: 1,
                after: ")",
            },
            recorded_spec: concat!(
                "SELECT id, spec_sha256 FROM ", $table, " WHERE deleted_at IS NULL AND superseded_at IS NULL AND uid = $1"
            ),
            by_unique: Values {
                before: concat!("WITH v (of_namespace", $(", of_", $unique,)* ") AS (VALUES"),
                width: 1 + <[&str]>::len(&[$($unique),*]),
                after: sql!(
                    ") ", SELECT, " JOIN v ON namespace = of_namespace", $(" AND ", $unique, " = of_", $unique,)*
                    " WHERE deleted_at IS NULL"
                ),
            },
            present: concat!(
                "SELECT id, namespace, name, uid, superseded_at FROM ", $table, " WHERE name IS NOT NULL AND deleted_at IS NULL ",
                "AND (namespace, name, id) > ($1, $2, $3) ORDER BY namespace, name, id LIMIT $4"
            ),
            insert: Values {
                before: sql!("INSERT INTO ", $table, " (", ObjectColumns::NAMES $(, ", ", $own)+, ") VALUES"),
                width: ObjectColumns::WIDTH + [$($own),+].len(),
                after: "",
            },
            update: Values {
                before: sql!("WITH v (id, ", ChangingObjectColumns::NAMES $(, ", ", $own)+, ") AS (VALUES"),
                width: 1 + ChangingObjectColumns::WIDTH + [$($own),+].len(),
                after: sql!(
                    ") UPDATE ", $table, " SET ", ChangingObjectColumns::ASSIGNMENTS $(, ", ", $own, " = v.", $own)+,
                    " FROM v WHERE ", $table, ".id = v.id"
                ),
            },
        }
    }};
}

/// The table of a kind.
pub(super) fn table(kind: Kind) -> &'static Table {
    const REPOS: Table = table!("cwom_repos", unique["slug"], "slug", "visibility");
    const ISSUES: Table = table!("cwom_issues", unique [], "repo_id" of "repo" to Repo, "status", "type", "priority");
    const PACKETS: Table = table!("cwom_context_packets", unique [], "issue_id" of "for_issue" to Issue);
    const SNAPSHOTS: Table = table!("cwom_constraint_snapshots", unique [], "scope");
    const DOCTRINES: Table = table!(
        "cwom_doctrine_refs", unique ["doctrine_namespace", "doctrine_name", "version"],
        "doctrine_namespace" of "namespace", "doctrine_name" of "name", "version", "type", "priority"
    );
    const RUNS: Table = table!(
        "cwom_runs", unique [], "issue_id" of "for_issue" to Issue, "repo_id" of "repo" to Repo, "status", "mode"
    );
    const ARTIFACTS: Table = table!(
        "cwom_artifacts", unique [], "run_id" of "produced_by" to Run, "issue_id" of "for_issue" to Issue, "type"
    );
    match kind {
        Kind::Repo => &REPOS,
        Kind::Issue => &ISSUES,
        Kind::ContextPacket => &PACKETS,
        Kind::ConstraintSnapshot => &SNAPSHOTS,
        Kind::DoctrineRef => &DOCTRINES,
        Kind::Run => &RUNS,
        Kind::Artifact => &ARTIFACTS,
    }
}

/// All columns of the table of a kind.
pub(crate) fn object_columns(kind: Kind) -> Vec<Column> {
    let mut columns = ObjectColumns::columns();
    if has_index_into_spec(kind) {
        columns.iter_mut().filter(|column| column.holds == Type::Json).for_each(|column| column.holds = Type::Text);
    }
    columns.extend(table(kind).own.iter().map(|own| Column::text(own.name)));
    columns.push(SUPERSEDED_AT);
    columns
}

/// Whether an index looks for a field within the JSON of these objects, which must have no codes then: see [`condition`].
pub(super) fn has_index_into_spec(kind: Kind) -> bool {
    kind == Kind::ConstraintSnapshot
}

/// The condition that lists a kind by a field; none if it does not have that one. What Tasks make is alike in some: of what is not
/// so there is an index, which is about it in these words.
pub(super) fn condition(conn: &Conn<'_>, kind: Kind, field: ObjectField, value: &str) -> Option<&'static str> {
    use Kind::{Artifact, ConstraintSnapshot, ContextPacket, DoctrineRef, Issue, Repo, Run};
    Some(match (field, kind) {
        (ObjectField::Priority, Issue) if value != "P2" => "priority <> 'P2' AND priority = ?",
        (ObjectField::Scope, ConstraintSnapshot) if value != "run" => "scope <> 'run' AND scope = ?",
        (ObjectField::Type, Artifact) if !matches!(value, "report" | "trace" | "code_patch") => {
            "type NOT IN ('report', 'trace', 'code_patch') AND type = ?"
        }
        (ObjectField::Mode, Run) if matches!(value, "human" | "hybrid") => "mode IN ('human', 'hybrid') AND mode = ?",
        (ObjectField::TraceId, _) => "trace_id = ?",
        (ObjectField::Slug, Repo) => "slug = ?",
        (ObjectField::Visibility, Repo) => "visibility = ?",
        (ObjectField::Repo, Issue | Run) => "repo_id = ?",
        (ObjectField::Issue, ContextPacket) => {
            "id IN (SELECT context_packet_id FROM cwom_issue_context_packets WHERE issue_id = ?)"
        }
        (ObjectField::Issue, Run | Artifact) => "issue_id = ?",
        (ObjectField::Run, Artifact) => "run_id = ?",
        (ObjectField::Status, Issue | Run) => "status = ?",
        (ObjectField::Type, Issue | DoctrineRef | Artifact) => "type = ?",
        (ObjectField::Priority, Issue | DoctrineRef) => "priority = ?",
        (ObjectField::Mode, Run) => "mode = ?",
        (ObjectField::Scope, ConstraintSnapshot) => "scope = ?",
        // As their indexes have it.
        (ObjectField::Owner, ConstraintSnapshot) => match conn {
            Conn::Sqlite(..) => "spec ->> '$.owner.actor_id' = ?",
            Conn::Postgres(..) => "((spec::json -> 'owner') ->> 'actor_id') = ?",
        },
        (ObjectField::DoctrineNamespace, DoctrineRef) => "doctrine_namespace = ?",
        _ => return None,
    })
}
