use http::Method;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::Route;

fn call(path: &str) -> Call {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    match Route::of(&Method::POST, path, query).unwrap() {
        Route::Generate(call) | Route::CountTokens(call) => call,
        other => panic!("{other:?}"),
    }
}

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const CHAT: &str = "/v1/chat/completions";
const GEMINI: &str = "/v1beta/models/fast:generateContent";

/// A request of each dialect that has a bit of everything that is let through.
fn honest(path: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"url": {"type": "string"}, "file_id": {"type": "string"},
        "source": {"type": "object"}, "fileData": {}, "tools": {"type": "web_search"}}});
    match path {
        MESSAGES => {
            json!({"model": "fast", "max_tokens": 128_000, "stream": true, "system": [{"type": "text", "text": "x"}],
            "metadata": {"user_id": "x", "url": "https://x"}, "thinking": {"type": "adaptive"}, "unknown": {"a": 1},
            "tools": [{"name": "Bash", "input_schema": schema}, {"type": "custom", "name": "b", "input_schema": {}},
                {"type": "bash_20250124", "name": "bash"}, {"type": "text_editor_20250728", "name": "e"}],
            "messages": [{"role": "user", "content": "see https://example.org"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Fetch",
                    "input": {"url": "https://x", "source": {"type": "url"}, "file_id": "f"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}},
                    {"type": "search_result", "source": "https://x", "title": "t", "content": []}]},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]}]})
        }
        RESPONSES => {
            json!({"model": "fast", "stream": true, "store": false, "max_output_tokens": 5000, "background": false,
            "previous_response_id": null, "include": ["reasoning.encrypted_content"], "client_metadata": {"url": "https://x"},
            "tools": [{"type": "function", "name": "f", "parameters": schema}, {"type": "custom", "name": "apply_patch"},
                {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]},
                {"type": "tool_search", "execution": "client"}, {"type": "local_shell"}],
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "https://x"},
                {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
                {"type": "input_file", "file_data": "data:x", "filename": "x"}]},
                {"type": "additional_tools", "tools": [{"type": "custom", "name": "exec"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"url\":\"https://x\"}"},
                {"type": "function_call_output", "call_id": "c", "output": "https://x"}]})
        }
        CHAT => {
            json!({"model": "fast", "stream": true, "max_tokens": 100, "n": 2, "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}], "store": false,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "https://x"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}},
                {"type": "file", "file": {"file_data": "data:x"}}]},
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
                    "function": {"name": "f", "arguments": "{}"}}]}]})
        }
        _ => json!({"contents": [{"role": "user", "parts": [{"text": "https://x"}, {"inlineData": {"data": "eA=="}}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"fileData": {"fileUri": "x"}}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"fileUri": "x"}}}]}],
            "generationConfig": {"maxOutputTokens": 300, "responseSchema": schema}, "safetySettings": [],
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}, {"function_declarations": []}]}),
    }
}

#[rstest]
#[case(MESSAGES, Some(128_000))]
#[case(RESPONSES, Some(5000))]
#[case(CHAT, Some(200))]
#[case(GEMINI, Some(300))]
fn what_a_program_needs_passes_unchanged_but_for_the_model(#[case] path: &str, #[case] most: Option<u64>) {
    // Odd spaces, escapes and order, to show that nothing is written anew.
    let text = honest(path).to_string().replace("\"model\":", " \"mod\\u0065l\" :\n ").replace("https", "\\u0068ttps");
    let inspected = inspect(&call(path), text.as_bytes()).unwrap();
    assert_eq!((inspected.alias.as_str(), inspected.max_output_tokens), ("fast", most));
    assert_eq!(inspected.streams, path != GEMINI);
    assert!(!inspected.usage_is_ours);
    let written = String::from_utf8(inspected.rewrite(text.as_bytes(), "real-4.5")).unwrap();
    let expected = if path == GEMINI { text } else { text.replacen("\"fast\"", "\"real-4.5\"", 1) };
    assert_eq!(written, expected);
}

