//! The tables of the seven kinds: the same columns, and a few of its own for each kind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{ObjectField, ObjectOrigin, ObjectRow};
use crate::Result;
use crate::conn::{Argument, Conn, RawRow, Values};
use crate::contents::{Content, Contents, digests_in, put_back, take_out};
use crate::rows::{json as read_json, microseconds, parsed, time, time_or_null, to_json};
use jct_domain::Id;
use jct_domain::cwom::{Kind, Object, Ref, Spec, restore, shorten};

/// The statements of one kind.
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
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
    /// What may change.
    pub(super) update: Values,
}

/// The columns that every kind has, and those of its own, by their place.
macro_rules! select {
    ($table:literal, $tail:expr, $($column:literal $place:literal),+) => {
        concat!(
            "SELECT id, trace_id, namespace, name, uid, submitted_by, task_id, created_at, updated_at, recorded_at, ",
            "deleted_at, names, spec, spec_sha256",
            $(", ", $column, " AS own_", $place,)+
            " FROM ",
            $table,
            $tail
        )
    };
}

/// The columns that every kind has; and of those, the ones of an UPDATE, with the id.
const COMMON: usize = 14;
const COMMON_UPDATED: usize = 9;

/// Each own column with its place in the UPDATE.
macro_rules! table {
    ($table:literal, unique [$($unique:literal $key:literal),*], $($column:literal $place:literal),+) => {
        Table {
            name: $table,
            select: select!($table, "", $($column $place),+),
            by_id: Values { before: select!($table, " WHERE id IN (VALUES", $($column $place),+), width: 1, after: ")" },
            // Joined, for SQLite reads the whole table for pairs that are IN a list.
            by_name: Values {
                before: select!($table, " JOIN (VALUES", $($column $place),+),
                width: 2,
                after: ") AS v ON namespace = v.column1 AND name = v.column2 \
                        WHERE deleted_at IS NULL AND superseded_at IS NULL",
            },
            by_uid: Values {
                before: select!($table, " WHERE deleted_at IS NULL AND superseded_at IS NULL AND uid IN (VALUES", $($column $place),+),
                width: 1,
                after: ")",
            },
            recorded_spec: concat!(
                "SELECT id, spec_sha256 FROM ", $table, " WHERE deleted_at IS NULL AND superseded_at IS NULL AND uid = $1"
            ),
            by_unique: Values {
                before: select!($table, " JOIN (VALUES", $($column $place),+),
                width: 1 + <[&str]>::len(&[$($unique),*]),
                after: concat!(
                    ") AS v ON namespace = v.column1", $(" AND ", $unique, " = v.column", $key,)* " WHERE deleted_at IS NULL"
                ),
            },
            present: concat!(
                "SELECT id, namespace, name, uid, superseded_at FROM ", $table, " WHERE name IS NOT NULL AND deleted_at IS NULL ",
                "AND (namespace, name, id) > ($1, $2, $3) ORDER BY namespace, name, id LIMIT $4"
            ),
            insert: Values {
                before: concat!(
                    "INSERT INTO ", $table, " (id, trace_id, namespace, name, uid, submitted_by, task_id, created_at, ",
                    "updated_at, recorded_at, deleted_at, names, spec, spec_sha256", $(", ", $column,)+ ") VALUES"
                ),
                width: COMMON + [$($column),+].len(),
                after: "",
            },
            update: Values {
                before: concat!(
                    "UPDATE ", $table, " SET name = v.column2, uid = v.column3, task_id = v.column4, ",
                    "updated_at = v.column5, deleted_at = v.column6, names = v.column7, spec = v.column8, ",
                    "spec_sha256 = v.column9",
                    $(", ", $column, " = v.column", $place,)+ " FROM (VALUES"
                ),
                width: COMMON_UPDATED + [$($column),+].len(),
                after: concat!(") AS v WHERE ", $table, ".id = v.column1"),
            },
        }
    };
}

/// The table of a kind.
pub(super) fn table(kind: Kind) -> &'static Table {
    const REPOS: Table = table!("cwom_repos", unique ["slug" 2], "slug" 10, "visibility" 11);
    const ISSUES: Table = table!("cwom_issues", unique [], "repo_id" 10, "status" 11, "type" 12, "priority" 13);
    const PACKETS: Table = table!("cwom_context_packets", unique [], "issue_id" 10);
    const SNAPSHOTS: Table = table!("cwom_constraint_snapshots", unique [], "scope" 10);
    const DOCTRINES: Table = table!(
        "cwom_doctrine_refs", unique ["doctrine_namespace" 2, "doctrine_name" 3, "version" 4],
        "doctrine_namespace" 10, "doctrine_name" 11, "version" 12, "type" 13, "priority" 14);
    const RUNS: Table = table!("cwom_runs", unique [], "issue_id" 10, "repo_id" 11, "status" 12, "mode" 13);
    const ARTIFACTS: Table = table!("cwom_artifacts", unique [], "run_id" 10, "issue_id" 11, "type" 12);
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

