//! Anthropic's Messages. Nothing is taken out: the body is not to be changed, and a web search is a request of its own.

use serde_json::Value;

use super::Found;
use super::rules::{Rules, hosted, member};
use crate::Refusal;

const RULES: Rules = Rules {
    forbidden: &["mcpservers", "container", "speed"],
    free: &["input", "inputschema", "metadata"],
    refuses: |name, value| match name {
        // A search result's source is a name.
        "source" => value.is_object() && !value.get("type").and_then(Value::as_str).is_some_and(is_inline),
        "fileid" | "fileurl" | "url" => !value.is_null(),
        _ => false,
    },
};

fn is_inline(source: &str) -> bool {
    ["base64", "text", "content"].contains(&source)
}

/// Tools that the program runs.
const OF_THE_PROGRAM: [&str; 3] = ["bash_", "text_editor_", "memory_"];

pub(super) fn inspect(found: &mut Found<'_>) -> Result<(), Refusal> {
    RULES.check(found.value)?;
    if let Some(tools) = member(found.value, "tools").filter(|tools| !tools.is_null()) {
        let tools = tools.as_array().ok_or_else(|| hosted("tools"))?;
        if let Some(index) = tools.iter().position(|tool| !is_of_the_program(tool)) {
            return Err(hosted(&format!("tools[{index}]")));
        }
    }
    found.max_output_tokens = found.value.get("max_tokens").and_then(Value::as_u64);
    Ok(())
}

fn is_of_the_program(tool: &Value) -> bool {
    let Value::Object(members) = tool else { return false };
    match members.get("type") {
        None | Some(Value::Null) => !members.keys().any(|name| name.eq_ignore_ascii_case("type") && name != "type"),
        Some(Value::String(kind)) => kind == "custom" || OF_THE_PROGRAM.iter().any(|start| kind.starts_with(start)),
        Some(_) => false,
    }
}