#[rstest]
// Messages
#[case(MESSAGES, "/tools/0", json!({"type": "web_search_20250305", "name": "web_search"}))]
#[case(MESSAGES, "/tools/0", json!({"type": "web_fetch_20250910", "name": "web_fetch"}))]
#[case(MESSAGES, "/tools/0", json!({"type": "code_execution_20250825", "name": "code_execution"}))]
#[case(MESSAGES, "/tools/0", json!({"type": "mcp_toolset", "mcp_server_name": "x"}))]
#[case(MESSAGES, "/tools/0", json!({"type": "of_next_year", "name": "x"}))]
#[case(MESSAGES, "/tools/0", json!({"Type": "web_search_20250305", "name": "x"}))]
#[case(MESSAGES, "/tools/0", json!({"type": ["web_search_20250305"]}))]
#[case(MESSAGES, "/tools", json!({"type": "web_search_20250305"}))]
#[case(MESSAGES, "/mcp_servers", json!([{"type": "url", "url": "https://x"}]))]
#[case(MESSAGES, "/container", json!("container_1"))]
#[case(MESSAGES, "/speed", json!("fast"))]
#[case(MESSAGES, "/messages/0/content", json!([{"type": "image", "source": {"type": "url", "url": "https://x"}}]))]
#[case(MESSAGES, "/messages/0/content", json!([{"type": "document", "source": {"type": "file", "file_id": "f"}}]))]
#[case(MESSAGES, "/messages/0/content", json!([{"type": "image", "source": {"url": "https://x"}}]))]
#[case(MESSAGES, "/messages/0/content", json!([{"type": "container_upload", "file_id": "f"}]))]
#[case(MESSAGES, "/messages/2/content/0/content/0/source", json!({"type": "url", "url": "https://x"}))]
#[case(MESSAGES, "/system/0", json!({"type": "document", "source": {"type": "url", "url": "https://x"}}))]
// Responses
#[case(RESPONSES, "/previous_response_id", json!("resp_1"))]
#[case(RESPONSES, "/conversation", json!({"id": "conv_1"}))]
#[case(RESPONSES, "/background", json!(true))]
#[case(RESPONSES, "/store", json!(true))]
#[case(RESPONSES, "/Store", json!(true))]
#[case(RESPONSES, "/prompt", json!({"id": "pmpt_1"}))]
#[case(RESPONSES, "/tools", json!({"type": "web_search"}))]
#[case(RESPONSES, "/Tools", json!([{"type": "web_search"}]))]
#[case(RESPONSES, "/input/0/content/1/image_url", json!("https://x"))]
#[case(RESPONSES, "/input/0/content/1/image_url", json!(" HTTPS://x"))]
#[case(RESPONSES, "/input/0/content/1", json!({"type": "input_file", "file_url": "https://x"}))]
#[case(RESPONSES, "/input/0/content/1", json!({"type": "input_image", "file_id": "f"}))]
#[case(RESPONSES, "/input/0", json!({"type": "item_reference", "id": "i"}))]
#[case(RESPONSES, "/input/0", json!({"type": "mcp_approval_response", "approve": true}))]
// Chat Completions
#[case(CHAT, "/tools/0", json!({"type": "web_search"}))]
#[case(CHAT, "/tools/0", json!({"type": "mcp", "server_url": "https://x"}))]
#[case(CHAT, "/web_search_options", json!({"search_context_size": "low"}))]
#[case(CHAT, "/plugins", json!([{"id": "web"}]))]
#[case(CHAT, "/search_parameters", json!({"mode": "on"}))]
#[case(CHAT, "/enable_search", json!(true))]
#[case(CHAT, "/models", json!(["dear"]))]
#[case(CHAT, "/store", json!(true))]
#[case(CHAT, "/messages/0/content/1/image_url/url", json!("https://x"))]
#[case(CHAT, "/messages/0/content/1", json!({"type": "image_url", "image_url": "https://x"}))]
#[case(CHAT, "/messages/0/content/1", json!({"type": "video_url", "video_url": {"url": "ftp://x"}}))]
#[case(CHAT, "/messages/0/content/1", json!({"type": "file", "file": {"file_id": "f"}}))]
// Gemini
#[case(GEMINI, "/tools/0", json!({"googleSearch": {}}))]
#[case(GEMINI, "/tools/0", json!({"google_search": {}}))]
#[case(GEMINI, "/tools/0", json!({"functionDeclarations": [], "url_context": {}}))]
#[case(GEMINI, "/tools/0", json!({"codeExecution": {}}))]
#[case(GEMINI, "/tools/0", json!({"fileSearch": {}}))]
#[case(GEMINI, "/tools/0", json!({"googleMaps": {}}))]
#[case(GEMINI, "/tools", json!({"googleSearch": {}}))]
#[case(GEMINI, "/generateContentRequest", json!({"tools": [{"google_search": {}}]}))]
#[case(GEMINI, "/contents/0/parts/0", json!({"fileData": {"fileUri": "https://x"}}))]
#[case(GEMINI, "/contents/0/parts/0", json!({"file_data": {"file_uri": "https://x"}}))]
#[case(GEMINI, "/contents/2/parts/0/functionResponse/parts", json!([{"fileData": {"fileUri": "https://x"}}]))]
#[case(GEMINI, "/cachedContent", json!("cachedContents/x"))]
#[case(GEMINI, "/cached_content", json!("cachedContents/x"))]
fn what_would_make_the_provider_a_network_is_refused(#[case] path: &str, #[case] at: &str, #[case] value: Value) {
    let mut request = honest(path);
    assert!(inspect(&call(path), request.to_string().as_bytes()).is_ok());
    let (parent, name) = at.rsplit_once('/').unwrap();
    match request.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.insert(name.into(), value)),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
    let refused = inspect(&call(path), request.to_string().as_bytes()).unwrap_err();
    // What is spelled in two ways is no more than that.
    let spelled = at == "/Store" || at == "/Tools";
    assert!(refused.code == Code::Hosted || spelled && refused.code == Code::Invalid, "{refused}");
}

