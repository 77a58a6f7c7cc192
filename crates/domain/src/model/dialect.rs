//! The four ways to speak to a model.

use serde::{Deserialize, Serialize};

/// What a program speaks, and its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Responses.
    OpenaiResponses,
    /// OpenAI's Chat Completions, which most other providers have too.
    OpenaiChat,
    /// Gemini's generateContent.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Anthropic, Self::OpenaiResponses, Self::OpenaiChat, Self::Gemini];

    /// As configurations and records write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenaiResponses => "openai_responses",
            Self::OpenaiChat => "openai_chat",
            Self::Gemini => "gemini",
        }
    }

    /// `gen_ai.provider.name`, by the well-known values.
    pub fn provider_name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenaiResponses | Self::OpenaiChat => "openai",
            Self::Gemini => "gcp.gemini",
        }
    }

    /// `gen_ai.operation.name` of what makes something.
    pub fn operation_name(self) -> &'static str {
        if self == Self::Gemini { "generate_content" } else { "chat" }
    }
}
