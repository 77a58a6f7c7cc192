//! Requests to the REST API in the same process, with the credential of the visitor.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tower::ServiceExt as _;

use super::Console;
use super::failure::Failure;
use crate::domain::url::percent_encoded;
use crate::serve::Arrival;

/// The most that is read of an answer as a whole: pages of the API have at most 4 MiB, and one row of a MiB.
const MOST: usize = 8 << 20;

/// The API, for one visitor.
#[derive(Clone)]
pub struct Rest {
    router: Router,
    token: String,
    arrival: Arrival,
}

/// What the API answers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The JSON of it.
    pub body: Value,
    headers: HeaderMap,
}

impl Reply {
    /// The query of the next page.
    pub fn next(&self) -> Option<String> {
        let links = self.headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
        links.flat_map(|value| value.split(',')).find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let (_, query) = target.split_once('?')?;
            parameters.contains("rel=\"next\"").then(|| query.to_owned())
        })
    }
}

impl Rest {
    /// For who has this token, in a request of theirs.
    pub fn of(console: &Console, token: &str, parts: &Parts) -> Self {
        Self { router: console.0.rest.clone(), token: token.to_owned(), arrival: Arrival::of(&parts.extensions) }
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// What the API says.
    pub async fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.call(Method::GET, path).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// What the API says.
    pub async fn post(&self, path: &str) -> Result<Reply, Failure> {
        self.call(Method::POST, path).await
    }

    /// As whom the API knows the visitor.
    ///
    /// # Errors
    /// 401 if it does not.
    pub async fn user(&self) -> Result<String, Failure> {
        let reply = self.get("/session").await?;
        Ok(reply.body["user"].as_str().unwrap_or_default().to_owned())
    }

    /// Ends the Session whose token this is, if it is of one.
    pub async fn end_session(&self) {
        // Tokens of other kinds end by themselves.
        let _ = self.call(Method::DELETE, "/session").await;
    }

    async fn call(&self, method: Method, path: &str) -> Result<Reply, Failure> {
        let (head, body) = self.open(method, path, &HeaderMap::new()).await?.into_parts();
        let bytes = to_bytes(body, MOST).await.map_err(|_| Failure::internal("read an answer of the API"))?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_default() };
        Ok(Reply { body, headers: head.headers })
    }

    /// The first `most` bytes of a file, and whether that is all of it.
    ///
    /// # Errors
    /// What the API says.
    pub async fn file(&self, path: &str, most: usize) -> Result<(Vec<u8>, bool), Failure> {
        use futures::StreamExt as _;
        let answer = self.open(Method::GET, path, &HeaderMap::new()).await?;
        let (mut bytes, mut stream) = (Vec::new(), answer.into_body().into_data_stream());
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_| Failure::new(StatusCode::CONFLICT, "the file changed while it was read"))?;
            bytes.extend_from_slice(&piece);
            if bytes.len() > most {
                bytes.truncate(most);
                return Ok((bytes, false));
            }
        }
        Ok((bytes, true))
    }

    /// An answer of which nothing is read yet, to a request with these headers.
    ///
    /// # Errors
    /// What the API says.
    pub async fn open(&self, method: Method, path: &str, headers: &HeaderMap) -> Result<Response, Failure> {
        let broken = || Failure::not_found("there is nothing of this name");
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).map_err(|_| broken())?;
        request.headers_mut().extend(headers.clone());
        let token = self.token.parse().map_err(|_| Failure::new(StatusCode::UNAUTHORIZED, "the token is none"))?;
        request.headers_mut().insert("x-jct-token", token);
        self.arrival.pass_on(&mut request);
        let answer = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap_or_default();
        Err(Failure::answered(status, &bytes))
    }
}

/// A path, with a query of those of these parameters that have a value.
pub fn path(path: &str, query: &[(&str, &str)]) -> String {
    let given = query.iter().filter(|(_, value)| !value.is_empty());
    let parts: Vec<String> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// A text as a part of a path or a query.
pub fn encoded(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~")
}

/// The same of a path whose parts are kept apart.
pub fn encoded_path(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_holds_what_is_given() {
        assert_eq!(path("/tasks", &[("a", ""), ("b", "x&y=z #")]), "/tasks?b=x%26y%3Dz%20%23");
        assert_eq!(path("/tasks", &[("a", "")]), "/tasks");
    }
}
