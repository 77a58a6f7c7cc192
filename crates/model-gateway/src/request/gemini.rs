//! Gemini's generateContent, whose members may be written in two ways.

use serde_json::Value;

use super::Found;
use super::rules::{Rules, hosted, is_nothing, member};
use crate::Refusal;
use crate::json::letters;

const RULES: Rules = Rules {
    forbidden: &["cachedcontent", "store"],
    free: &["args", "response", "parameters", "parametersjsonschema", "responseschema", "responsejsonschema", "labels"],
    refuses: |name, value| match name {
        "filedata" | "fileuri" => !is_nothing(value),
        "tools" => !value.is_null() && !value.as_array().is_some_and(|tools| tools.iter().all(is_of_the_program)),
        _ => false,
    },
};

pub(super) fn inspect(found: &mut Found<'_>) -> Result<(), Refusal> {
    // Whatever is counted is looked at as well: its request may be in a member of its own, with tools.
    RULES.check(found.value)?;
    if let Some(counted) = member(found.value, "generatecontentrequest") {
        RULES.check(counted)?;
        if member(counted, "model").is_some() {
            return Err(hosted("generateContentRequest.model"));
        }
    }
    let config = member(found.value, "generationconfig");
    let number = |name| config.and_then(|config| member(config, name)).and_then(Value::as_u64);
    found.max_output_tokens =
        number("maxoutputtokens").map(|most| most.saturating_mul(number("candidatecount").unwrap_or(1).max(1)));
    Ok(())
}

/// A tool is an object of all that it can do.
fn is_of_the_program(tool: &Value) -> bool {
    tool.as_object().is_some_and(|members| members.keys().all(|name| letters(name) == "functiondeclarations"))
}
