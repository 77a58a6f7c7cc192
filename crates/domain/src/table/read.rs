//! Reads what somebody wrote, at either door, by the table of its fields.

use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

use super::{Field, Holds, Need, Shape};
use crate::cwom::Kind;
use crate::json::{MAX_DEPTH, TOO_DEEP, TOO_MANY_VALUES, crowded, depth};
use crate::name::is_object_name;
use crate::{Code, Finding, Id, Naming};

/// Reads records of one document.
#[derive(Debug)]
pub struct Reader {
    /// How its fields are written.
    pub naming: Naming,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    most: usize,
    sorted: bool,
}

impl Reader {
    /// A reader that has found nothing yet.
    pub fn new(naming: Naming) -> Self {
        Self { naming, findings: Vec::new(), most: usize::MAX, sorted: false }
    }

    /// That notes at most so many findings.
    #[must_use]
    pub fn with_at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// That lists fields by their names, and not as the table does.
    #[must_use]
    pub fn sorted(self) -> Self {
        Self { sorted: true, ..self }
    }

    /// Notes what is wrong with what is at `path`; with the whole document, if that is empty.
    pub fn invalid(&mut self, path: &str, message: impl Into<String>) {
        let path = if path.is_empty() { self.naming.path("") } else { path.into() };
        self.push(Finding::new(Code::InvalidSpec, path, message));
    }

    fn push(&mut self, finding: Finding) {
        if self.findings.len() < self.most {
            self.findings.push(finding);
        }
    }

    /// Whether the document has more values than may be; that is noted.
    pub fn is_crowded(&mut self, document: &Value) -> bool {
        let Some(field) = crowded(document) else { return false };
        self.invalid(&below(self.naming.root(), field), TOO_MANY_VALUES);
        true
    }

    /// Whether the document is nested deeper than may be; that is noted.
    pub fn is_deep(&mut self, document: &Value) -> bool {
        let is_deep = depth(document) > MAX_DEPTH;
        if is_deep {
            self.invalid("", TOO_DEEP);
        }
        is_deep
    }

    /// The document as one record with the fields of all `shapes`, in snake_case; null counts as absent. A field that is wrong
    /// has its default, and null if it has none.
    pub fn record(&mut self, shapes: &[&Shape], document: &Value) -> Map<String, Value> {
        match self.object(shapes, document, "") {
            Value::Object(record) => record,
            _ => Map::new(),
        }
    }

    fn object(&mut self, shapes: &[&Shape], value: &Value, path: &str) -> Value {
        let Some(map) = value.as_object() else {
            self.invalid(path, "must be an object");
            return Value::Null;
        };
        let base = if path.is_empty() { self.naming.root() } else { path };
        let mut record = Map::new();
        let mut known = Vec::new();
        for field in shapes.iter().flat_map(|shape| shape.fields) {
            let value = if self.naming == Naming::Rest && field.only_in_resource {
                default(field)
            } else {
                let (path, value) = self.written(field, map, base, &mut known);
                self.field(field, value, &path)
            };
            record.insert(field.name.into(), value);
        }
        if self.sorted {
            known.sort_unstable();
        }
        for name in map.keys().filter(|name| !known.contains(name)) {
            let shown: String = name.chars().take(64).collect();
            let message = format!("is not a field; the fields here are {}", known.join(", "));
            self.invalid(&below(base, &shown), message);
        }
        Value::Object(record)
    }

