//! Requests to a forge's API: bounded, and never passed on to another place.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jct_domain::forge::{Forge, Kind};
use jct_model_gateway::connect::{Https, https, public_roots, roots_of};
use serde_json::Value;

/// A request with its answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most of an answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 4 << 20;
/// The longest that a forge is believed to want to be left alone.
const MAX_RETRY_AFTER: u64 = 3600;

/// Why there is no answer that can be used. It repeats nothing that a server said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It can't be reached, or is silent: to be tried again.
    #[error("{0}")]
    Unreachable(String),
    /// It wants to be asked later: after so many seconds, if it says when.
    #[error("it is asked too often, or has trouble ({status})")]
    Later {
        /// The status.
        status: u16,
        /// When.
        after: Option<u64>,
    },
    /// It does not do it: trying again would not help.
    #[error("{0}")]
    Refused(String),
}

impl CallError {
    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// A header that proves who asks. It is never shown.
#[derive(Clone)]
pub struct Authorization(HeaderValue);

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization")
    }
}

impl Authorization {
    /// A token.
    ///
    /// # Errors
    /// If it can't stand in a header.
    pub fn bearer(token: &str) -> Result<Self, CallError> {
        Self::new(format!("Bearer {token}"))
    }

    /// A user with a password or token.
    ///
    /// # Errors
    /// As [`Authorization::bearer`].
    pub fn basic(username: &str, password: &str) -> Result<Self, CallError> {
        Self::new(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    }

    fn new(text: String) -> Result<Self, CallError> {
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| CallError::Refused("the credential has characters that no header takes".into()))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// What a forge answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none, such as a page of a proxy.
    pub fn json(&self) -> Result<Value, CallError> {
        serde_json::from_slice(&self.body).map_err(|_| {
            CallError::Refused(format!(
                "it answers {} with something else than JSON: is api its API?",
                self.status.as_u16()
            ))
        })
    }

    /// What a status stands for that is not one that was expected.
    pub fn unexpected(&self) -> CallError {
        let status = self.status.as_u16();
        match status {
            300..=399 => CallError::Refused(format!(
                "it redirects to another place ({status}), which is not followed, for the credential is for this one: api and git \
                 must be the last addresses"
            )),
            429 | 500..=599 => CallError::Later { status, after: self.retry_after() },
            403 if self.retry_after().is_some() => CallError::Later { status, after: self.retry_after() },
            401 => CallError::Refused("it does not take the credential (401)".into()),
            403 => CallError::Refused("the credential may not do that (403)".into()),
            404 => CallError::Refused("it shows nothing there (404)".into()),
            _ => CallError::Refused(format!("it answers {status}")),
        }
    }

    /// For how many seconds it wants to be left alone: <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>, in seconds.
    fn retry_after(&self) -> Option<u64> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
        Some(seconds.min(MAX_RETRY_AFTER))
    }
}

/// Asks one forge.
#[derive(Clone)]
pub struct ForgeClient {
    client: Client<Https, Full<Bytes>>,
    api: Option<String>,
    kind: Kind,
}

impl ForgeClient {
    /// For a forge whose own authorities vouch for it, or else public ones.
    ///
    /// # Errors
    /// If its `ca_bundle` can't be used.
    pub fn new(forge: &Forge) -> Result<Self, String> {
        let roots = forge.ca_bundle.as_deref().map_or_else(|| Ok(public_roots()), roots_of);
        let roots = roots.map_err(|error| format!("ca_bundle: {error}"))?;
        let https = https(roots).map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(https);
        Ok(Self { client, api: forge.api.clone(), kind: forge.kind })
    }

    /// A call of the API, `path` below its address.
    ///
    /// # Errors
    /// If there is no answer. Any status is one.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&Authorization>,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let api = self.api.as_deref().ok_or_else(|| CallError::Refused("it has no API (kind: git)".into()))?;
        self.send(method, &format!("{}{path}", api.trim_end_matches('/')), authorization, body).await
    }

    /// A GET of any address of the forge.
    ///
    /// # Errors
    /// As [`ForgeClient::call`].
    pub async fn get(&self, url: &str, authorization: Option<&Authorization>) -> Result<Answer, CallError> {
        self.send(Method::GET, url, authorization, None).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<&Authorization>,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let mut request = Request::builder().method(method).uri(url);
        request = request.header(USER_AGENT, concat!("jct/", env!("CARGO_PKG_VERSION")));
        request = match self.kind {
            // https://docs.github.com/en/rest/about-the-rest-api/api-versions
            Kind::Github => {
                request.header(ACCEPT, "application/vnd.github+json").header("x-github-api-version", "2022-11-28")
            }
            _ => request.header(ACCEPT, "application/json, */*;q=0.1"),
        };
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(Authorization(value)) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let body = Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default());
        let request = request.body(body).map_err(|_| CallError::Refused("its address can't be asked".into()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
            let (parts, body) = answer.into_parts();
            let body =
                Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| match error.downcast_ref() {
                    Some(LengthLimitError { .. }) => {
                        CallError::Refused(format!("its answer is larger than {MAX_BODY_BYTES} bytes"))
                    }
                    None => CallError::Unreachable("its answer breaks off".into()),
                })?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        let late = |_| CallError::Unreachable(format!("it does not answer in {} s", TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(late)?
    }
}

/// Why a host can't be reached, with its causes: those are of the network and of TLS.
fn unreachable(error: &dyn std::error::Error) -> CallError {
    let mut words = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    CallError::Unreachable(format!("it can't be reached: {}", words.join(": ")))
}
