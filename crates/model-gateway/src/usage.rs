//! What an answer used up, read from it as it goes by.
//!
//! The dialects count differently: Anthropic's input is without what the cache had, and its output is told several times, each
//! time more; OpenAI's and Google's input is with it, and Google's output without the thoughts. Here, as in OpenTelemetry, input
//! is all of it, and so is output.

use serde_json::Value;

use crate::{Dialect, Tokens};

/// So many bytes of a request are one token, at the least: an estimate from above.
const REQUEST_BYTES_PER_TOKEN: u64 = 3;
/// So many bytes of an answer are one token, about.
const RESPONSE_BYTES_PER_TOKEN: u64 = 4;

/// How many tokens a request of this size has, at the most that is usual.
pub fn estimated_input(request_bytes: u64) -> u64 {
    request_bytes.div_ceil(REQUEST_BYTES_PER_TOKEN)
}

/// Reads an answer.
#[derive(Clone, Debug)]
pub struct Meter {
    dialect: Dialect,
    reported: Option<Tokens>,
    is_final: bool,
    /// Bytes of text, thoughts and calls of tools.
    generated_bytes: u64,
    /// Why it stopped, as the provider says it.
    pub stop_reason: Option<String>,
    /// The provider's name for the answer.
    pub response_id: Option<String>,
    /// The model that answered, as the provider says it.
    pub model: Option<String>,
}

