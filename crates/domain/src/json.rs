//! How much JSON a spec may be. Bytes alone do not tell: `[0,0,…]` takes some thirty times its length in memory.

use serde_json::Value;

/// The greatest number of values in a spec: objects, lists, texts, numbers, truth values and nulls, at any depth.
pub const MAX_VALUES: usize = 20_000;

/// How deep a spec may be nested: parsers give up at 128.
pub const MAX_DEPTH: usize = 120;

/// What is said of a spec that is nested deeper than [`MAX_DEPTH`].
pub const TOO_DEEP: &str = "must not be nested deeper than 120";

/// What is to be done about a spec with more values than [`MAX_VALUES`].
pub const TOO_MANY_VALUES: &str = "the spec has more than 20000 JSON values, most of them here: put data into a file of the repository, or into one text";

/// How many values there are in `text`, which is JSON, without parsing it. Of other text the number means nothing.
pub fn values_in(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut count = 1;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b',' => count += 1,
            b'[' | b'{' => {
                let next = bytes[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
                count += usize::from(!matches!(next, Some(b']' | b'}') | None));
            }
            _ => {}
        }
        at += 1;
    }
    count
}

/// Where the string ends that begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Of a document with more values than [`MAX_VALUES`] the field that has most of them; its name is empty if the document is
/// no object.
pub fn crowded(document: &Value) -> Option<&str> {
    if values(document, MAX_VALUES) <= MAX_VALUES {
        return None;
    }
    let fields = document.as_object().into_iter().flatten();
    let most = fields.max_by_key(|(_, value)| values(value, MAX_VALUES));
    Some(most.map_or("", |(name, _)| name.as_str()))
}

/// How many values there are; counting ends beyond `most`.
fn values(value: &Value, most: usize) -> usize {
    let mut open = vec![value];
    let mut count = 0;
    while let Some(value) = open.pop() {
        count += 1;
        if count + open.len() > most {
            return most + 1;
        }
        match value {
            Value::Array(entries) if entries.len() > most => return most + 1,
            Value::Array(entries) => open.extend(entries),
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    count
}

/// How deep `value` is nested: 0 of what holds nothing else.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(entries) => 1 + entries.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}|[\\[\\]{},\"\\\\]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a,\"\\\\{]{0,4}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn text_and_value_have_the_same_number(value in any_json()) {
            let count = values(&value, usize::MAX - 1);
            prop_assert_eq!(values_in(&value.to_string()), count);
            prop_assert_eq!(values_in(&serde_json::to_string_pretty(&value).unwrap()), count);
        }
    }

    #[test]
    fn broken_text_is_no_trouble() {
        for text in ["", "[", "{\"", "\"\\", "[\"a\\\"", "]]],"] {
            values_in(text);
        }
    }

    #[test]
    fn the_limit_is_exact_and_the_greatest_field_is_named() {
        let document = |zeros: usize| json!({"title": "t", "meta": {"x": vec![0; zeros]}, "tags": ["a"]});
        // The document, title, meta, x, tags and its entry.
        let fits = MAX_VALUES - 6;
        assert_eq!(crowded(&document(fits)), None);
        assert_eq!(crowded(&document(fits + 1)), Some("meta"));
        assert_eq!(crowded(&json!(vec![0; MAX_VALUES])), Some(""));
        assert!(TOO_MANY_VALUES.contains(&MAX_VALUES.to_string()));
        assert!(TOO_DEEP.contains(&MAX_DEPTH.to_string()));
    }
}