    /// The path and the value of a field: those of its alias, where only that is there. An alias beside it says nothing, and must
    /// be well-formed all the same.
    fn written<'a>(
        &mut self,
        field: &Field,
        map: &'a Map<String, Value>,
        base: &str,
        known: &mut Vec<String>,
    ) -> (String, Option<&'a Value>) {
        let name = self.naming.name(field.name);
        let of = |name: &str| map.get(name).filter(|value| !value.is_null());
        let (path, value) = (below(base, &name), of(&name));
        known.push(name);
        let Some(alias) = field.alias.map(|alias| self.naming.name(alias)) else { return (path, value) };
        let (by_alias, at_alias) = (of(&alias), below(base, &alias));
        known.push(alias);
        match (value, by_alias) {
            (None, Some(_)) => return (at_alias, by_alias),
            (Some(_), Some(unused)) => self.unused(&field.holds, unused, &at_alias),
            (_, None) => {}
        }
        (path, value)
    }

    fn unused(&mut self, holds: &Holds, value: &Value, path: &str) {
        match (holds, value) {
            (Holds::Form(form), Value::String(text)) => {
                no_longer(text, form.chars.1, &mut |message| self.invalid(path, message));
            }
            (Holds::Form(_), _) => self.invalid(path, "must be a string"),
            (_, Value::Object(_)) => {}
            _ => self.invalid(path, "must be an object"),
        }
    }

    fn field(&mut self, field: &Field, value: Option<&Value>, path: &str) -> Value {
        match (value, field.need) {
            (Some(value), Need::Derived) => {
                if value.as_array().is_none_or(|list| !list.is_empty()) {
                    self.invalid(path, "is derived by JCT; leave it out");
                }
                json!([])
            }
            (Some(value), _) => match self.value(&field.holds, value, path) {
                Value::Null => default(field),
                value => value,
            },
            (None, Need::Required) => {
                self.invalid(path, "is required");
                Value::Null
            }
            (None, _) => default(field),
        }
    }

    fn value(&mut self, holds: &Holds, value: &Value, path: &str) -> Value {
        let problem = match (holds, value) {
            (Holds::Object(shape), value) => return self.object(&[*shape], value, path),
            (Holds::Ref(kinds), value) => return self.reference(kinds, value, path),
            (Holds::List(max, holds), Value::Array(entries)) => return self.list(*max, holds, entries, path),
            (Holds::Texts(most, chars), Value::Array(entries)) => return self.texts(*most, *chars, entries, path),
            (Holds::Form(form), Value::String(text)) => {
                return (form.check)(text, &mut |message| self.invalid(path, message))
                    .map_or(Value::Null, Value::String);
            }
            (Holds::Clamped(..), Value::Number(number)) => match clamped(number) {
                Some(number) => return number.into(),
                None => "must be a whole number".into(),
            },
            (Holds::Count(least, most), Value::Number(number)) => match clamped(number) {
                Some(number) if (*least..=*most).contains(&number) => return number.into(),
                Some(_) => format!("must be {least} to {most}"),
                None => "must be a whole number".into(),
            },
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

    fn texts(&mut self, most: usize, chars: usize, entries: &[Value], path: &str) -> Value {
        if entries.len() > most {
            self.invalid(path, format!("must have at most {most} entries"));
        }
        let mut texts = Vec::new();
        for (index, entry) in entries.iter().enumerate().take(most) {
            let problem = match entry.as_str() {
                Some(text) if text.chars().count() <= chars && !text.contains('\0') => {
                    texts.push(entry.clone());
                    continue;
                }
                Some(_) => format!("must be at most {chars} characters, without NUL"),
                None => "must be a string".into(),
            };
            self.invalid(&format!("{path}[{index}]"), problem);
        }
        Value::Array(texts)
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
        (Holds::Flag, Value::Bool(_)) => None,
        (Holds::Flag, _) => Some("must be true or false".into()),
        (Holds::Text(..) | Holds::Bytes(_) | Holds::Form(_) | Holds::Time, _) => Some("must be a string".into()),
        (Holds::Number(..), _) => Some("must be a number".into()),
        (Holds::Integer(..) | Holds::Clamped(..) | Holds::Count(..), _) => Some("must be a whole number".into()),
        (Holds::Texts(..), _) => Some("must be a list of strings".into()),
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

/// The number, if it is whole, also if it is written as `60.0`; one that does not fit 64 bits is clamped, so that a limit can still
/// refuse it by its own code.
fn clamped(number: &Number) -> Option<i64> {
    let too_large = |float: f64| (float.abs() >= 9e15).then_some(if float > 0.0 { i64::MAX } else { i64::MIN });
    number.as_i64().or_else(|| number.as_f64().and_then(too_large)).or_else(|| whole(number))
}

/// Whether the text has at most so many characters, blanks counted; else that is noted.
pub fn no_longer(text: &str, most: usize, note: &mut dyn FnMut(String)) -> bool {
    let fits = text.chars().count() <= most;
    if !fits {
        note(format!("must be at most {most} characters, blanks counted"));
    }
    fits
}

/// A field that is not there, with all that a record within it has by default.
fn default(field: &Field) -> Value {
    match (&field.holds, field.need) {
        (Holds::Object(shape), Need::Empty) => Value::Object(shape.defaults()),
        _ => field.default().unwrap_or(Value::Null),
    }
}

/// The path of what is called `name` within what is at `base`.
fn below(base: &str, name: &str) -> String {
    if base.is_empty() { name.into() } else { format!("{base}.{name}") }
}

/// Databases keep microseconds: what comes back must be what went in.
fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
