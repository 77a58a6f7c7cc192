//! The patch in a Task's inputs. Pure.

use serde_json::{Map, Value};

/// What a patch looks like.
const FORM: &str = "a unified diff as `git diff` prints it, such as \
    \"diff --git a/FILE b/FILE\\n--- a/FILE\\n+++ b/FILE\\n@@ -1 +1 @@\\n-old\\n+new\\n\"";

/// `inputs.patch`, its last line ended.
///
/// # Errors
/// When there is none; the message shows the form.
pub fn required(inputs: &Map<String, Value>) -> anyhow::Result<String> {
    let patch = match inputs.get("patch") {
        Some(Value::String(patch)) if !patch.trim().is_empty() => patch.clone(),
        None | Some(Value::Null) => anyhow::bail!("inputs.patch is missing: it must be {FORM}"),
        Some(Value::String(_)) => anyhow::bail!("inputs.patch is empty: it must be {FORM}"),
        Some(_) => anyhow::bail!("inputs.patch must be a text: {FORM}"),
    };
    // YAML's `|-` takes the last line end away, without which git calls a patch corrupt.
    Ok(if patch.ends_with('\n') { patch } else { patch + "\n" })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({}), "inputs.patch is missing: it must be a unified diff")]
    #[case(json!({"patch": null}), "inputs.patch is missing")]
    #[case(json!({"patch": " \n"}), "inputs.patch is empty")]
    #[case(json!({"patch": ["x"]}), "inputs.patch must be a text")]
    fn a_missing_patch_shows_the_form(#[case] inputs: Value, #[case] expected: &str) {
        let Value::Object(inputs) = inputs else { unreachable!() };
        assert!(required(&inputs).unwrap_err().to_string().starts_with(expected));
    }

    #[test]
    fn the_last_line_is_ended() {
        let Value::Object(inputs) = json!({"patch": "a\r\nb"}) else { unreachable!() };
        assert_eq!(required(&inputs).unwrap(), "a\r\nb\n");
    }
}
