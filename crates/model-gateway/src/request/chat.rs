//! OpenAI's Chat Completions, and what other providers have added to them.

use serde_json::{Value, json};

use super::Found;
use super::rules::{Rules, hosted, is_address, is_nothing, member};
use crate::Refusal;

const RULES: Rules = Rules {
    forbidden: &[
        "websearchoptions",
        "websearch",
        "plugins",
        "searchparameters",
        "enablesearch",
        "store",
        // Other models than the one that was asked for.
        "models",
        "route",
        "extrabody",
    ],
    free: &["parameters", "schema", "metadata", "arguments"],
    refuses: |name, value| match name {
        "fileid" => !is_nothing(value),
        name => name.ends_with("url") && is_address(value),
    },
};

pub(super) fn inspect(found: &mut Found<'_>) -> Result<(), Refusal> {
    RULES.check(found.value)?;
    if let Some(tools) = member(found.value, "tools").filter(|tools| !tools.is_null()) {
        let is_of_the_program =
            |tool: &Value| matches!(tool.get("type").and_then(Value::as_str), Some("function" | "custom"));
        let tools = tools.as_array().ok_or_else(|| hosted("tools"))?;
        if let Some(index) = tools.iter().position(|tool| !is_of_the_program(tool)) {
            return Err(hosted(&format!("tools[{index}]")));
        }
    }
    let number = |name: &str| found.value.get(name).and_then(Value::as_u64);
    let most = number("max_completion_tokens").or_else(|| number("max_tokens"));
    found.max_output_tokens = most.map(|most| most.saturating_mul(number("n").unwrap_or(1).max(1)));
    if found.value.get("stream") == Some(&Value::Bool(true)) {
        ask_for_usage(found);
    }
    Ok(())
}

/// Streams tell their usage only to who asks.
fn ask_for_usage(found: &mut Found<'_>) {
    let options = found.value.get("stream_options");
    if options.and_then(|options| options.get("include_usage")) == Some(&Value::Bool(true)) {
        return;
    }
    found.usage_is_ours = true;
    match (options, found.whole.member("stream_options")) {
        (Some(options), Some(part)) => {
            let mut options = if options.is_object() { options.clone() } else { json!({}) };
            options["include_usage"] = true.into();
            found.edits.push((part.range(), options.to_string()));
        }
        _ => found.insert(r#""stream_options":{"include_usage":true}"#),
    }
}