/// The values of the kind's own columns, in the order of its table.
fn own_columns(spec: &Spec) -> Vec<Argument> {
    let id = |reference: &Ref| Argument::from(reference.id().map(|id| id.to_string()));
    match spec {
        Spec::Repo(spec) => vec![(&spec.slug).into(), spec.visibility.as_str().into()],
        Spec::Issue(spec) => vec![
            id(&spec.repo),
            spec.status.as_str().into(),
            spec.r#type.as_str().into(),
            spec.priority.as_str().into(),
        ],
        Spec::ContextPacket(spec) => vec![id(&spec.for_issue)],
        Spec::ConstraintSnapshot(spec) => vec![spec.scope.as_str().into()],
        Spec::DoctrineRef(spec) => vec![
            (&spec.namespace).into(),
            (&spec.name).into(),
            (&spec.version).into(),
            spec.r#type.as_str().into(),
            spec.priority.as_str().into(),
        ],
        Spec::Run(spec) => {
            vec![id(&spec.for_issue), id(&spec.repo), spec.status.as_str().into(), spec.mode.as_str().into()]
        }
        Spec::Artifact(spec) => vec![id(&spec.produced_by), id(&spec.for_issue), spec.r#type.as_str().into()],
    }
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

/// A row as the database has it.
#[derive(sqlx::FromRow)]
pub(super) struct ObjectColumns {
    id: String,
    trace_id: String,
    namespace: String,
    name: Option<String>,
    uid: Option<String>,
    submitted_by: Option<String>,
    task_id: Option<String>,
    created_at: i64,
    updated_at: i64,
    recorded_at: i64,
    deleted_at: Option<i64>,
    names: String,
    spec: String,
    spec_sha256: Option<String>,
    // The kind's own columns.
    #[sqlx(default)]
    own_10: Option<String>,
    #[sqlx(default)]
    own_11: Option<String>,
    #[sqlx(default)]
    own_12: Option<String>,
    #[sqlx(default)]
    own_13: Option<String>,
    #[sqlx(default)]
    own_14: Option<String>,
}

impl ObjectColumns {
    /// The row's id, also where the rest of it can't be read.
    pub(super) fn id(&self, kind: Kind) -> Result<Id> {
        parsed(table(kind).name, &self.id, &self.id)
    }

    /// The digests of what of the spec is stored elsewhere.
    pub(super) fn digests(&self) -> Vec<String> {
        digests_in(&self.spec)
    }

    /// The row of `kind`, with what of it is stored elsewhere.
    pub(super) fn into_row(self, kind: Kind, contents: &Contents) -> Result<ObjectRow> {
        let table = table(kind).name;
        let Self {
            id,
            trace_id,
            namespace,
            name,
            uid,
            submitted_by,
            task_id,
            created_at,
            updated_at,
            recorded_at,
            deleted_at,
            names,
            spec,
            spec_sha256,
            own_10,
            own_11,
            own_12,
            own_13,
            own_14,
        } = self;
        let mut spec: Value = read_json(table, &id, spec)?;
        put_back(&mut spec, contents).map_err(|problem| crate::StoreError::corrupt(table, &id, problem))?;
        restore_own(kind, &mut spec, [own_10, own_11, own_12, own_13, own_14]);
        restore(kind, &mut spec);
        let spec = Spec::from_json(kind, spec).map_err(|error| crate::StoreError::corrupt(table, &id, error))?;
        Ok(ObjectRow {
            object: Object {
                created_at: time(table, &id, created_at)?,
                updated_at: time(table, &id, updated_at)?,
                trace_id: parsed(table, &id, &trace_id)?,
                id: parsed(table, &id, &id)?,
                spec,
            },
            namespace,
            origin: name.zip(uid).map(|(name, uid)| ObjectOrigin { name, uid }),
            submitted_by,
            task_id: task_id.map(|task_id| parsed(table, &id, &task_id)).transpose()?,
            names: read_json::<BTreeMap<String, Id>>(table, &id, names)?,
            recorded_at: time(table, &id, recorded_at)?,
            deleted_at: time_or_null(table, &id, deleted_at)?,
            spec_sha256,
        })
    }
}

/// Whether `row`, of all columns, can be read as one of `kind`.
pub(crate) fn object_parses(kind: Kind, row: &RawRow) -> Result<()> {
    let mut columns = row.read::<ObjectColumns>()?;
    let own = [&mut columns.own_10, &mut columns.own_11, &mut columns.own_12, &mut columns.own_13, &mut columns.own_14];
    // Under their names here, and after the texts that every kind has.
    for (index, (column, _)) in own.into_iter().zip(own_fields(kind)).enumerate() {
        *column = row.text(COMMON_TEXTS + index)?;
    }
    columns.into_row(kind, &Contents::any()).map(drop)
}

/// How many columns of text every kind has, as the list of tables has them.
const COMMON_TEXTS: usize = 10;

/// Which field of the spec each own column holds, in their order, and the kind that it refers to.
fn own_fields(kind: Kind) -> &'static [(&'static str, Option<Kind>)] {
    match kind {
        Kind::Repo => &[("slug", None), ("visibility", None)],
        Kind::Issue => &[("repo", Some(Kind::Repo)), ("status", None), ("type", None), ("priority", None)],
        Kind::ContextPacket => &[("for_issue", Some(Kind::Issue))],
        Kind::ConstraintSnapshot => &[("scope", None)],
        Kind::DoctrineRef => {
            &[("namespace", None), ("name", None), ("version", None), ("type", None), ("priority", None)]
        }
        Kind::Run => &[("for_issue", Some(Kind::Issue)), ("repo", Some(Kind::Repo)), ("status", None), ("mode", None)],
        Kind::Artifact => &[("produced_by", Some(Kind::Run)), ("for_issue", Some(Kind::Issue)), ("type", None)],
    }
}

