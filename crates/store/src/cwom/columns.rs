//! Rows of the seven kinds, from and to what the databases hold.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::{ObjectOrigin, ObjectRow};
use super::table::{OwnColumn, has_index_into_spec, table};
use crate::columns::columns;
use crate::conn::{Argument, RawRow};
use crate::contents::{Content, Contents, digests_in, put_back, take_out};
use crate::json_codes::CodedJson;
use crate::rows::{json as read_json, microseconds, parsed, time, time_or_null, to_json};
use crate::{Result, StoreError};
use jct_domain::Id;
use jct_domain::cwom::{Kind, Object, Spec, restore, shorten};

columns! {
    /// The columns that every kind has.
    pub(super) struct ObjectColumns {
        fixed: FixedObjectColumns {
            id: String,
            trace_id: String,
            namespace: String,
            submitted_by: Option<String>,
            created_at: i64,
            recorded_at: i64,
        },
        changing: ChangingObjectColumns {
            name: Option<String>,
            uid: Option<String>,
            task_id: Option<String>,
            updated_at: i64,
            deleted_at: Option<i64>,
            names: String,
            spec: CodedJson,
            spec_sha256: Option<String>,
        },
    }
}

/// A row as the database has it: the columns of all kinds, and its kind's own in their order.
pub(super) struct StoredObject {
    kind: Kind,
    columns: ObjectColumns,
    own: Vec<Option<String>>,
}

impl StoredObject {
    pub(super) fn read(kind: Kind, row: &RawRow) -> Result<Self> {
        let own = table(kind).own.iter().map(|own| row.text_of(own.name)).collect::<Result<_>>()?;
        Ok(Self { kind, columns: row.read()?, own })
    }

    /// The row's id, also where the rest of it can't be read.
    pub(super) fn id(&self) -> Result<Id> {
        let id = &self.columns.fixed.id;
        parsed(table(self.kind).name, id, id)
    }

    /// The digests of what of the spec is stored elsewhere.
    pub(super) fn digests(&self) -> Vec<String> {
        digests_in(&self.columns.changing.spec.text)
    }

    /// The row, with what of it is stored elsewhere.
    pub(super) fn into_row(self, contents: &Contents) -> Result<ObjectRow> {
        let Self { kind, columns: ObjectColumns { fixed, changing }, own } = self;
        let FixedObjectColumns { id, trace_id, namespace, submitted_by, created_at, recorded_at } = fixed;
        let ChangingObjectColumns { name, uid, task_id, updated_at, deleted_at, names, spec, spec_sha256 } = changing;
        let table = table(kind).name;
        let mut spec: Value = read_json(table, &id, &spec.text)?;
        put_back(&mut spec, contents).map_err(|problem| StoreError::corrupt(table, &id, problem))?;
        restore_own(kind, &mut spec, own);
        restore(kind, &mut spec);
        let spec = Spec::from_json(kind, spec).map_err(|error| StoreError::corrupt(table, &id, error))?;
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
            names: read_json::<BTreeMap<String, Id>>(table, &id, &names)?,
            recorded_at: time(table, &id, recorded_at)?,
            deleted_at: time_or_null(table, &id, deleted_at)?,
            spec_sha256,
        })
    }
}

/// Whether `row`, of all columns, can be read as one of `kind`.
pub(crate) fn object_parses(kind: Kind, row: &RawRow) -> Result<()> {
    StoredObject::read(kind, row)?.into_row(&Contents::any()).map(drop)
}

/// What an own column holds for this spec.
fn own_text(own: &OwnColumn, spec: &Value) -> Option<String> {
    let value = spec.get(own.field)?;
    let text = if own.refers_to.is_some() { value.get("id")? } else { value };
    text.as_str().map(str::to_owned)
}

/// A field as its own column tells it.
fn own_value(own: &OwnColumn, text: String) -> Value {
    match own.refers_to {
        Some(kind) => json!({"kind": kind.as_str(), "id": text}),
        None => text.into(),
    }
}

