//! Reading a review: of all that is sent only what is looked at is made into values, after it was measured.
//!
//! An admission review holds an object twice, with all that others have written into it. Of each object the metadata that
//! concern us and the spec become values, once; a value takes up to fifty times the memory of its text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{ObjectMeta, TypeMeta};
use kube::core::admission::{AdmissionRequest, Operation};
use kube::core::{DynamicObject, GroupVersionKind, GroupVersionResource};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::domain::id::sha256_hex;
use crate::domain::json::{MAX_DEPTH, TOO_DEEP};
use crate::domain::{Code, Finding};
use crate::serve::json::Size;

/// The most values and names in the specs of a review, and in the metadata of an object. 256 KiB of inputs hold as many
/// if there is more in them than brackets and digits.
pub(super) const MAX_NODES: usize = 50_000;
/// The same in what the API server says of the user.
const MAX_USER_NODES: usize = 20_000;

/// A review that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) request: AdmissionRequest<DynamicObject>,
    /// What is to be refused before it is looked at: the object's spec is not in the request then.
    pub(super) findings: Vec<Finding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(default, borrow)]
    api_version: Cow<'a, str>,
    #[serde(default, borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: String,
    kind: GroupVersionKind,
    resource: GroupVersionResource,
    sub_resource: Option<String>,
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    operation: Operation,
    #[serde(borrow)]
    user_info: &'a RawValue,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
    #[serde(default)]
    dry_run: bool,
}

/// An object, hardly looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

/// The metadata without `managedFields`, which may be larger than all the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

/// The fields of an object, each as its text.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

/// More fields than this has no spec of ours.
const MAX_FIELDS: usize = 256;

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with at most {MAX_FIELDS} fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    if fields.len() == MAX_FIELDS {
                        return Err(A::Error::invalid_length(MAX_FIELDS + 1, &self));
                    }
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor).map(Self)
    }
}

/// Reads the review in `body`.
///
/// # Errors
/// A sentence, if it is no review, or none that an API server sends.
pub(super) fn read(body: &[u8]) -> Result<Read, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let review: Review = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Review { api_version, kind, request } = review;
    let request = request.ok_or("the review has no request")?;
    let user = request.user_info.get();
    if Size::of(user.as_bytes()).nodes > MAX_USER_NODES {
        return Err("request.userInfo holds more than any user has".into());
    }
    let user_info: UserInfo = serde_json::from_str(user).map_err(|error| format!("request.userInfo: {error}"))?;
    let new = request.object.map(|raw| outline(raw, "request.object")).transpose()?;
    let old = request.old_object.map(|raw| outline(raw, "request.oldObject")).transpose()?;
    let specs = Specs::of(
        new.as_ref().and_then(|outline| outline.spec),
        old.as_ref().and_then(|outline| outline.spec),
        request.operation == Operation::Create,
    )?;
    let request = AdmissionRequest {
        types: TypeMeta { api_version: api_version.into(), kind: kind.into() },
        uid: request.uid,
        kind: request.kind,
        resource: request.resource,
        sub_resource: request.sub_resource,
        request_kind: None,
        request_resource: None,
        request_sub_resource: None,
        name: request.name,
        namespace: request.namespace,
        operation: request.operation,
        user_info,
        object: new.map(|outline| object(outline, specs.new, specs.digested)).transpose()?,
        old_object: old.map(|outline| object(outline, specs.old, specs.digested)).transpose()?,
        dry_run: request.dry_run,
        options: None,
    };
    Ok(Read { request, findings: specs.findings })
}

fn outline<'a>(raw: &'a RawValue, path: &str) -> Result<Outline<'a>, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("{path}: {error}"))
}

/// The field of an object's data that says that large fields of its spec are but digests.
const DIGESTED: &str = "specIsDigested";

/// Whether large fields of the object's spec are but digests: the digest of the whole can't be had from it.
pub(super) fn is_digested(object: &DynamicObject) -> bool {
    object.data.get(DIGESTED).is_some()
}

