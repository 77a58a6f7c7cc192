//! JSON as Go's `encoding/json` reads it: half a surrogate pair is a character that can't be shown, not an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Document, TOO_DEEP};

/// Why a value can't be read.
pub(super) enum Problem {
    /// It may be something else than JSON.
    NoJson(String),
    /// It is JSON, and nothing can be made of it.
    Bad(String),
}

/// The first JSON value of `text`, and how many bytes of it were read; none if there is nothing but blanks.
///
/// # Errors
/// What is wrong, with the line.
pub(super) fn first(text: &str) -> Option<Result<(Document, usize), Problem>> {
    if text.trim().is_empty() {
        return None;
    }
    let sound = with_whole_pairs(text);
    let mut repeated = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(&sound);
    let read = Seed { path: "", repeated: &mut repeated }.deserialize(&mut stream);
    Some(match read {
        Ok(value) => Ok((Document { value, repeated }, stream.into_iter::<Value>().byte_offset())),
        Err(error) => {
            let text = error.to_string();
            Err(match text.as_str() {
                text if text.contains("recursion limit") => Problem::Bad(TOO_DEEP.into()),
                text if text.contains("out of range") => Problem::Bad(text.into()),
                text => Problem::NoJson(text.into()),
            })
        }
    })
}

/// The text with `\ufffd` in place of each half of a pair that stands alone: of the same length.
fn with_whole_pairs(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6).filter(|escape| escape.starts_with(b"\\u"))?;
        u16::from_str_radix(std::str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    let mut halves = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\\').map(|found| at + found) {
        at = match unit(found) {
            Some(0xd800..=0xdbff) if matches!(unit(found + 6), Some(0xdc00..=0xdfff)) => found + 12,
            Some(0xd800..=0xdfff) => {
                halves.push(found);
                found + 6
            }
            Some(_) => found + 6,
            None => (found + 2).min(bytes.len()),
        };
    }
    if halves.is_empty() {
        return text.into();
    }
    let mut mended = text.to_owned();
    halves.into_iter().for_each(|at| mended.replace_range(at..at + 6, "\\ufffd"));
    mended.into()
}

/// Reads a value, and notes keys that are given twice.
struct Seed<'a> {
    path: &'a str,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map_or_else(|_| self.visit_f64(number as f64), |number| Ok(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        super::number(number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match entries.next_element_seed(Seed { path: &path, repeated: self.repeated })? {
                Some(entry) => list.push(entry),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let value = entries.next_value_seed(Seed { path: &path, repeated: self.repeated })?;
            if map.insert(name, value).is_some() && !self.repeated.contains(&path) {
                self.repeated.push(path);
            }
        }
        Ok(Value::Object(map))
    }
}