/// A field as its own column tells it.
fn own_value(refers_to: Option<Kind>, column: String) -> Value {
    match refers_to {
        Some(kind) => json!({"kind": kind.as_str(), "id": column}),
        None => column.into(),
    }
}

/// Takes out what the own columns tell.
fn shorten_own(kind: Kind, spec: &mut Value, own: &[Argument]) {
    let Value::Object(fields) = spec else { return };
    for ((name, refers_to), column) in own_fields(kind).iter().zip(own) {
        if let Argument::Text(Some(column)) = column
            && fields.get(*name) == Some(&own_value(*refers_to, column.clone()))
        {
            fields.remove(*name);
        }
    }
}

/// Puts in what is not there, as the own columns tell it.
fn restore_own(kind: Kind, spec: &mut Value, own: [Option<String>; 5]) {
    let Value::Object(fields) = spec else { return };
    for ((name, refers_to), column) in own_fields(kind).iter().zip(own) {
        if let Some(column) = column.filter(|_| !fields.contains_key(*name)) {
            fields.insert((*name).into(), own_value(*refers_to, column));
        }
    }
}

/// The spec as it goes into its column, without what is so by default and what the own columns tell; to `contents` what of it is
/// stored elsewhere.
fn stored(object: &Object, contents: &mut Vec<(String, Content)>) -> String {
    let mut json = object.spec.to_json();
    shorten(object.kind(), &mut json);
    shorten_own(object.kind(), &mut json, &own_columns(&object.spec));
    let taken = take_out(object.kind().into(), &mut json);
    contents.extend(taken.into_iter().map(|content| (object.id.to_string(), content)));
    json.to_string()
}

/// In the order of the INSERT.
pub(super) fn all_columns(row: &ObjectRow, contents: &mut Vec<(String, Content)>) -> Result<Vec<Argument>> {
    let spec_text = stored(&row.object, contents);
    let ObjectRow { object, namespace, origin, submitted_by, task_id, names, recorded_at, deleted_at, spec_sha256 } =
        row;
    let Object { id, created_at, updated_at, trace_id, spec } = object;
    let mut columns = vec![
        id.to_string().into(),
        trace_id.as_str().into(),
        namespace.into(),
        origin.as_ref().map(|origin| origin.name.clone()).into(),
        origin.as_ref().map(|origin| origin.uid.clone()).into(),
        submitted_by.into(),
        task_id.map(|id| id.to_string()).into(),
        created_at.as_microsecond().into(),
        updated_at.as_microsecond().into(),
        recorded_at.as_microsecond().into(),
        microseconds(*deleted_at).into(),
        to_json(names)?.into(),
        spec_text.into(),
        spec_sha256.into(),
    ];
    columns.extend(own_columns(spec));
    Ok(columns)
}

/// In the order of the UPDATE.
pub(super) fn changing_columns(row: &ObjectRow, contents: &mut Vec<(String, Content)>) -> Result<Vec<Argument>> {
    let spec_text = stored(&row.object, contents);
    let ObjectRow {
        object,
        namespace: _,
        origin,
        submitted_by: _,
        task_id,
        names,
        recorded_at: _,
        deleted_at,
        spec_sha256,
    } = row;
    let Object { id, created_at: _, updated_at, trace_id: _, spec } = object;
    let mut columns = vec![
        id.to_string().into(),
        origin.as_ref().map(|origin| origin.name.clone()).into(),
        origin.as_ref().map(|origin| origin.uid.clone()).into(),
        task_id.map(|id| id.to_string()).into(),
        updated_at.as_microsecond().into(),
        microseconds(*deleted_at).into(),
        to_json(names)?.into(),
        spec_text.into(),
        spec_sha256.into(),
    ];
    columns.extend(own_columns(spec));
    Ok(columns)
}

/// What only one object of a namespace may have: a Repo's slug; namespace, name and version of a DoctrineRef.
pub(super) fn unique_key(spec: &Spec) -> Option<Vec<String>> {
    match spec {
        Spec::Repo(repo) => Some(vec![repo.slug.clone()]),
        Spec::DoctrineRef(rule) => Some(vec![rule.namespace.clone(), rule.name.clone(), rule.version.clone()]),
        _ => None,
    }
}