fn object(outline: Outline<'_>, spec: Option<Value>, digested: bool) -> Result<DynamicObject, String> {
    let Outline { api_version, kind, metadata, spec: _ } = outline;
    let types = kind.map(|kind| TypeMeta { api_version: api_version.unwrap_or_default(), kind });
    let metadata = metadata.map(self::metadata).transpose()?.unwrap_or_default();
    let data = match spec {
        Some(spec) if digested => json!({ "spec": spec, DIGESTED: true }),
        Some(spec) => json!({ "spec": spec }),
        None => Value::Object(Map::new()),
    };
    Ok(DynamicObject { types, metadata, data })
}

fn metadata(raw: &RawValue) -> Result<ObjectMeta, String> {
    let bad = |error: serde_json::Error| format!("metadata: {error}");
    let text = raw.get();
    let mut size = Size::of(text.as_bytes());
    // Names of the metadata's own fields are few; only with what others manage can it be this much.
    if size.nodes > MAX_NODES {
        let Outlined { managed_fields } = serde_json::from_str(text).map_err(bad)?;
        size.nodes -= managed_fields.map_or(0, |fields| Size::of(fields.get().as_bytes()).nodes);
    }
    if size.nodes > MAX_NODES {
        return Err(format!("metadata: must have at most {MAX_NODES} values and names"));
    }
    let Metadata {
        name,
        generate_name,
        namespace,
        uid,
        resource_version,
        generation,
        creation_timestamp,
        deletion_timestamp,
        labels,
        annotations,
        finalizers,
        owner_references,
    } = serde_json::from_str(text).map_err(bad)?;
    Ok(ObjectMeta {
        name,
        generate_name,
        namespace,
        uid,
        resource_version,
        generation,
        creation_timestamp,
        deletion_timestamp,
        labels,
        annotations,
        finalizers,
        owner_references,
        ..ObjectMeta::default()
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outlined<'a> {
    #[serde(borrow)]
    managed_fields: Option<&'a RawValue>,
}

/// The specs of a review, as values.
#[derive(Default)]
struct Specs {
    new: Option<Value>,
    old: Option<Value>,
    digested: bool,
    findings: Vec<Finding>,
}

impl Specs {
    /// Specs that are too much are refused in a new object. One that is stored already is not: it must be possible to
    /// change its labels, to cancel and to delete it. Its large fields are told apart by their digests, which is all that
    /// a comparison needs.
    fn of(new: Option<&RawValue>, old: Option<&RawValue>, is_create: bool) -> Result<Self, String> {
        let size = |raw: Option<&RawValue>| raw.map_or(Size::default(), |raw| Size::of(raw.get().as_bytes()));
        let total = size(new).with(size(old));
        if total.nodes <= MAX_NODES && total.depth <= MAX_DEPTH {
            return Ok(Self { new: new.map(value).transpose()?, old: old.map(value).transpose()?, ..Self::default() });
        }
        if !is_create {
            return Ok(Self { new: new.map(digested), old: old.map(digested), digested: true, ..Self::default() });
        }
        let message = if total.depth > MAX_DEPTH {
            TOO_DEEP.to_owned()
        } else {
            format!("must have at most {MAX_NODES} values and names, has {}", total.nodes)
        };
        Ok(Self { findings: vec![Finding::new(Code::InvalidSpec, "spec", message)], ..Self::default() })
    }
}

fn value(raw: &RawValue) -> Result<Value, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("spec: {error}"))
}

/// The spec with the digests of its fields in place of those that are more than a few values.
fn digested(raw: &RawValue) -> Value {
    const FEW: usize = 1000;
    let digest = |raw: &RawValue| json!(sha256_hex(raw.get().as_bytes()));
    let Ok(Fields(fields)) = serde_json::from_str(raw.get()) else { return digest(raw) };
    let fields = fields.into_iter().map(|(name, field)| {
        let size = Size::of(field.get().as_bytes());
        let whole = size.nodes <= FEW && size.depth <= MAX_DEPTH;
        let known = if whole { serde_json::from_str(field.get()).ok() } else { None };
        (name, known.unwrap_or_else(|| digest(field)))
    });
    Value::Object(fields.collect())
}
