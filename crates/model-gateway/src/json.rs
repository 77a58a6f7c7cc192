//! JSON of which everybody reads the same, and where its parts are.
//!
//! What is refused must not be hidden from us and seen by the provider. So an object has each of its members once, at every
//! depth; and members are known by their letters alone, for some providers take `googleSearch` and `google_search`, and some
//! `Tools`, for the same.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Reads a value all of whose objects have each member once.
///
/// # Errors
/// If it is none, or too deep.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Self)?;
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name:?} is there twice")));
            }
            members.insert(name, value);
        }
        Ok(members.into())
    }
}

/// The letters and digits of a member's name, all of them small.
pub(crate) fn letters(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// A part of a text that is a value.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    whole: &'a str,
    raw: &'a RawValue,
}

impl<'a> Part<'a> {
    /// All of a text that [`parse`] took.
    pub(crate) fn whole(text: &'a str) -> Option<Self> {
        Some(Self { whole: text, raw: serde_json::from_str(text).ok()? })
    }

    /// The text.
    pub(crate) fn text(self) -> &'a str {
        self.raw.get()
    }

    /// Where it is in the whole.
    pub(crate) fn range(self) -> Range<usize> {
        let start = (self.text().as_ptr() as usize).saturating_sub(self.whole.as_ptr() as usize);
        start..start + self.text().len()
    }

    /// The member of this name, if it is an object that has it.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        let Members(members) = serde_json::from_str(self.text()).ok()?;
        let (_, raw) = members.into_iter().find(|(own, _)| own == name)?;
        Some(Self { raw, ..self })
    }

    /// Its items, if it is an array.
    pub(crate) fn items(self) -> Vec<Self> {
        let items: Vec<&'a RawValue> = serde_json::from_str(self.text()).unwrap_or_default();
        items.into_iter().map(|raw| Self { raw, ..self }).collect()
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_there_once_at_every_depth() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"tools":[{"type":"function","type":"web_search"}]}"#,
            r#"[[{"x":{"\u0061":1,"a":2}}]]"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["{}x", "", "{", "[1,]", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "NaN"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
        let text = r#"{"a":[1,-2,1.5,1e400000,"x",null,true,{"b":18446744073709551616}]}"#;
        assert!(parse(text).is_err(), "a number that is none");
        let text = r#"{"a":[1,-2,1.5,"x\n",null,true,{"b":18446744073709551615}]}"#;
        assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn parts_are_where_they_are() {
        let text = r#" {"x": {"model": "no"}, "mod\u0065l" : "yes" , "l":[ 1, {"a":2} ]}"#;
        let whole = Part::whole(text).unwrap();
        let model = whole.member("model").unwrap();
        assert_eq!(&text[model.range()], r#""yes""#);
        let items = whole.member("l").unwrap().items();
        assert_eq!(items.iter().map(|item| &text[item.range()]).collect::<Vec<_>>(), ["1", r#"{"a":2}"#]);
        assert_eq!(items[1].member("a").unwrap().text(), "2");
        assert!(whole.member("a").is_none() && model.member("a").is_none() && model.items().is_empty());
    }

    #[test]
    fn names_are_their_letters() {
        assert_eq!(letters("googleSearch"), letters("google_search"));
        assert_eq!(letters("Tools"), "tools");
    }
}
