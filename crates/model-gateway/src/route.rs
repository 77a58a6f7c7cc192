//! The paths that are let through. What goes on to a provider is written anew from what is known of them, so that nothing else
//! of a path or query is passed on.

use http::Method;

use crate::{Code, Dialect, Refusal};

/// The longest name of a model in a path.
const LONGEST_MODEL: usize = 200;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A model's answer.
    Generate(Call),
    /// How many tokens a request has: providers take nothing for it.
    CountTokens(Call),
    /// The models there are.
    Models,
    /// Whether somebody is there: Claude Code asks at its start.
    Hello,
}

/// Of whom, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// In which dialect.
    pub dialect: Dialect,
    /// The model, in the dialect that has it in the path.
    pub model: Option<String>,
    /// Whether the answer is a stream, in the same.
    pub streams: Option<bool>,
    /// What comes after the path.
    query: &'static str,
}

impl Route {
    /// What a method, path and query mean.
    ///
    /// # Errors
    /// All that is not in the list.
    pub fn of(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let known = match (method, path) {
            (&Method::HEAD | &Method::GET, "/api/hello") => Some(Self::Hello),
            (&Method::GET, "/v1/models") => Some(Self::Models),
            (&Method::POST, _) => Self::of_post(path, query)?,
            _ => None,
        };
        known.ok_or_else(|| Refusal::new(Code::NotAllowed, format!("{method} {path} is not let through to models")))
    }

    fn of_post(path: &str, query: Option<&str>) -> Result<Option<Self>, Refusal> {
        let has = |wanted| query.is_some_and(|query| query.split('&').any(|pair| pair == wanted));
        let call = |dialect| Call { dialect, model: None, streams: None, query: "" };
        let beta = if has("beta=true") { "?beta=true" } else { "" };
        Ok(Some(match path {
            "/v1/messages" => Self::Generate(Call { query: beta, ..call(Dialect::Anthropic) }),
            "/v1/messages/count_tokens" => Self::CountTokens(Call { query: beta, ..call(Dialect::Anthropic) }),
            "/v1/responses" => Self::Generate(call(Dialect::OpenaiResponses)),
            "/v1/chat/completions" => Self::Generate(call(Dialect::OpenaiChat)),
            _ => {
                let Some((model, action)) = path.strip_prefix("/v1beta/models/").and_then(|rest| rest.rsplit_once(':'))
                else {
                    return Ok(None);
                };
                if !is_model(model) {
                    return Err(Refusal::new(Code::Invalid, "the name of the model in the path is none"));
                }
                let call = |streams, query| Call {
                    dialect: Dialect::Gemini,
                    model: Some(model.to_owned()),
                    streams: Some(streams),
                    query,
                };
                match action {
                    "generateContent" => Self::Generate(call(false, "")),
                    "streamGenerateContent" if has("alt=sse") => Self::Generate(call(true, "?alt=sse")),
                    "streamGenerateContent" => {
                        return Err(Refusal::new(
                            Code::Invalid,
                            "streamGenerateContent is let through with alt=sse alone",
                        ));
                    }
                    "countTokens" => Self::CountTokens(call(false, "")),
                    _ => return Ok(None),
                }
            }
        }))
    }

    /// In which dialect to answer, for whom has none so far.
    pub fn dialect_of_path(path: &str) -> Dialect {
        if path.starts_with("/v1beta/") {
            Dialect::Gemini
        } else if path.starts_with("/v1/responses") {
            Dialect::OpenaiResponses
        } else if path.starts_with("/v1/chat/") {
            Dialect::OpenaiChat
        } else {
            Dialect::Anthropic
        }
    }
}

