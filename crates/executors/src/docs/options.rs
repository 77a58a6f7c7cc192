//! What a Task's inputs say of how documents are to be looked at. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::report::Kind;

/// See the fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether a finding fails the Task.
    pub fail_on_findings: bool,
    /// Findings that are not told.
    pub ignore: BTreeSet<Kind>,
}

impl Options {
    /// Reads `inputs`; what it does not know is not its business.
    ///
    /// # Errors
    /// The field, and how to mend it.
    pub fn read(inputs: &Map<String, Value>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        for name in ["fail_on_findings", "failOnFindings"] {
            match inputs.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::Bool(flag)) => options.fail_on_findings = *flag,
                Some(_) => anyhow::bail!("inputs.{name}: must be true or false"),
            }
        }
        let list = match inputs.get("ignore") {
            None | Some(Value::Null) => return Ok(options),
            Some(Value::Array(list)) => list,
            Some(_) => anyhow::bail!("inputs.ignore: must be a list of kinds of findings: {}", Kind::NAMES.join(", ")),
        };
        for (at, name) in list.iter().enumerate() {
            let Some(kind) = name.as_str().and_then(Kind::parse) else {
                anyhow::bail!(
                    "inputs.ignore[{at}]: {name} is no kind of finding; there are {}",
                    Kind::NAMES.join(", ")
                );
            };
            options.ignore.insert(kind);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(inputs: Value) -> anyhow::Result<Options> {
        let Value::Object(inputs) = inputs else { unreachable!() };
        Options::read(&inputs)
    }

    #[test]
    fn both_spellings_are_read() {
        assert_eq!(read(json!({"focus": ["x"]})).unwrap(), Options::default());
        let ignore = BTreeSet::from([Kind::OrphanedDocument]);
        let expected = Options { fail_on_findings: true, ignore };
        for name in ["fail_on_findings", "failOnFindings"] {
            assert_eq!(read(json!({name: true, "ignore": ["orphaned_document"]})).unwrap(), expected);
        }
    }

    #[rstest]
    #[case(json!({"failOnFindings": "yes"}), "inputs.failOnFindings: must be true or false")]
    #[case(json!({"ignore": "x"}), "inputs.ignore: must be a list")]
    #[case(json!({"ignore": ["broken_link", "orphans"]}), "inputs.ignore[1]: \"orphans\" is no kind of finding; there are broken_link,")]
    fn what_is_wrong_is_named(#[case] inputs: Value, #[case] expected: &str) {
        let message = read(inputs).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}
