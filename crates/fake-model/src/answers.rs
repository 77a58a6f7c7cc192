//! What each dialect's answers look like: those parts that programs look at, as they were seen.

use serde_json::{Value, json};

use crate::Script;

/// An answer.
pub(crate) enum Answer {
    Whole(Value),
    /// Events, as they are sent.
    Stream(Vec<String>),
}

/// What to say: a call of a tool, or a text.
enum Say {
    Call { tool: String, input: Value },
    Patch(String),
    Text,
}

pub(crate) fn answer(path: &str, asked: &Value, script: &Script) -> Option<Answer> {
    let streams = asked["stream"] == true;
    Some(match path {
        "/v1/messages/count_tokens" => Answer::Whole(json!({"input_tokens": 1234})),
        "/v1/messages" => messages(asked, script, streams),
        "/v1/responses" => responses(asked, script, streams),
        "/v1/chat/completions" => chat(asked, script, streams),
        path if path.ends_with(":countTokens") => Answer::Whole(json!({"totalTokens": 10})),
        path if path.ends_with(":generateContent") => gemini(asked, script, false),
        path if path.ends_with(":streamGenerateContent") => gemini(asked, script, true),
        _ => return None,
    })
}

impl Script {
    fn path(&self) -> String {
        format!("{}/{}", self.folder, self.file)
    }

    fn command(&self) -> String {
        self.command.clone().unwrap_or_else(|| format!("printf '%s' '{}' > {}", self.content, self.file))
    }

    /// Whether a tool that writes a file can be told which one: they want whole paths.
    fn knows_its_folder(&self) -> bool {
        self.command.is_none() && self.folder.starts_with('/')
    }

    /// An edit as programs read it that have no tools: aider's whole files.
    fn listing(&self) -> String {
        format!("{}\n```\n{}```\n", self.file, self.content)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split_inclusive(' ')
    }

    /// A call of the first of these tools that is known.
    fn call(&self, tools: &[String]) -> Say {
        let content = &self.content;
        let known = |tool: &str| {
            Some(match tool {
                "Write" | "write_file" if self.knows_its_folder() => {
                    json!({"file_path": self.path(), "content": content})
                }
                "write" if self.knows_its_folder() => json!({"filePath": self.path(), "content": content}),
                "Bash" | "bash" | "run_shell_command" => {
                    json!({"command": self.command(), "description": "write a file"})
                }
                "exec_command" => json!({"cmd": self.command()}),
                "shell_command" | "developer__shell" => json!({"command": self.command()}),
                "shell" => json!({"command": ["sh", "-c", self.command()]}),
                _ => return None,
            })
        };
        let found = tools.iter().find_map(|tool| known(tool).map(|input| Say::Call { tool: tool.clone(), input }));
        found.unwrap_or(Say::Text)
    }
}

fn names(tools: &Value, name: impl Fn(&Value) -> &Value) -> Vec<String> {
    let tools = tools.as_array().into_iter().flatten();
    let mut names: Vec<String> = tools.filter_map(|tool| name(tool).as_str().map(str::to_owned)).collect();
    // Those that write files by themselves come first.
    names.sort_by_key(|name| !name.to_lowercase().contains("write"));
    names
}

fn event(value: &Value) -> String {
    match value["type"].as_str() {
        Some(kind) => format!("event: {kind}\ndata: {value}\n\n"),
        None => format!("data: {value}\n\n"),
    }
}

fn stream(events: &[Value]) -> Answer {
    Answer::Stream(events.iter().map(event).collect())
}

fn messages(asked: &Value, script: &Script, streams: bool) -> Answer {
    let blocks = asked["messages"].as_array().into_iter().flatten().filter_map(|message| message["content"].as_array());
    let has_result = blocks.flatten().any(|block| block["type"] == "tool_result");
    let say = if has_result { Say::Text } else { script.call(&names(&asked["tools"], |tool| &tool["name"])) };
    let usage = |output| json!({"input_tokens": 100, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": output});
    let (block, stop) = match say {
        Say::Call { tool, input } => {
            (json!({"type": "tool_use", "id": "toolu_01", "name": tool, "input": input}), "tool_use")
        }
        Say::Patch(_) | Say::Text => (json!({"type": "text", "text": script.text}), "end_turn"),
    };
    let message = |content: Value, stop: Value, usage: Value| {
        json!({"id": "msg_01", "type": "message", "role": "assistant", "model": asked["model"], "content": content,
            "stop_reason": stop, "stop_sequence": null, "usage": usage})
    };
    if !streams {
        return Answer::Whole(message(json!([block]), stop.into(), usage(9)));
    }
    let mut events = vec![
        json!({"type": "message_start", "message": message(json!([]), Value::Null, usage(1))}),
        json!({"type": "content_block_start", "index": 0, "content_block": emptied(&block)}),
    ];
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    if block["type"] == "tool_use" {
        events.push(delta(json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})));
    } else {
        events.extend(script.words().map(|word| delta(json!({"type": "text_delta", "text": word}))));
    }
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]);
    stream(&events)
}

fn emptied(block: &Value) -> Value {
    let mut block = block.clone();
    if block["type"] == "tool_use" {
        block["input"] = json!({});
    } else {
        block["text"] = "".into();
    }
    block
}