impl Call {
    /// The path and query at a provider, of the model by its own name.
    pub fn path(&self, model: &str, counts: bool) -> String {
        let path = match (self.dialect, counts, self.streams) {
            (Dialect::Anthropic, false, _) => "/v1/messages".into(),
            (Dialect::Anthropic, true, _) => "/v1/messages/count_tokens".into(),
            (Dialect::OpenaiResponses, ..) => "/v1/responses".into(),
            (Dialect::OpenaiChat, ..) => "/v1/chat/completions".into(),
            (Dialect::Gemini, true, _) => format!("/v1beta/models/{model}:countTokens"),
            (Dialect::Gemini, false, Some(true)) => format!("/v1beta/models/{model}:streamGenerateContent"),
            (Dialect::Gemini, false, _) => format!("/v1beta/models/{model}:generateContent"),
        };
        path + self.query
    }
}

/// Whether it can be a part of a path and no more than one.
pub fn is_model(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= LONGEST_MODEL && name.chars().all(fits) && name.chars().any(|c| c != '.')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/v1/messages?beta=true", "/v1/messages?beta=true")]
    #[case("/v1/messages?x=1&beta=true&key=secret", "/v1/messages?beta=true")]
    #[case("/v1/messages", "/v1/messages")]
    #[case("/v1/messages/count_tokens?beta=true", "/v1/messages/count_tokens?beta=true")]
    #[case("/v1/responses?x=1", "/v1/responses")]
    #[case("/v1/chat/completions", "/v1/chat/completions")]
    #[case("/v1beta/models/fast:generateContent?key=secret", "/v1beta/models/real:generateContent")]
    #[case(
        "/v1beta/models/fast:streamGenerateContent?alt=sse&key=secret",
        "/v1beta/models/real:streamGenerateContent?alt=sse"
    )]
    #[case("/v1beta/models/fast:countTokens", "/v1beta/models/real:countTokens")]
    fn what_is_let_through_is_written_anew(#[case] asked: &str, #[case] sent: &str) {
        let (path, query) = asked.split_once('?').map_or((asked, None), |(path, query)| (path, Some(query)));
        let route = Route::of(&Method::POST, path, query).unwrap();
        let (call, counts) = match route {
            Route::Generate(call) => (call, false),
            Route::CountTokens(call) => (call, true),
            other => panic!("{other:?}"),
        };
        assert_eq!(call.path("real", counts), sent);
        assert_eq!(call.dialect, Route::dialect_of_path(path));
    }

    #[rstest]
    #[case("POST", "/v1/files")]
    #[case("GET", "/v1/files/x")]
    #[case("POST", "/v1/messages/batches")]
    #[case("POST", "/v1/batches")]
    #[case("POST", "/v1/conversations")]
    #[case("POST", "/v1/containers")]
    #[case("GET", "/v1/responses/resp_1")]
    #[case("POST", "/v1/responses/compact")]
    #[case("DELETE", "/v1/messages")]
    #[case("GET", "/v1/messages")]
    #[case("POST", "/v1/messages/")]
    #[case("POST", "/v1/../v1/files")]
    #[case("POST", "//v1/messages")]
    #[case("POST", "/V1/messages")]
    #[case("POST", "/v1/models")]
    #[case("POST", "/v1beta/files")]
    #[case("POST", "/upload/v1beta/files")]
    #[case("POST", "/v1beta/cachedContents")]
    #[case("POST", "/v1beta/models/fast:batchGenerateContent")]
    #[case("POST", "/v1beta/models/..%2f..%2ffiles:generateContent")]
    #[case("POST", "/v1beta/models/a/../../files:generateContent")]
    #[case("POST", "/v1beta/models/..:generateContent")]
    #[case("POST", "/v1beta/models/:generateContent")]
    #[case("POST", "/v1beta/models/fast:streamGenerateContent")]
    #[case("CONNECT", "/v1/messages")]
    fn all_else_is_refused(#[case] method: &str, #[case] path: &str) {
        let refused = Route::of(&method.parse().unwrap(), path, None).unwrap_err();
        assert!(matches!(refused.code, Code::NotAllowed | Code::Invalid), "{refused}");
    }
}