impl Meter {
    /// Of an answer in this dialect.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            reported: None,
            is_final: false,
            generated_bytes: 0,
            stop_reason: None,
            response_id: None,
            model: None,
        }
    }

    /// Reads an answer that is no stream.
    pub fn read_whole(&mut self, body: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
        match self.dialect {
            Dialect::Anthropic => {
                self.message(&value);
                self.stop(&value["stop_reason"]);
            }
            Dialect::OpenaiResponses => self.response(&value),
            Dialect::OpenaiChat => self.chat(&value),
            Dialect::Gemini => self.gemini(&value),
        }
        self.is_final = self.reported.is_some();
    }

    /// Reads the data of one event of a stream; whether it has nothing but the usage.
    pub fn read_event(&mut self, data: &[u8]) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(data) else { return false };
        match self.dialect {
            Dialect::Anthropic => self.messages_event(&value),
            Dialect::OpenaiResponses => self.responses_event(&value),
            Dialect::OpenaiChat => {
                self.chat(&value);
                let choices = value["choices"].as_array();
                return choices.is_some_and(Vec::is_empty) && value["usage"].is_object();
            }
            Dialect::Gemini => self.gemini(&value),
        }
        false
    }

    /// What it told at its end; `None` if it has not come to that.
    pub fn reported(&self) -> Option<Tokens> {
        self.reported.filter(|_| self.is_final)
    }

    /// What it has used up so far, as far as can be seen: what a stream that is cut is settled by.
    pub fn so_far(&self, request_bytes: u64) -> Tokens {
        if let Some(reported) = self.reported() {
            return reported;
        }
        let generated_bytes = self.generated_bytes.div_ceil(RESPONSE_BYTES_PER_TOKEN);
        let known = self.reported.filter(|reported| reported.input > 0);
        let mut tokens = known.unwrap_or(Tokens { input: estimated_input(request_bytes), ..Tokens::default() });
        tokens.output = tokens.output.max(generated_bytes);
        tokens
    }

    fn messages_event(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("message_start") => self.message(&event["message"]),
            Some("content_block_delta") => {
                let delta = &event["delta"];
                self.count_generated(["text", "partial_json", "thinking"].iter().map(|name| &delta[*name]));
            }
            Some("message_delta") => {
                self.stop(&event["delta"]["stop_reason"]);
                let usage = &event["usage"];
                let mut reported = self.reported.unwrap_or_default();
                if usage["input_tokens"].is_u64() {
                    reported = messages_tokens(usage);
                }
                // It grows from event to event: the last one counts.
                reported.output = number(&usage["output_tokens"]).max(reported.output);
                self.reported = Some(reported);
                self.is_final = true;
            }
            _ => {}
        }
    }

    fn message(&mut self, message: &Value) {
        self.name(&message["id"], &message["model"]);
        if message["usage"].is_object() {
            self.reported = Some(messages_tokens(&message["usage"]));
        }
    }

    fn responses_event(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("response.completed" | "response.incomplete" | "response.failed") => self.response(&event["response"]),
            Some(kind) if kind.ends_with(".delta") => self.count_generated([&event["delta"]].into_iter()),
            _ => {}
        }
    }

    fn response(&mut self, response: &Value) {
        self.name(&response["id"], &response["model"]);
        self.stop(&response["status"]);
        self.stop(&response["incomplete_details"]["reason"]);
        let usage = &response["usage"];
        if usage.is_object() {
            let details = &usage["input_tokens_details"];
            self.reported = Some(Tokens {
                input: number(&usage["input_tokens"]),
                cached: number(&details["cached_tokens"]),
                cache_written: number(&details["cache_write_tokens"]),
                output: number(&usage["output_tokens"]),
                reasoning: number(&usage["output_tokens_details"]["reasoning_tokens"]),
            });
            self.is_final = true;
        }
    }

    fn chat(&mut self, chunk: &Value) {
        self.name(&chunk["id"], &chunk["model"]);
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            self.stop(&choice["finish_reason"]);
            let delta = &choice["delta"];
            self.count_generated(
                ["content", "reasoning_content", "reasoning", "refusal"].iter().map(|name| &delta[*name]),
            );
            let calls = delta["tool_calls"].as_array().into_iter().flatten();
            self.count_generated(calls.map(|call| &call["function"]["arguments"]));
        }
        let usage = &chunk["usage"];
        if usage.is_object() {
            self.reported = Some(Tokens {
                input: number(&usage["prompt_tokens"]),
                cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
                cache_written: number(&usage["prompt_tokens_details"]["cache_write_tokens"]),
                output: number(&usage["completion_tokens"]),
                reasoning: number(&usage["completion_tokens_details"]["reasoning_tokens"]),
            });
            self.is_final = true;
        }
    }

    fn gemini(&mut self, chunk: &Value) {
        self.name(&chunk["responseId"], &chunk["modelVersion"]);
        for candidate in chunk["candidates"].as_array().into_iter().flatten() {
            if candidate["finishReason"].is_string() {
                self.stop(&candidate["finishReason"]);
                self.is_final = true;
            }
            let parts = candidate["content"]["parts"].as_array().into_iter().flatten();
            self.count_generated(parts.map(|part| &part["text"]));
        }
        let usage = &chunk["usageMetadata"];
        if usage.is_object() {
            let reasoning = number(&usage["thoughtsTokenCount"]);
            self.reported = Some(Tokens {
                input: number(&usage["promptTokenCount"]).saturating_add(number(&usage["toolUsePromptTokenCount"])),
                cached: number(&usage["cachedContentTokenCount"]),
                cache_written: 0,
                output: number(&usage["candidatesTokenCount"]).saturating_add(reasoning),
                reasoning,
            });
        }
    }

    fn count_generated<'a>(&mut self, texts: impl Iterator<Item = &'a Value>) {
        let bytes: usize = texts.filter_map(Value::as_str).map(str::len).sum();
        self.generated_bytes = self.generated_bytes.saturating_add(bytes as u64);
    }

    fn name(&mut self, id: &Value, model: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.response_id = self.response_id.take().or_else(|| text(id));
        self.model = self.model.take().or_else(|| text(model));
    }

    fn stop(&mut self, reason: &Value) {
        if let Some(reason) = reason.as_str() {
            self.stop_reason = Some(reason.to_owned());
        }
    }
}

