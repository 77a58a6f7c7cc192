//! OpenAI's Responses. Hosted tools are taken out, for Codex offers its own web search unasked; all else is refused.

use serde_json::Value;

use super::Found;
use super::rules::{Rules, hosted, is_address, is_nothing, member};
use crate::Refusal;
use crate::json::Part;

const RULES: Rules = Rules {
    forbidden: &["previousresponseid", "conversation", "background", "store", "prompt"],
    free: &["parameters", "schema", "metadata", "clientmetadata", "arguments"],
    refuses: |name, value| match name {
        "fileid" | "vectorstoreids" | "containerid" => !is_nothing(value),
        "type" => value.as_str().is_some_and(|kind| kind == "item_reference" || kind.starts_with("mcp_")),
        name => name.ends_with("url") && is_address(value),
    },
};

pub(super) fn inspect(found: &mut Found<'_>) -> Result<(), Refusal> {
    // Hosted tools are looked at by themselves: what is taken out need not be fit to be sent.
    let mut rest = found.value.clone();
    if let Value::Object(members) = &mut rest {
        members.remove("tools");
    }
    RULES.check(&rest)?;
    if member(&rest, "tools").is_some() {
        return Err(hosted("tools"));
    }
    if let Some(tools) = found.whole.member("tools").filter(|tools| tools.text() != "null") {
        take_out_hosted(found, tools, "tools")?;
    }
    // Codex's way to offer tools in the course of a conversation.
    for item in found.whole.member("input").map(Part::items).unwrap_or_default() {
        if let Some(tools) = item.member("tools") {
            take_out_hosted(found, tools, "input.tools")?;
        }
    }
    if found.value.get("store").is_none_or(Value::is_null) {
        // What is not said is kept.
        if found.value.get("store").is_none() {
            found.insert(r#""store":false"#);
        } else if let Some(store) = found.whole.member("store") {
            found.edits.push((store.range(), "false".into()));
        }
    }
    found.max_output_tokens = found.value.get("max_output_tokens").and_then(Value::as_u64);
    Ok(())
}

fn take_out_hosted(found: &mut Found<'_>, tools: Part<'_>, name: &str) -> Result<(), Refusal> {
    if !tools.text().starts_with('[') {
        return Err(hosted(name));
    }
    found.keep(tools, is_of_the_program);
    Ok(())
}

/// Whether the program runs it, with all that is in it.
fn is_of_the_program(tool: &Value) -> bool {
    match tool.get("type").and_then(Value::as_str) {
        Some("function" | "custom" | "local_shell" | "apply_patch") => true,
        Some("tool_search") => tool.get("execution").and_then(Value::as_str) == Some("client"),
        Some("namespace") => {
            tool.get("tools").and_then(Value::as_array).is_some_and(|tools| tools.iter().all(is_of_the_program))
        }
        _ => false,
    }
}