/// Takes out what the own columns tell.
fn shorten_own(kind: Kind, spec: &mut Value, texts: &[Option<String>]) {
    let Value::Object(fields) = spec else { return };
    for (own, text) in table(kind).own.iter().zip(texts) {
        if let Some(text) = text
            && fields.get(own.field) == Some(&own_value(own, text.clone()))
        {
            fields.remove(own.field);
        }
    }
}

/// Puts in what is not there, as the own columns tell it.
fn restore_own(kind: Kind, spec: &mut Value, texts: Vec<Option<String>>) {
    let Value::Object(fields) = spec else { return };
    for (own, text) in table(kind).own.iter().zip(texts) {
        if let Some(text) = text.filter(|_| !fields.contains_key(own.field)) {
            fields.insert(own.field.into(), own_value(own, text));
        }
    }
}

/// The spec as it goes into its column, without what is so by default and what the own columns tell, and those; to `contents` what
/// of it is stored elsewhere.
fn stored(object: &Object, contents: &mut Vec<(String, Content)>) -> (CodedJson, Vec<Argument>) {
    let (kind, mut json) = (object.kind(), object.spec.to_json());
    let own: Vec<Option<String>> = table(kind).own.iter().map(|own| own_text(own, &json)).collect();
    shorten(kind, &mut json);
    shorten_own(kind, &mut json, &own);
    let taken = take_out(kind.into(), &mut json);
    contents.extend(taken.into_iter().map(|content| (object.id.to_string(), content)));
    let json = json.to_string();
    let json = if has_index_into_spec(kind) { CodedJson::plain(json) } else { CodedJson::new(json) };
    (json, own.into_iter().map(Argument::from).collect())
}

impl ChangingObjectColumns {
    fn of(row: &ObjectRow, spec: CodedJson) -> Result<Self> {
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
        Ok(Self {
            name: origin.as_ref().map(|origin| origin.name.clone()),
            uid: origin.as_ref().map(|origin| origin.uid.clone()),
            task_id: task_id.map(|id| id.to_string()),
            updated_at: object.updated_at.as_microsecond(),
            deleted_at: microseconds(*deleted_at),
            names: to_json(names)?,
            spec,
            spec_sha256: spec_sha256.clone(),
        })
    }
}

/// For the kind's INSERT.
pub(super) fn insert_arguments(row: &ObjectRow, contents: &mut Vec<(String, Content)>) -> Result<Vec<Argument>> {
    let (spec, own) = stored(&row.object, contents);
    let fixed = FixedObjectColumns {
        id: row.object.id.to_string(),
        trace_id: row.object.trace_id.as_str().into(),
        namespace: row.namespace.clone(),
        submitted_by: row.submitted_by.clone(),
        created_at: row.object.created_at.as_microsecond(),
        recorded_at: row.recorded_at.as_microsecond(),
    };
    let changing = ChangingObjectColumns::of(row, spec)?;
    let mut arguments = ObjectColumns { fixed, changing }.into_arguments();
    arguments.extend(own);
    Ok(arguments)
}

/// For the kind's UPDATE.
pub(super) fn update_arguments(row: &ObjectRow, contents: &mut Vec<(String, Content)>) -> Result<Vec<Argument>> {
    let (spec, own) = stored(&row.object, contents);
    let mut arguments = vec![row.object.id.to_string().into()];
    arguments.extend(ChangingObjectColumns::of(row, spec)?.into_arguments());
    arguments.extend(own);
    Ok(arguments)
}

/// What only one object of a namespace may have: a Repo's slug; namespace, name and version of a DoctrineRef.
pub(super) fn unique_key(spec: &Spec) -> Option<Vec<String>> {
    let table = table(spec.kind());
    if table.unique.is_empty() {
        return None;
    }
    let json = spec.to_json();
    let text = |name: &&str| table.own.iter().find(|own| own.name == *name).and_then(|own| own_text(own, &json));
    table.unique.iter().map(text).collect()
}
