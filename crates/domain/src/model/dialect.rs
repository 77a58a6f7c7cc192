//! The four ways to speak to a model.

use crate::choices;

choices! {
    /// What a program speaks, and its provider.
    pub enum Dialect {
        /// Anthropic's Messages.
        Anthropic = "anthropic",
        /// OpenAI's Responses.
        OpenaiResponses = "openai_responses",
        /// OpenAI's Chat Completions, which most other providers have too.
        OpenaiChat = "openai_chat",
        /// Gemini's generateContent.
        Gemini = "gemini",
    }
}

impl Dialect {
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
