//! The patch in a Task's inputs, and in words why it does not apply. Pure.

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

/// Why `patch` does not apply, by what git said: each complaint, with the hunk that it is about.
pub fn explain(patch: &str, complaint: &str) -> String {
    let told: Vec<String> = complaint
        .lines()
        .map(|line| line.trim().trim_start_matches("error: ").trim_start_matches("fatal: "))
        .filter(|line| !line.is_empty() && !line.starts_with("hint:"))
        .map(|line| {
            let place = line.strip_prefix("patch failed: ").and_then(|place| place.rsplit_once(':'));
            place
                .and_then(|(file, start)| Some((file, hunk(patch, file, start.parse().ok()?)?)))
                .map_or_else(|| line.to_owned(), |(file, (number, header))| format!("{file}, hunk {number} ({header})"))
        })
        .collect();
    format!("inputs.patch does not apply: {}", told.join("; "))
}

/// Number and header of the hunk of `file` whose lines begin at `start` in the old file.
fn hunk<'a>(patch: &'a str, file: &str, start: u64) -> Option<(usize, &'a str)> {
    let mut of_file = false;
    let mut number = 0;
    for line in patch.lines() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix("--- ").or_else(|| line.strip_prefix("+++ ")) {
            let is_it = name.split_once('/').is_some_and(|(_, name)| name.split('\t').next() == Some(file));
            of_file = is_it || (of_file && line.starts_with("+++ /dev/null"));
            number = 0;
        } else if of_file && let Some(range) = line.strip_prefix("@@ -") {
            number += 1;
            let old: &str = range.split([',', ' ']).next()?;
            if old.parse() == Ok(start) {
                let header = line.get(..line.get(3..)?.find("@@")? + 5)?;
                return Some((number, header));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const PATCH: &str = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -10 +10 @@\n-a\n+b\n\
        diff --git a/src/a.rs b/src/a.rs\n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,2 +1,2 @@ fn a()\n-a\n+b\n c\n\
        @@ -10,2 +10,2 @@ @@ odd\n-a\n+b\n c\n";

    #[rstest]
    #[case("error: patch failed: src/a.rs:10\n", "src/a.rs, hunk 2 (@@ -10,2 +10,2 @@)")]
    #[case(
        "error: patch failed: x:10\nerror: x: patch does not apply\n",
        "x, hunk 1 (@@ -10 +10 @@); x: patch does not apply"
    )]
    #[case("error: patch failed: y:10\n", "patch failed: y:10")]
    #[case("error: corrupt patch at line 7\n", "corrupt patch at line 7")]
    fn the_hunk_is_named(#[case] complaint: &str, #[case] expected: &str) {
        assert_eq!(explain(PATCH, complaint), format!("inputs.patch does not apply: {expected}"));
    }

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

    proptest! {
        #[test]
        fn any_patch_is_explained(patch in "(@@ -1|--- a/x|[ -~é\n]){0,30}", complaint in "(error: patch failed: x:1\n|.|\n){0,5}") {
            prop_assert!(explain(&patch, &complaint).starts_with("inputs.patch does not apply: "));
        }
    }
}
