//! `model.jsonl`: one line for each exchange.
//!
//! Names are those of OpenTelemetry's conventions for generative AI where there are any, of the version in
//! [`SEMANTIC_CONVENTIONS`]; the rest is JCT's own.

use serde::{Deserialize, Serialize};

use super::{Dialect, Tokens, Usd};

/// Codes of [`Exchange::refused`] that tell how an attempt went.
pub const BUDGET_EXCEEDED: &str = "BUDGET_EXCEEDED";
/// The provider, the broker or its ledger can't be had.
pub const MODEL_UNAVAILABLE: &str = "MODEL_UNAVAILABLE";
/// Nothing came from the provider any more.
pub const UPSTREAM_SILENT: &str = "UPSTREAM_SILENT";
/// What came from the provider is not understood.
pub const BAD_UPSTREAM: &str = "BAD_UPSTREAM";

/// The version of the conventions whose names are used.
pub const SEMANTIC_CONVENTIONS: &str = "1.41.0";

/// Where tokens are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageSource {
    /// The provider told them.
    Reported,
    /// The answer was cut, or did not tell: from its size.
    Estimated,
    /// There was no answer that costs anything.
    None,
}

/// A request to a model, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// When it began.
    pub ts: jiff::Timestamp,
    /// Which of the attempt it is, from 1, in the order in which they ended.
    pub seq: u64,
    /// Names it, in the broker's log.
    pub id: String,
    /// The attempt.
    pub attempt: String,
    /// The Task's.
    pub trace_id: String,
    /// What was spoken.
    pub dialect: Dialect,
    /// The path that was asked for, without its query.
    pub path: String,
    /// The model, by the program's name for it.
    pub alias: String,
    /// The configured provider that it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What was done.
    #[serde(rename = "gen_ai.operation.name")]
    pub operation: String,
    /// By whom.
    #[serde(rename = "gen_ai.provider.name")]
    pub provider_name: String,
    /// The model, by its provider's name.
    #[serde(default, rename = "gen_ai.request.model", skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that says it answered.
    #[serde(default, rename = "gen_ai.response.model", skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
    /// The provider's name for the answer.
    #[serde(default, rename = "gen_ai.response.id", skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Why it stopped.
    #[serde(default, rename = "gen_ai.response.finish_reasons", skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// All that was sent.
    #[serde(rename = "gen_ai.usage.input_tokens")]
    pub input_tokens: u64,
    /// Of that, from the provider's cache.
    #[serde(rename = "gen_ai.usage.cache_read.input_tokens")]
    pub cached_tokens: u64,
    /// Of that, written to it.
    #[serde(rename = "gen_ai.usage.cache_creation.input_tokens")]
    pub cache_written_tokens: u64,
    /// All that came back.
    #[serde(rename = "gen_ai.usage.output_tokens")]
    pub output_tokens: u64,
    /// Of that, thoughts.
    #[serde(rename = "gen_ai.usage.reasoning.output_tokens")]
    pub reasoning_tokens: u64,
    /// How these are known.
    pub usage: UsageSource,
    /// What it cost, at list price; nothing if there is no price.
    pub usd: Usd,
    /// Names the price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_sha256: Option<String>,
    /// The status that the program got.
    #[serde(rename = "http.response.status_code")]
    pub status: u16,
    /// Why it has no answer, or no whole one: a code.
    #[serde(default, rename = "error.type", skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// As the program sent it.
    pub request_bytes: u64,
    /// The same.
    pub request_sha256: String,
    /// As the program got it.
    pub response_bytes: u64,
    /// The same.
    pub response_sha256: String,
    /// From its beginning to the first byte of the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// From its beginning to its end.
    pub latency_ms: u64,
    /// The part of the program that asked, if it says so.
    #[serde(default, rename = "gen_ai.agent.id", skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Its conversation, if it says so.
    #[serde(default, rename = "gen_ai.conversation.id", skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

impl Exchange {
    /// Takes what was used up.
    pub fn charge(&mut self, tokens: &Tokens, usage: UsageSource, usd: Usd) {
        let Tokens { input, cached, cache_written, output, reasoning } = *tokens;
        self.input_tokens = input;
        self.cached_tokens = cached;
        self.cache_written_tokens = cache_written;
        self.output_tokens = output;
        self.reasoning_tokens = reasoning;
        (self.usage, self.usd) = (usage, usd);
    }

    /// As a line, without its end.
    ///
    /// # Errors
    /// Never, for there is nothing in it that JSON does not have.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// What exchanges come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// How many there were.
    pub requests: u64,
    /// Of these, those that a refusal of ours ended.
    pub refused: u64,
    /// Their tokens.
    #[serde(flatten)]
    pub tokens: Tokens,
    /// Their cost.
    pub usd: Usd,
}

impl<'a> FromIterator<&'a Exchange> for Sums {
    fn from_iter<I: IntoIterator<Item = &'a Exchange>>(exchanges: I) -> Self {
        let mut sums = Self::default();
        for exchange in exchanges {
            sums.requests += 1;
            sums.refused += u64::from(exchange.refused.is_some());
            let tokens = &mut sums.tokens;
            tokens.input = tokens.input.saturating_add(exchange.input_tokens);
            tokens.cached = tokens.cached.saturating_add(exchange.cached_tokens);
            tokens.cache_written = tokens.cache_written.saturating_add(exchange.cache_written_tokens);
            tokens.output = tokens.output.saturating_add(exchange.output_tokens);
            tokens.reasoning = tokens.reasoning.saturating_add(exchange.reasoning_tokens);
            sums.usd += exchange.usd;
        }
        sums
    }
}