#[test]
fn hosted_tools_of_responses_are_taken_out_wherever_they_are() {
    let body = r#"{"model":"fast","store":false,"tools":[ {"type":"web_search","external_web_access":true},{"type":"function","name":"f"},
        {"type":"mcp","server_url":"https://x"}, {"type":"namespace","tools":[{"type":"function"},{"type":"code_interpreter"}]}],
        "input":[{"type":"additional_tools","tools":[{"type":"image_generation"},{"type":"custom","name":"exec"}]}]}"#;
    let inspected = inspect(&call(RESPONSES), body.as_bytes()).unwrap();
    let written = String::from_utf8(inspected.rewrite(body.as_bytes(), "real")).unwrap();
    let expected = r#"{"model":"real","store":false,"tools":[{"type":"function","name":"f"}],
        "input":[{"type":"additional_tools","tools":[{"type":"custom","name":"exec"}]}]}"#;
    assert_eq!(written, expected);
}

#[test]
fn responses_are_not_stored_unless_said() {
    for body in [r#"{"model":"fast","input":"x"}"#, r#"{"model":"fast","input":"x","store":null}"#] {
        let inspected = inspect(&call(RESPONSES), body.as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&inspected.rewrite(body.as_bytes(), "real")).unwrap();
        assert_eq!(written, json!({"model": "real", "input": "x", "store": false}));
    }
}

#[rstest]
#[case(r#"{"model":"fast","stream":true,"messages":[]}"#, json!({"include_usage": true}), true)]
#[case(r#"{"model":"fast","stream":true,"messages":[],"stream_options":{"a":1}}"#, json!({"include_usage": true, "a": 1}), true)]
#[case(r#"{"model":"fast","stream":true,"messages":[],"stream_options":null}"#, json!({"include_usage": true}), true)]
#[case(r#"{"model":"fast","stream":true,"messages":[],"stream_options":{"include_usage":false}}"#, json!({"include_usage": true}), true)]
#[case(r#"{"model":"fast","messages":[]}"#, Value::Null, false)]
fn streams_of_chat_tell_their_usage(#[case] body: &str, #[case] options: Value, #[case] ours: bool) {
    let inspected = inspect(&call(CHAT), body.as_bytes()).unwrap();
    let written: Value = serde_json::from_slice(&inspected.rewrite(body.as_bytes(), "real")).unwrap();
    assert_eq!((&written["stream_options"], inspected.usage_is_ours), (&options, ours));
}

#[rstest]
#[case("")]
#[case("[]")]
#[case("{}")]
#[case(r#"{"model":""}"#)]
#[case(r#"{"model":7}"#)]
#[case(r#"{"model":"a","model":"b"}"#)]
#[case(r#"{"model":"a","messages":[{"a":1,"a":2}]}"#)]
#[case(r#"{"model":"a"} {}"#)]
fn what_is_no_request_is_told(#[case] body: &str) {
    for path in [MESSAGES, RESPONSES, CHAT] {
        assert_eq!(inspect(&call(path), body.as_bytes()).unwrap_err().code, Code::Invalid, "{path}");
    }
    assert_eq!(inspect(&call(MESSAGES), b"{\"model\":\"\xff\"}").unwrap_err().code, Code::Invalid);
}
