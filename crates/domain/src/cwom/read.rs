//! The one function that reads a work object, whoever wrote it.
//!
//! Total: any JSON gives all findings. It walks the table of the kind, resolves the defaults, and hands the canonical
//! JSON to the Rust type.

use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

use super::shape::{Field, Holds, Need, Shape};
use super::{Kind, Spec};
use crate::json::{MAX_DEPTH, TOO_DEEP, TOO_MANY_VALUES, crowded, depth};
use crate::{Code, Finding, Id, Naming};

/// More findings than these are not told: a body of nothing but mistakes must not make a longer answer.
const MAX_FINDINGS: usize = 100;

/// Reads a `spec` of `kind`, or a REST body that makes one. A spec comes only with no findings, and without a spec there
/// is a finding.
///
/// A reference in a manifest may have a `name` instead of an `id`. A REST body may name its own `kind`.
pub fn read(kind: Kind, document: &Value, naming: Naming) -> (Option<Spec>, Vec<Finding>) {
    let mut reader = Reader { naming, findings: Vec::new() };
    if let Some(field) = crowded(document) {
        let root = naming.root();
        let path = if root.is_empty() { field.into() } else { format!("{root}.{field}") };
        reader.invalid(&path, TOO_MANY_VALUES);
        // What is listed there is not looked at one by one.
        return (None, reader.findings);
    }
    if depth(document) > MAX_DEPTH {
        reader.invalid("", TOO_DEEP);
        return (None, reader.findings);
    }
    let without_kind = reader.without_kind(kind, document);
    let canonical = reader.object(kind.shape(), Some(without_kind.as_ref().unwrap_or(document)), "");
    if !reader.findings.is_empty() {
        return (None, reader.findings);
    }
    match Spec::from_json(kind, canonical) {
        Ok(spec) => (Some(spec), Vec::new()),
        // A safety net that no input is known to reach.
        Err(error) => {
            reader.invalid("", format!("is not a {kind}: {error}"));
            (None, reader.findings)
        }
    }
}

/// Reads `old` with the fields of a REST body put over it (RFC 7396: null restores a default). Which changes are allowed
/// is for [`super::check_update()`] to say.
pub fn patch(old: &Spec, change: &Value) -> (Option<Spec>, Vec<Finding>) {
    let Some(fields) = change.as_object() else {
        return (None, vec![Finding::new(Code::InvalidSpec, Naming::Rest.path(""), "must be an object")]);
    };
    let derived =
        |name: &str| old.kind().shape().fields.iter().any(|field| field.name == name && field.need == Need::Derived);
    let mut merged = old.to_json();
    let mut kept = Map::new();
    if let Some(map) = merged.as_object_mut() {
        let names: Vec<String> = map.keys().filter(|name| derived(name)).cloned().collect();
        kept.extend(names.iter().filter_map(|name| map.remove_entry(name)));
    }
    merge(&mut merged, fields);
    let (spec, findings) = read(old.kind(), &merged, Naming::Rest);
    let spec = spec.and_then(|spec| {
        let mut json = spec.to_json();
        json.as_object_mut()?.extend(kept);
        Spec::from_json(old.kind(), json).ok()
    });
    (spec, findings)
}