fn responses(asked: &Value, script: &Script, streams: bool) -> Answer {
    let items = || asked["input"].as_array().into_iter().flatten();
    let has_result = items().any(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_output")));
    let tools = names(&asked["tools"], |tool| &tool["name"]);
    let custom = |name: &str| {
        asked["tools"].as_array().into_iter().flatten().any(|tool| tool["type"] == "custom" && tool["name"] == name)
    };
    let say = if has_result {
        Say::Text
    } else if items().any(|item| item["type"] == "additional_tools") {
        let command = script.command();
        Say::Patch(format!("const r = await tools.exec_command({{cmd: {command:?}}}); text(JSON.stringify(r));"))
    } else {
        match script.call(&tools) {
            Say::Text if custom("apply_patch") => {
                let lines: String = script.content.lines().map(|line| format!("+{line}\n")).collect();
                Say::Patch(format!("*** Begin Patch\n*** Add File: {}\n{lines}*** End Patch\n", script.file))
            }
            say => say,
        }
    };
    let item = match say {
        Say::Call { tool, input } => json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": tool,
            "arguments": input.to_string(), "status": "completed"}),
        Say::Patch(input) if input.starts_with("***") => {
            json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1",
            "name": "apply_patch", "input": input, "status": "completed"})
        }
        Say::Patch(input) => json!({"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "exec",
            "namespace": "functions", "input": input, "status": "completed"}),
        Say::Text => json!({"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
            "content": [{"type": "output_text", "text": script.text, "annotations": []}]}),
    };
    let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 30}, "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 109});
    let response = |status: &str, output: Value, usage: Value| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": asked["model"],
            "output": output, "usage": usage})
    };
    let completed = response("completed", json!([item]), usage);
    if !streams {
        return Answer::Whole(completed);
    }
    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]), Value::Null)}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
    ];
    if item["type"] == "message" {
        events.extend(script.words().map(|word| {
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word})
        }));
        // The text is told by its pieces.
        events.remove(1);
    }
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    events.push(json!({"type": "response.completed", "response": completed}));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    stream(&events)
}

fn chat(asked: &Value, script: &Script, streams: bool) -> Answer {
    let has_result = asked["messages"].as_array().into_iter().flatten().any(|message| message["role"] == "tool");
    let say =
        if has_result { Say::Text } else { script.call(&names(&asked["tools"], |tool| &tool["function"]["name"])) };
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109,
        "prompt_tokens_details": {"cached_tokens": 30}});
    let call = match say {
        Say::Call { tool, input } => Some(json!({"index": 0, "id": "call_1", "type": "function",
            "function": {"name": tool, "arguments": input.to_string()}})),
        Say::Patch(_) | Say::Text => None,
    };
    let stop = if call.is_some() { "tool_calls" } else { "stop" };
    let wants_listing = asked["messages"].to_string().contains("*file listing*");
    let text = if wants_listing { script.listing() } else { script.text.clone() };
    let base = |object: &str, choices: Value| json!({"id": "chatcmpl-1", "object": object, "created": 1, "model": asked["model"], "choices": choices});
    if !streams {
        let mut message = json!({"role": "assistant", "content": text});
        if let Some(call) = call {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([call]);
        }
        let mut whole = base("chat.completion", json!([{"index": 0, "message": message, "finish_reason": stop}]));
        whole["usage"] = usage;
        return Answer::Whole(whole);
    }
    let chunk = |delta: Value, stop: Value| {
        base("chat.completion.chunk", json!([{"index": 0, "delta": delta, "finish_reason": stop}]))
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": null}), Value::Null)];
    match call {
        Some(call) => events.push(chunk(json!({"tool_calls": [call]}), Value::Null)),
        None => events.extend(text.split_inclusive(' ').map(|word| chunk(json!({"content": word}), Value::Null))),
    }
    events.push(chunk(json!({}), stop.into()));
    if asked["stream_options"]["include_usage"] == true {
        let mut last = base("chat.completion.chunk", json!([]));
        last["usage"] = usage;
        events.push(last);
    }
    let mut events: Vec<String> = events.iter().map(event).collect();
    events.push("data: [DONE]\n\n".into());
    Answer::Stream(events)
}

fn gemini(asked: &Value, script: &Script, streams: bool) -> Answer {
    let parts = asked["contents"].as_array().into_iter().flatten().filter_map(|content| content["parts"].as_array());
    let has_result = parts.flatten().any(|part| part["functionResponse"].is_object());
    let tools = asked["tools"].as_array().into_iter().flatten();
    let tools: Vec<String> =
        tools.flat_map(|tool| names(&tool["functionDeclarations"], |function| &function["name"])).collect();
    let say = if has_result { Say::Text } else { script.call(&tools) };
    let config = &asked["generationConfig"];
    let wants_json = config["responseJsonSchema"].is_object() || config["responseMimeType"] == "application/json";
    let parts: Vec<Value> = match say {
        Say::Call { tool, input } => vec![json!({"functionCall": {"name": tool, "args": input}})],
        // What Gemini CLI asks about itself: which model to take, and who speaks next.
        _ if wants_json => {
            let text = json!({"reasoning": "x", "model_choice": "flash", "complexity_reasoning": "x", "complexity_score": 1,
                "next_speaker": "user"});
            vec![json!({"text": text.to_string()})]
        }
        _ => script.words().map(|word| json!({"text": word})).collect(),
    };
    let count = parts.len();
    let chunk = |parts: &[Value], is_last: bool| {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
        if is_last {
            candidate["finishReason"] = "STOP".into();
        }
        json!({"candidates": [candidate], "modelVersion": "fake", "responseId": "r1", "usageMetadata": {"promptTokenCount": 100,
            "candidatesTokenCount": if is_last { 9 } else { 1 }, "totalTokenCount": 109, "cachedContentTokenCount": 30,
            "thoughtsTokenCount": 0}})
    };
    if !streams {
        return Answer::Whole(chunk(&parts, true));
    }
    let events = parts.chunks(1).enumerate().map(|(number, part)| chunk(part, number + 1 == count));
    stream(&events.collect::<Vec<_>>())
}