fn messages_tokens(usage: &Value) -> Tokens {
    let (cached, written) = (number(&usage["cache_read_input_tokens"]), number(&usage["cache_creation_input_tokens"]));
    Tokens {
        input: number(&usage["input_tokens"]).saturating_add(cached).saturating_add(written),
        cached,
        cache_written: written,
        output: number(&usage["output_tokens"]),
        reasoning: 0,
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn streamed(dialect: Dialect, events: &[Value]) -> Meter {
        let mut meter = Meter::new(dialect);
        for event in events {
            meter.read_event(event.to_string().as_bytes());
        }
        meter
    }

    fn tokens(input: u64, cached: u64, cache_written: u64, output: u64, reasoning: u64) -> Tokens {
        Tokens { input, cached, cache_written, output, reasoning }
    }

    #[test]
    fn messages_tell_input_first_and_output_again_and_again() {
        let start = json!({"type": "message_start", "message": {"id": "m", "model": "claude", "usage":
            {"input_tokens": 100, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 1}}});
        let text = json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "12345678"}});
        let input =
            json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "1234"}});
        let delta = |n, reason| json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": n}});
        let cut = streamed(Dialect::Anthropic, &[start.clone(), text.clone(), input.clone()]);
        assert_eq!((cut.reported(), cut.so_far(9999)), (None, tokens(150, 30, 20, 3, 0)));
        let whole =
            streamed(Dialect::Anthropic, &[start, text, input, delta(5, Value::Null), delta(9, "end_turn".into())]);
        assert_eq!(whole.reported(), Some(tokens(150, 30, 20, 9, 0)));
        assert_eq!((whole.stop_reason.as_deref(), whole.model.as_deref()), (Some("end_turn"), Some("claude")));
    }

    #[test]
    fn responses_tell_at_their_end() {
        let delta = json!({"type": "response.output_text.delta", "delta": "12345"});
        let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 30}, "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 4}});
        let end = json!({"type": "response.incomplete", "response": {"id": "r", "status": "incomplete", "usage": usage,
            "incomplete_details": {"reason": "max_output_tokens"}}});
        let cut = streamed(Dialect::OpenaiResponses, std::slice::from_ref(&delta));
        assert_eq!((cut.reported(), cut.so_far(300)), (None, tokens(100, 0, 0, 2, 0)));
        let whole = streamed(Dialect::OpenaiResponses, &[delta, end]);
        assert_eq!(whole.reported(), Some(tokens(100, 30, 0, 9, 4)));
        assert_eq!(whole.stop_reason.as_deref(), Some("max_output_tokens"));
    }

    #[test]
    fn chat_tells_in_an_event_of_its_own() {
        let chunk = json!({"id": "c", "model": "m", "choices": [{"delta": {"content": "1234", "tool_calls":
            [{"function": {"arguments": "1234"}}]}, "finish_reason": "stop"}], "usage": null});
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 30}, "completion_tokens_details": {"reasoning_tokens": 2}}});
        let mut meter = Meter::new(Dialect::OpenaiChat);
        assert!(!meter.read_event(chunk.to_string().as_bytes()));
        assert_eq!((meter.reported(), meter.so_far(30)), (None, tokens(10, 0, 0, 2, 0)));
        assert!(meter.read_event(usage.to_string().as_bytes()));
        assert!(!meter.read_event(b"[DONE]"));
        assert_eq!(meter.reported(), Some(tokens(100, 30, 0, 9, 2)));
    }

    #[test]
    fn gemini_tells_with_every_event_and_its_thoughts_besides() {
        let usage = |n| json!({"promptTokenCount": 100, "cachedContentTokenCount": 30, "candidatesTokenCount": n, "thoughtsTokenCount": 5});
        let part = |reason| json!({"content": {"parts": [{"text": "1234"}]}, "finishReason": reason});
        let first = json!({"candidates": [part(Value::Null)], "usageMetadata": usage(1), "modelVersion": "g"});
        let last = json!({"candidates": [part("STOP".into())], "usageMetadata": usage(9)});
        let cut = streamed(Dialect::Gemini, std::slice::from_ref(&first));
        assert_eq!((cut.reported(), cut.so_far(0)), (None, tokens(100, 30, 0, 6, 5)));
        assert_eq!(streamed(Dialect::Gemini, &[first, last]).reported(), Some(tokens(100, 30, 0, 14, 5)));
    }

    #[test]
    fn plain_answers_tell_as_well_and_nonsense_is_estimated() {
        for (dialect, body) in [
            (Dialect::Anthropic, json!({"usage": {"input_tokens": 7, "output_tokens": 3}, "stop_reason": "end_turn"})),
            (
                Dialect::OpenaiResponses,
                json!({"usage": {"input_tokens": 7, "output_tokens": 3}, "status": "completed"}),
            ),
            (Dialect::OpenaiChat, json!({"usage": {"prompt_tokens": 7, "completion_tokens": 3}, "choices": []})),
            (Dialect::Gemini, json!({"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3}})),
        ] {
            let mut meter = Meter::new(dialect);
            meter.read_whole(body.to_string().as_bytes());
            assert_eq!(meter.reported(), Some(tokens(7, 0, 0, 3, 0)));
            for garbage in [&b"garbage"[..], b"[1]", b"{\"usage\":7,\"candidates\":{\"a\":1},\"choices\":\"x\"}"] {
                let mut meter = Meter::new(dialect);
                meter.read_whole(garbage);
                meter.read_event(garbage);
                assert_eq!((meter.reported(), meter.so_far(30)), (None, tokens(10, 0, 0, 0, 0)));
            }
        }
    }
}
