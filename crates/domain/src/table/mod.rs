//! What a record looks like: one table of the fields of a Task, and one of each kind of work object.
//!
//! `record!` writes a Rust type and its table from the same lines, so that neither can forget a field of the other. From the
//! table are made the reader ([`read`]), the schemas of custom resources and REST bodies ([`schema`]) and the CEL rules on what
//! may change.

mod part;
pub mod read;
mod record;
pub mod schema;

use serde_json::{Map, Value};

use crate::cwom::Kind;
use crate::{Code, Naming};

pub use part::{Link, Part, field_path};
pub(crate) use record::{plain, record};

/// A record: its name and its fields.
#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub doc: &'static str,
    /// Its fields, in the contract's order.
    pub fields: &'static [Field],
}

/// One field of a record.
#[derive(Debug)]
pub struct Field {
    /// In snake_case.
    pub name: &'static str,
    pub doc: &'static str,
    /// What a missing one means.
    pub need: Need,
    pub holds: Holds,
    /// A former name, which is read where the field itself is missing.
    pub alias: Option<&'static str>,
    /// Whether REST bodies do not have it: what it asks for is a call or a parameter of its own there.
    pub only_in_resource: bool,
    /// Whether it may change while the rest of a Task may not. (Of work objects, [`crate::cwom::change()`] says what may.)
    pub may_change: bool,
    /// The rules on its value in the definition of the custom resource.
    pub rules: Rules,
}

/// The CEL rules on a field's value, written with the expression for that value; an aliased field may be missing, and then has
/// the value that the expression is asked with.
pub type Rules = fn(&dyn Fn(&str) -> String) -> Vec<Rule>;

/// A CEL rule of a custom resource's definition: what is static of the gate, for when the webhooks are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The code that its message begins with.
    pub code: Code,
    /// The expression that holds.
    pub holds: String,
    /// What is wrong where it does not.
    pub message: String,
}

impl Rule {
    /// A rule.
    pub fn new(code: Code, holds: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, holds: holds.into(), message: message.into() }
    }
}

impl Field {
    /// A field of which nothing else is said.
    pub const fn new(name: &'static str, doc: &'static str, need: Need, holds: Holds) -> Self {
        let (alias, only_in_resource, may_change) = (None, false, false);
        Self { name, doc, need, holds, alias, only_in_resource, may_change, rules: |_| Vec::new() }
    }

    /// With a deprecated alias.
    #[must_use]
    pub const fn alias(self, name: &'static str) -> Self {
        Self { alias: Some(name), ..self }
    }

    /// Not in REST bodies.
    #[must_use]
    pub const fn only_in_resource(self) -> Self {
        Self { only_in_resource: true, ..self }
    }

    /// Of a Task: may change.
    #[must_use]
    pub const fn may_change(self) -> Self {
        Self { may_change: true, ..self }
    }

    /// With these CEL rules.
    #[must_use]
    pub const fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Whether those who write by `naming` know the field.
    pub fn is_of(&self, naming: Naming) -> bool {
        match naming {
            Naming::CustomResource => self.need != Need::Derived,
            Naming::Rest => !self.only_in_resource,
        }
    }

    /// What a missing one means; none if it must be there. An empty object stands for one whose fields have their defaults.
    pub fn default(&self) -> Option<Value> {
        Some(match self.need {
            Need::Required => return None,
            Need::Optional => Value::Null,
            Need::Or(text) | Need::Else(Scalar::Text(text)) => text.into(),
            Need::Else(Scalar::Number(number)) => number.into(),
            Need::Else(Scalar::Flag(flag)) => flag.into(),
            Need::Empty | Need::Derived if matches!(self.holds, Holds::List(..) | Holds::Texts(..)) => {
                Value::Array(Vec::new())
            }
            Need::Empty | Need::Derived => Value::Object(Map::new()),
        })
    }
}

impl Shape {
    /// The record of which nothing is written: every default, those of nested records too.
    pub fn defaults(&self) -> Map<String, Value> {
        let default = |field: &Field| match (&field.holds, field.need) {
            (Holds::Object(shape), Need::Empty | Need::Required) => Some(Value::Object(shape.defaults())),
            _ => field.default(),
        };
        self.fields.iter().filter_map(|field| Some((field.name.to_owned(), default(field)?))).collect()
    }

    /// The fields of `record`, which has all of them in snake_case, as those who write by `naming` write them. `leave_out` says
    /// of fields which need not be written.
    pub fn written(
        &self,
        record: Map<String, Value>,
        naming: Naming,
        leave_out: &dyn Fn(&Field, &Value) -> bool,
    ) -> Map<String, Value> {
        let mut written = Map::new();
        let mut record = record;
        for field in self.fields {
            let Some(value) = record.remove(field.name).filter(|value| !leave_out(field, value)) else { continue };
            let value = match (&field.holds, value) {
                (Holds::Object(shape), Value::Object(fields)) => {
                    Value::Object(shape.written(fields, naming, leave_out))
                }
                (_, value) => value,
            };
            written.insert(naming.name(field.name), value);
        }
        written
    }
}

/// What it means when a field is missing or null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    Required,
    /// Nothing is known: null.
    Optional,
    Or(&'static str),
    /// This value, which is told in the words about the field and not as the `default` of its schema.
    Else(Scalar),
    /// An empty list or object; an object's own fields have their defaults.
    Empty,
    /// Always missing: JCT fills in the list when the record is read back.
    Derived,
}

/// What a missing field means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    Text(&'static str),
    Number(i64),
    Flag(bool),
}

/// Text with rules of its own.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The least and the greatest number of characters, as far as a schema can say so.
    pub chars: (usize, usize),
    /// The words that it must be one of, if there are some.
    pub words: &'static [&'static str],
    /// The regular expression that it must match, if there is one.
    pub pattern: Option<&'static str>,
    /// The text in its one form, if it can be taken at all; everything that is wrong with it is noted.
    pub check: fn(&str, &mut dyn FnMut(String)) -> Option<String>,
}

/// What a field may hold.
#[derive(Debug)]
pub enum Holds {
    /// From so many to so many characters, without NUL.
    Text(usize, usize),
    /// Text of at most so many bytes, without NUL.
    Bytes(usize),
    Form(Form),
    /// At most so many texts of at most so many characters, without NUL.
    Texts(usize, usize),
    Flag,
    Choice(&'static [&'static str]),
    /// A whole number of any size, which the gate holds against bounds of its own within these. What does not fit 64 bits is
    /// clamped.
    Clamped(i64, i64),
    /// How many, within these bounds.
    Count(i64, i64),
    /// A number within these bounds.
    Number(f64, f64),
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A moment, RFC 3339, kept to the microsecond.
    Time,
    /// Any JSON object of at most so many bytes, written compactly.
    Free(usize),
    /// A reference to an object of one of these kinds.
    Ref(&'static [Kind]),
    Object(&'static Shape),
    /// At most so many of these.
    List(usize, &'static Holds),
}
