//! What tools and resources need of the REST API: a client, its requests and responses.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use jct_domain::url::percent_encoded;
use serde_json::Value;

/// A request to the API.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiRequest {
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// A body, for POST.
    pub body: Option<Value>,
    /// A range of bytes: the first one, and how many.
    pub range: Option<(u64, u64)>,
    /// What the client calls itself: `mcp/NAME`.
    pub client: String,
}

impl ApiRequest {
    /// Reads what is at `path`.
    pub(crate) fn get(client: &str, path: String) -> Self {
        Self { method: Method::GET, path, body: None, range: None, client: client.to_owned() }
    }

    /// Reads `path` with those of the `parameters` that have a value.
    pub(crate) fn list(client: &str, path: &str, parameters: &[(&str, Option<String>)]) -> Self {
        let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
        let query: Vec<String> = given.collect();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
        Self::get(client, path)
    }
}

/// `text` as a part of a path or a value of a query.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~")
}

/// A response of the API.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, up to [`ApiResponse::MOST`].
    pub body: Bytes,
    /// Whether there is more of it.
    pub is_cut: bool,
}

impl ApiResponse {
    /// How much of a body is read, in bytes.
    pub const MOST: usize = 4 << 20;

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends requests to the REST API.
pub trait RestClient: Clone + Send + Sync + 'static {
    /// The namespace of a call that names none.
    fn namespace(&self, head: Option<&http::request::Parts>) -> Option<String>;

    /// Sends a request to the API: with the credentials of the HTTP request that `head` is of, if there is one; else with those that the
    /// client was made with.
    ///
    /// # Errors
    /// A sentence, if there is no response.
    fn send(
        &self,
        head: Option<&http::request::Parts>,
        request: ApiRequest,
    ) -> impl Future<Output = Result<ApiResponse, String>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_say_is_a_value_and_nothing_else() {
        let request = ApiRequest::list("mcp/x", "/tasks", &[("status", Some("a&b=/?#é".into())), ("repo", None)]);
        assert_eq!(request.path, "/tasks?status=a%26b%3D%2F%3F%23%C3%A9");
        assert_eq!(ApiRequest::list("mcp/x", "/tasks", &[("repo", None)]).path, "/tasks");
        assert_eq!(encoded("../x"), "..%2Fx");
    }
}
