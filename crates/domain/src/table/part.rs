//! References within records: every one of them can be looked at, and changed, with its path.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cwom::Ref;

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
#[macro_export]
macro_rules! leaf {
    ($($leaf:ty),+) => {$(
        impl $crate::table::Part for $leaf {
            fn each_ref<'a>(
                &'a self,
                _: $crate::table::Link<'_>,
                _: &mut dyn FnMut($crate::table::Link<'_>, &'a $crate::cwom::Ref),
            ) {
            }

            fn each_ref_mut(
                &mut self,
                _: $crate::table::Link<'_>,
                _: &mut dyn FnMut($crate::table::Link<'_>, &mut $crate::cwom::Ref),
            ) {
            }
        }
    )+};
}
leaf!(String, bool, f64, u32, u64, Timestamp, Map<String, Value>);

/// The canonical path of `name` within the record at `at`.
pub fn field_path(at: Link<'_>, name: &str) -> String {
    if at.field.is_empty() { name.into() } else { format!("{}.{name}", at.path()) }
}
