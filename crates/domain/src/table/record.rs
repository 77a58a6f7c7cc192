//! The macros that write a type and its table, or its names, from the same lines.

/// The name of a field whose Rust name may be a raw identifier.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// A struct and its `Shape`: `name: Type = Need, Holds;` for each field, `name ("written"): …` where a word is taken in Rust,
/// and what else is said of it at the end: `, alias("type")`.
macro_rules! record {
    ($(#[doc = $doc:literal])+ $(#[derive($($derive:ident),+)])? pub struct $name:ident {
        $(
            $(#[doc = $field_doc:literal])+
            $field:ident $(($written:literal))?: $type:ty = $need:expr, $holds:expr $(, $more:ident($($with:expr)?))*;
        )+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize $($(, $derive)+)?)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $field_doc])+ $(#[serde(rename = $written)])? pub $field: $type,)+
        }

        impl $name {
            /// The fields with their defaults and limits.
            pub const SHAPE: $crate::table::Shape = $crate::table::Shape {
                name: stringify!($name),
                doc: concat!($($doc),+),
                fields: &[$($crate::table::Field::new(
                    $crate::table::plain([$($written,)? stringify!($field)][0]),
                    concat!($($field_doc),+),
                    $need,
                    $holds,
                )$(.$more($($with)?))*,)+],
            };
        }

        impl $crate::table::Part for $name {
            fn each_ref<'a>(
                &'a self,
                at: $crate::table::Link<'_>,
                look: &mut dyn FnMut($crate::table::Link<'_>, &'a $crate::cwom::Ref),
            ) {
                use $crate::table::{Link, field_path, plain};
                $(self.$field.each_ref(
                    Link { field: &field_path(at, plain(stringify!($field))), index: None }, look);)+
            }

            fn each_ref_mut(
                &mut self,
                at: $crate::table::Link<'_>,
                change: &mut dyn FnMut($crate::table::Link<'_>, &mut $crate::cwom::Ref),
            ) {
                use $crate::table::{Link, field_path, plain};
                $(self.$field.each_ref_mut(
                    Link { field: &field_path(at, plain(stringify!($field))), index: None }, change);)+
            }
        }
    };
}
pub(crate) use record;

/// An enum whose variants have names: `Variant = "name",` for each.
#[macro_export]
macro_rules! choices {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_attribute:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        $visibility enum $name {
            $($(#[$variant_attribute])* #[serde(rename = $text)] $variant,)+
        }

        #[allow(dead_code, reason = "not every enum needs all of them")]
        impl $name {
            /// Their names, in the contract's order.
            pub const NAMES: &'static [&'static str] = &[$($text,)+];
            /// Every one, in the same order.
            pub const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant,)+];

            /// The name in manifests, REST bodies and the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one with this name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|choice| choice.as_str() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        $crate::leaf!($name);
    };
}
