//! How much a JSON text is, before anything is made of it: a value takes many times the memory of its text.

/// What a JSON text amounts to. Of what is no JSON, an upper bound of what a reader makes of it before it gives up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Values and names: everything that a reader makes something of.
    pub nodes: usize,
    /// How deep it is nested.
    pub depth: usize,
}

impl Size {
    /// That of `text`. One pass, no memory.
    pub fn of(text: &[u8]) -> Self {
        let mut size = Self { nodes: 1, depth: 0 };
        let mut depth = 0_usize;
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => skip_string(&mut bytes),
                b'[' | b'{' => {
                    size.nodes += 1;
                    depth += 1;
                    size.depth = size.depth.max(depth);
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' | b':' => size.nodes += 1,
                _ => {}
            }
        }
        size
    }

    /// Both together, side by side.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { nodes: self.nodes + other.nodes, depth: self.depth.max(other.depth) }
    }
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    #[rstest]
    #[case("7", 1, 0)]
    #[case("[]", 2, 1)]
    #[case("[0,0,0]", 4, 1)]
    #[case(r#"{"a": [1, {"b": "],[{\"\\"}]}"#, 7, 3)]
    #[case("[[[", 4, 3)]
    #[case("]]]", 1, 0)]
    #[case("\"[[[", 1, 0)]
    #[case("\"\\", 1, 0)]
    fn a_text_is_measured(#[case] text: &str, #[case] nodes: usize, #[case] depth: usize) {
        assert_eq!(Size::of(text.as_bytes()), Size { nodes, depth });
    }

    fn count(value: &Value) -> (usize, usize) {
        let of = |values: &mut dyn Iterator<Item = &Value>| {
            values.map(count).fold((1, 0), |(nodes, depth), (n, d)| (nodes + n, depth.max(d)))
        };
        match value {
            Value::Array(items) => {
                let (nodes, depth) = of(&mut items.iter());
                (nodes, depth + 1)
            }
            Value::Object(fields) => {
                let (nodes, depth) = of(&mut fields.values());
                (nodes + fields.len(), depth + 1)
            }
            _ => (1, 0),
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_is_more_than_it_was_measured(value in any_json()) {
            let size = Size::of(value.to_string().as_bytes());
            let (nodes, depth) = count(&value);
            prop_assert!(size.nodes >= nodes && size.nodes <= 2 * nodes, "{} {nodes}", size.nodes);
            prop_assert_eq!(size.depth, depth);
        }
    }
}
