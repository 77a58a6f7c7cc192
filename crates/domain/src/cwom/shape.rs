//! What a record looks like: one table from which the reader, the JSON schema and the rules of change are made.
//!
//! `record!` writes a Rust type and its table from the same lines, so that neither can forget a field of the other.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Kind, Ref};
use crate::ActorKind;

/// A record: its name and its fields.
#[derive(Debug)]
pub struct Shape {
    /// The Rust type.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its fields, in the contract's order.
    pub fields: &'static [Field],
}

/// One field of a record.
#[derive(Debug)]
pub struct Field {
    /// In snake_case.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// What a missing one means.
    pub need: Need,
    /// What it may hold.
    pub holds: Holds,
}

/// What it means when a field is missing or null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    /// A finding.
    Required,
    /// Nothing is known: null.
    Optional,
    /// This text.
    Or(&'static str),
    /// An empty list or object; an object's own fields have their defaults.
    Empty,
    /// Always missing: JCT fills in the list when the record is read back.
    Derived,
}

/// What a field may hold.
#[derive(Debug)]
pub enum Holds {
    /// From so many to so many characters, without NUL.
    Text(usize, usize),
    /// Text of at most so many bytes, without NUL.
    Bytes(usize),
    /// One of these names.
    Choice(&'static [&'static str]),
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
    /// A record.
    Object(&'static Shape),
    /// At most so many of these.
    List(usize, &'static Holds),
}

/// One reference within a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link<'a> {
    /// The record's field, such as `inputs.context_packets`.
    pub field: &'a str,
    /// Where in the list, if the field holds one.
    pub index: Option<usize>,
}

impl Link<'_> {
    /// The canonical path, such as `inputs.context_packets[2]`.
    pub fn path(&self) -> String {
        self.index.map_or_else(|| self.field.into(), |index| format!("{}[{index}]", self.field))
    }
}

/// A part of a record, which may hold references.
pub trait Part {
    /// Shows every reference to `look`, in the order of the fields.
    fn each_ref<'a>(&'a self, at: Link<'_>, look: &mut dyn FnMut(Link<'_>, &'a Ref));

    /// Shows every reference to `change`, in the order of the fields.
    fn each_ref_mut(&mut self, at: Link<'_>, change: &mut dyn FnMut(Link<'_>, &mut Ref));
}

impl Part for Ref {
    fn each_ref<'a>(&'a self, at: Link<'_>, look: &mut dyn FnMut(Link<'_>, &'a Ref)) {
        look(at, self);
    }

    fn each_ref_mut(&mut self, at: Link<'_>, change: &mut dyn FnMut(Link<'_>, &mut Ref)) {
        change(at, self);
    }
}

impl<T: Part> Part for Option<T> {
    fn each_ref<'a>(&'a self, at: Link<'_>, look: &mut dyn FnMut(Link<'_>, &'a Ref)) {
        if let Some(part) = self {
            part.each_ref(at, look);
        }
    }

    fn each_ref_mut(&mut self, at: Link<'_>, change: &mut dyn FnMut(Link<'_>, &mut Ref)) {
        if let Some(part) = self {
            part.each_ref_mut(at, change);
        }
    }
}

impl<T: Part> Part for Vec<T> {
    fn each_ref<'a>(&'a self, at: Link<'_>, look: &mut dyn FnMut(Link<'_>, &'a Ref)) {
        for (index, part) in self.iter().enumerate() {
            part.each_ref(Link { index: Some(index), ..at }, look);
        }
    }

    fn each_ref_mut(&mut self, at: Link<'_>, change: &mut dyn FnMut(Link<'_>, &mut Ref)) {
        for (index, part) in self.iter_mut().enumerate() {
            part.each_ref_mut(Link { index: Some(index), ..at }, change);
        }
    }
}

/// Parts that hold no reference.
macro_rules! leaf {
    ($($leaf:ty),+) => {$(
        impl $crate::cwom::shape::Part for $leaf {
            fn each_ref<'a>(
                &'a self,
                _: $crate::cwom::shape::Link<'_>,
                _: &mut dyn FnMut($crate::cwom::shape::Link<'_>, &'a $crate::cwom::Ref),
            ) {
            }

            fn each_ref_mut(
                &mut self,
                _: $crate::cwom::shape::Link<'_>,
                _: &mut dyn FnMut($crate::cwom::shape::Link<'_>, &mut $crate::cwom::Ref),
            ) {
            }
        }
    )+};
}
pub(super) use leaf;

leaf!(String, f64, u64, Timestamp, Map<String, Value>, ActorKind);

/// The canonical path of `name` within the record at `at`.
pub fn field_path(at: Link<'_>, name: &str) -> String {
    if at.field.is_empty() { name.into() } else { format!("{}.{name}", at.path()) }
}

/// The name of a field whose Rust name may be a raw identifier.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// A struct and its [`Shape`]: `name: Type = Need, Holds;` for each field.
macro_rules! record {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $need:expr, $holds:expr;)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $name {
            /// The fields with their defaults and limits.
            pub const SHAPE: $crate::cwom::shape::Shape = $crate::cwom::shape::Shape {
                name: stringify!($name),
                doc: concat!($($doc),+),
                fields: &[$($crate::cwom::shape::Field {
                    name: $crate::cwom::shape::plain(stringify!($field)),
                    doc: concat!($($field_doc),+),
                    need: $need,
                    holds: $holds,
                },)+],
            };
        }

        impl $crate::cwom::shape::Part for $name {
            fn each_ref<'a>(
                &'a self,
                at: $crate::cwom::shape::Link<'_>,
                look: &mut dyn FnMut($crate::cwom::shape::Link<'_>, &'a $crate::cwom::Ref),
            ) {
                use $crate::cwom::shape::{Link, field_path, plain};
                $(self.$field.each_ref(
                    Link { field: &field_path(at, plain(stringify!($field))), index: None }, look);)+
            }

            fn each_ref_mut(
                &mut self,
                at: $crate::cwom::shape::Link<'_>,
                change: &mut dyn FnMut($crate::cwom::shape::Link<'_>, &mut $crate::cwom::Ref),
            ) {
                use $crate::cwom::shape::{Link, field_path, plain};
                $(self.$field.each_ref_mut(
                    Link { field: &field_path(at, plain(stringify!($field))), index: None }, change);)+
            }
        }
    };
}
pub(super) use record;

/// An enum whose variants have names: `Variant = "name",` for each.
macro_rules! choices {
    ($(#[$attribute:meta])+ pub enum $name:ident {
        $($(#[$variant_attribute:meta])+ $variant:ident = $text:literal,)+
    }) => {
        $(#[$attribute])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_attribute])+ #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every one, in the contract's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text,)+];

            /// The name in manifests, REST bodies and the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one with this name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|choice| choice.as_str() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        $crate::cwom::shape::leaf!($name);
    };
}
pub(super) use choices;