fn merge(target: &mut Value, change: &Map<String, Value>) {
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in change {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(fields) => merge(target.entry(name.clone()).or_insert(Value::Null), fields),
            value => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

struct Reader {
    naming: Naming,
    findings: Vec<Finding>,
}

impl Reader {
    fn invalid(&mut self, path: &str, message: impl Into<String>) {
        let path = if path.is_empty() { self.naming.path("") } else { path.into() };
        self.push(Finding::new(Code::InvalidSpec, path, message));
    }

    fn push(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// The document without its `kind`, where it names one.
    fn without_kind(&mut self, kind: Kind, document: &Value) -> Option<Value> {
        let map = document.as_object().filter(|map| self.naming == Naming::Rest && map.contains_key("kind"))?;
        if map.get("kind") != Some(&kind.as_str().into()) {
            self.invalid("kind", format!("must be {kind}"));
        }
        let mut map = map.clone();
        map.remove("kind");
        Some(Value::Object(map))
    }

    /// The record at `path` with every field, in snake_case; null counts as absent.
    fn object(&mut self, shape: &Shape, value: Option<&Value>, path: &str) -> Value {
        let map = value.and_then(Value::as_object);
        if map.is_none() && value.is_some() {
            self.invalid(path, "must be an object");
            return Value::Null;
        }
        let base = if path.is_empty() { self.naming.root() } else { path };
        let path_of = |name: &str| if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") };
        let mut record = Map::new();
        let mut known = Vec::new();
        for field in shape.fields {
            let name = self.naming.name(field.name);
            let value = map.and_then(|map| map.get(&name)).filter(|value| !value.is_null());
            record.insert(field.name.into(), self.field(field, value, &path_of(&name)));
            known.push(name);
        }
        for name in map.into_iter().flat_map(Map::keys).filter(|name| !known.contains(name)) {
            let shown: String = name.chars().take(64).collect();
            self.invalid(&path_of(&shown), format!("is not a field; the fields here are {}", known.join(", ")));
        }
        Value::Object(record)
    }

    fn field(&mut self, field: &Field, value: Option<&Value>, path: &str) -> Value {
        match (value, field.need) {
            (Some(value), Need::Derived) => {
                if value.as_array().is_none_or(|list| !list.is_empty()) {
                    self.invalid(path, "is derived by JCT; leave it out");
                }
                json!([])
            }
            (Some(value), _) => self.value(&field.holds, value, path),
            (None, Need::Required) => {
                self.invalid(path, "is required");
                Value::Null
            }
            (None, Need::Optional) => Value::Null,
            (None, Need::Or(text)) => text.into(),
            (None, Need::Empty | Need::Derived) => match &field.holds {
                Holds::Object(shape) => self.object(shape, None, path),
                Holds::List(..) => json!([]),
                _ => json!({}),
            },
        }
    }

    fn value(&mut self, holds: &Holds, value: &Value, path: &str) -> Value {
        let problem = match (holds, value) {
            (Holds::Object(shape), value) => return self.object(shape, Some(value), path),
            (Holds::Ref(kinds), value) => return self.reference(kinds, value, path),
            (Holds::List(max, holds), Value::Array(entries)) => return self.list(*max, holds, entries, path),
            (Holds::Time, Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(time) => return json!(to_microseconds(time)),
                Err(_) => "must be a time such as 2026-03-01T12:00:00Z".into(),
            },
            (Holds::Number(..), Value::Number(number)) => {
                let number = number.as_f64();
                match problem(holds, value) {
                    None => return json!(number),
                    Some(problem) => problem,
                }
            }
            (Holds::Integer(..), Value::Number(number)) => match problem(holds, value) {
                None => return json!(whole(number)),
                Some(problem) => problem,
            },
            _ => match problem(holds, value) {
                None => return value.clone(),
                Some(problem) => problem,
            },
        };
        self.invalid(path, problem);
        Value::Null
    }

    fn list(&mut self, max: usize, holds: &Holds, entries: &[Value], path: &str) -> Value {
        if entries.len() > max {
            self.invalid(path, format!("must have at most {max} entries, has {}", entries.len()));
        }
        let mut list: Vec<Value> = Vec::new();
        for (index, entry) in entries.iter().enumerate().take(max) {
            let path = format!("{path}[{index}]");
            let entry = self.value(holds, entry, &path);
            let is_ref = matches!(holds, Holds::Ref(_)) && !entry.is_null();
            let same = |other: &Value| ["kind", "id", "name"].iter().all(|part| other.get(part) == entry.get(part));
            if is_ref && let Some(first) = list.iter().position(same) {
                self.invalid(&path, format!("names the same object as entry {first}; once is enough"));
            }
            list.push(entry);
        }
        Value::Array(list)
    }

    fn reference(&mut self, kinds: &[Kind], value: &Value, path: &str) -> Value {
        let Some(map) = value.as_object() else {
            let form = match self.naming {
                Naming::CustomResource => "{kind, name} or {kind, id}",
                Naming::Rest => "{kind, id}",
            };
            self.invalid(path, format!("must be a reference: {form}"));
            return Value::Null;
        };
        let part = |name: &str| map.get(name).filter(|value| !value.is_null());
        let fits: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        match part("kind").map(Value::as_str) {
            None => self.invalid(&format!("{path}.kind"), format!("is required; it must be {}", fits.join(" or "))),
            Some(kind) if kind.is_some_and(|kind| fits.contains(&kind)) => {}
            Some(_) => self.invalid(&format!("{path}.kind"), format!("must be {}", fits.join(" or "))),
        }
        let named = self.naming == Naming::CustomResource;
        match (part("id"), part("name").filter(|_| named)) {
            (Some(_), Some(_)) => self.invalid(path, "must have either an id or a name"),
            (None, None) if named => self.invalid(path, "must have an id, or the name of an object of this namespace"),
            (None, None) => self.invalid(&format!("{path}.id"), "is required"),
            (Some(id), None) => match id.as_str().map(str::parse::<Id>) {
                Some(Ok(_)) => {}
                // Ids of other systems are well-formed, and lead nowhere.
                Some(Err(_)) if !named && problem(&Holds::Text(1, 128), id).is_none() => {
                    let kind = part("kind").and_then(Value::as_str).unwrap_or(fits[0]);
                    let id = id.as_str().unwrap_or_default();
                    self.push(Finding::dangling(format!("{path}.id"), kind, id));
                }
                Some(Err(problem)) => self.invalid(&format!("{path}.id"), format!("is {problem}")),
                None => self.invalid(&format!("{path}.id"), "must be a string"),
            },
            (None, Some(name)) if name.as_str().is_some_and(is_object_name) => {}
            (None, Some(_)) => self.invalid(
                &format!("{path}.name"),
                "must be the name of an object: at most 253 lower-case letters, digits, '-' and '.'",
            ),
        }
        if let Some(problem) = part("role").and_then(|role| problem(&Holds::Text(1, 64), role)) {
            self.invalid(&format!("{path}.role"), problem);
        }
        let known: &[&str] = if named { &["kind", "id", "name", "role"] } else { &["kind", "id", "role"] };
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let shown: String = name.chars().take(64).collect();
            let message = format!("is not a field; the fields here are {}", known.join(", "));
            self.invalid(&format!("{path}.{shown}"), message);
        }
        let parts = known.iter().filter_map(|name| part(name).map(|value| ((*name).to_owned(), value.clone())));
        Value::Object(parts.collect())
    }
}

/// What is wrong with a value that is neither a record nor a list nor a reference.
fn problem(holds: &Holds, value: &Value) -> Option<String> {
    match (holds, value) {
        (Holds::Text(..) | Holds::Bytes(_), Value::String(text)) if text.contains('\0') => {
            Some("must not contain the character NUL".into())
        }
        (Holds::Text(least, most), Value::String(text)) => {
            let fits = (*least..=*most).contains(&text.chars().count());
            (!fits).then(|| format!("must be {least} to {most} characters"))
        }
        (Holds::Bytes(most), Value::String(text)) => {
            let kib = most / 1024;
            (text.len() > *most).then(|| format!("must be at most {kib} KiB, is {} KiB", text.len().div_ceil(1024)))
        }
        (Holds::Choice(names), Value::String(name)) if names.contains(&name.as_str()) => None,
        (Holds::Choice(names), _) => Some(format!("must be one of {}", names.join(", "))),
        (Holds::Number(least, most), Value::Number(number)) => {
            let fits = number.as_f64().is_some_and(|number| (*least..=*most).contains(&number));
            (!fits).then(|| format!("must be {least} to {most}"))
        }
        (Holds::Integer(least, most), Value::Number(number)) => {
            let fits = whole(number).is_some_and(|number| (*least..=*most).contains(&number));
            (!fits).then(|| format!("must be a whole number, {least} to {most}"))
        }
        (Holds::Free(most), Value::Object(map)) => {
            let (kib, size) = (most / 1024, serde_json::to_vec(map).map_or(usize::MAX, |json| json.len()));
            (size > *most).then(|| format!("must be at most {kib} KiB of JSON, is {} KiB", size.div_ceil(1024)))
        }
        (Holds::Text(..) | Holds::Bytes(_) | Holds::Time, _) => Some("must be a string".into()),
        (Holds::Number(..), _) => Some("must be a number".into()),
        (Holds::Integer(..), _) => Some("must be a whole number".into()),
        (Holds::List(..), _) => Some("must be a list".into()),
        (Holds::Free(_) | Holds::Object(_) | Holds::Ref(_), _) => Some("must be an object".into()),
    }
}

/// The number, if it is whole, also if it is written as `3.0`.
fn whole(number: &Number) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)]
    let of_float = |float: f64| (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(of_float))
}

/// Databases keep microseconds: what comes back must be what went in.
fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Whether `name` is an RFC 1123 subdomain, which the names of custom resources are.
pub fn is_object_name(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && name.split('.').all(|label| ends(label.bytes().next()) && ends(label.bytes().next_back()))
}
