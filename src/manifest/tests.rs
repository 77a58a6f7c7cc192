use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Vec<Value> {
    let (objects, error) = objects(text.as_bytes());
    assert_eq!(error, None, "{text}");
    objects.into_iter().map(|manifest| manifest.object).collect()
}

fn problem(text: &str) -> String {
    objects(text.as_bytes()).1.unwrap_or_else(|| panic!("{text} can be read")).to_string()
}

#[rstest]
#[case("yes", json!(true))]
#[case("yEs", json!("yEs"))]
#[case("y", json!(true))]
#[case("off", json!(false))]
#[case("'off'", json!("off"))]
#[case("NULL", json!(null))]
#[case("nUll", json!("nUll"))]
#[case("0o17", json!(15))]
#[case("017", json!(15))]
#[case("08", json!(8))]
#[case("019.5", json!(19.5))]
#[case("-0x1F", json!(-31))]
#[case("0b1_1", json!(3))]
#[case("+1_000", json!(1000))]
#[case("1_000.5", json!(1000.5))]
#[case("._5", json!("._5"))]
#[case(".5", json!(0.5))]
#[case("60.0", json!(60))]
#[case("1e3", json!(1000))]
#[case("1e30", json!(1e30))]
#[case("1e999", json!("1e999"))]
#[case("9223372036854775807", json!(i64::MAX))]
#[case("9223372036854775808", json!(9_223_372_036_854_775_808.0))]
#[case("-9223372036854775808", json!(i64::MIN))]
#[case("+-5", json!("+-5"))]
#[case("12:30:45", json!("12:30:45"))]
#[case("2026-03-01", json!("2026-03-01"))]
#[case("!!str 5", json!("5"))]
#[case("!!int '5'", json!(5))]
#[case("!!float 5", json!(5))]
#[case("!!binary YQ==", json!("a"))]
#[case("!other 5", json!("5"))]
#[case("! yes", json!("yes"))]
fn a_scalar_is_what_it_is_to_kubectl(#[case] text: &str, #[case] value: Value) {
    assert_eq!(read(&format!("a: {text}\n")), [json!({"a": value})], "{text}");
}

#[rstest]
#[case("yes: 1", json!({"true": 1}))]
#[case("5: 1", json!({"5": 1}))]
#[case("0x10: 1", json!({"16": 1}))]
#[case("1.50: 1", json!({"1.5": 1}))]
#[case("1234567.5: 1", json!({"1.2345675e+06": 1}))]
#[case(".inf: 1", json!({".inf": 1}))]
fn a_key_is_a_text(#[case] text: &str, #[case] value: Value) {
    assert_eq!(read(text), [value]);
}

#[test]
fn merges_put_over_what_stands_before_them_and_under_what_follows() {
    let base = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\n";
    let merged = |text: &str| read(&format!("{base}z: {text}\n"))[0]["z"].clone();
    assert_eq!(merged("{a: 0, <<: *x}"), json!({"a": 1, "b": 1}));
    assert_eq!(merged("{<<: *x, a: 0}"), json!({"a": 0, "b": 1}));
    assert_eq!(merged("{<<: [*x, *y]}"), json!({"a": 1, "b": 1, "c": 2}));
    assert_eq!(merged("{'<<': 1}"), json!({"<<": 1}));
}

#[test]
fn what_kubectl_drops_without_a_word_is_told() {
    let (objects, error) = objects(b"a: 1\nb: {c: 1, c: 2, d: [{e: 1, e: 1}]}\na: 2\n");
    assert_eq!((objects[0].repeated.join(" "), error), ("b.c b.d[0].e a".into(), None));
    assert_eq!(objects[0].object["a"], 2);
    let (objects, _) = super::objects(br#"{"a": {"b": 1, "b": 2}}"#);
    assert_eq!(objects[0].repeated, ["a.b"]);
    assert!(problem("a: 1\n...\nb: 1\n").contains("kubectl reads nothing of what follows"));
}

#[rstest]
#[case("a: 1\n---\nb: [1\n", "document 2: line 4: while parsing a flow sequence: ")]
#[case("a: 1\n--- b\n", "document 2: line 2: kubectl takes nothing beside ---")]
#[case("a: *x\n", "document 1: line 1: there is no anchor &x before *x")]
#[case("a: 1\nb: !!int x\n", "document 1: line 2: cannot decode `x` as !!int")]
#[case("{\"a\": 1e400}", "document 1: number out of range")]
#[case("{\"a\": tru\n", "document 1: expected ")]
#[case("{\"a\": [1,\n2\n", "document 1: EOF while parsing a list at line 3")]
#[case("{\"a\": 1}\n{\"a\": 1}\nb: 1\n", "document 3: expected value")]
#[case("a: [!!str, b]\n", "document 1: the parser of YAML gives up")]
#[case("kind: List\nitems: [{a: 1}]\n", "document 1: items[0].kind is required")]
fn what_cannot_be_read_is_told_by_document_and_line(#[case] text: &str, #[case] expected: &str) {
    let problem = problem(text);
    assert!(problem.starts_with(expected), "{problem}");
}

#[test]
fn nothing_takes_long_or_too_much_of_the_stack() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = |depth: usize| format!("a: {}1{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(read(&deep(MAX_DEPTH - 2)).len(), 1, "a control");
        assert!(problem(&deep(100_000)).contains(TOO_DEEP));
    }
    assert!(problem(&format!("{{\"a\":{}", "[".repeat(100_000))).contains(TOO_DEEP));
    assert!(problem(&"- ".repeat(10_000)).contains(TOO_DEEP));
    let mut laughs = String::from("l0: &l0 [a, a, a]\n");
    (1..30).for_each(|n| laughs += &format!("l{n}: &l{n} [*l{0}, *l{0}, *l{0}, *l{0}]\n", n - 1));
    assert!(problem(&laughs).contains("aliases repeat too much"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        objects(&bytes);
    }

    #[test]
    fn nothing_that_looks_like_yaml_is_too_much(
        parts in proptest::collection::vec("[a-z]{1,3}: |- |\\[|\\]|\\{|\\}|&a |\\*a|<<: |\n|\n  |---\n|\\.\\.\\.\n|\"|'|\\|\n|\\?|!!int |0x|1e|%|#|,|\t|\\\\u", 0..40),
    ) {
        objects(parts.concat().as_bytes());
    }
}
