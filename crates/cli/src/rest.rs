//! The operator's REST API, by a Session that lasts as long as the command.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::timeout;

use crate::connect::transport::{Body, Transport};
use crate::connect::{Context, session};

/// The greatest answer that is read as a whole, in bytes.
const MOST: usize = 64 << 20;
/// How many pages of a list are read.
const PAGES: usize = 100;
/// How long the end of a Session is waited for: it ends by itself as well.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the API says against a request.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The status code.
    pub status: StatusCode,
    /// `error` of the answer, if it has one.
    pub name: String,
    /// A sentence, and what is wrong, a line for each.
    pub message: String,
}

/// The API, for one person.
pub struct Rest {
    transport: Transport,
    token: String,
}

/// Does `work` with the API, and ends the Session.
///
/// # Errors
/// Those of `work`, or if there is no Session.
pub async fn with<T>(context: &Context, work: impl AsyncFnOnce(&Rest) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (transport, token) = tokio::try_join!(Transport::find(context), session::token(context))?;
    let rest = Rest { transport, token };
    let done = work(&rest).await;
    let _ = timeout(GOODBYE, rest.call(Method::DELETE, "/session")).await;
    done
}

/// The API by a Session of its own, which is to be ended with [`Rest::end`].
///
/// # Errors
/// If there is no Session.
pub async fn begin(context: &Context) -> anyhow::Result<Rest> {
    let (transport, token) = tokio::try_join!(Transport::find(context), session::token(context))?;
    Ok(Rest { transport, token })
}

impl Rest {
    /// Ends the Session.
    pub async fn end(&self) {
        let _ = timeout(GOODBYE, self.call(Method::DELETE, "/session")).await;
    }

    /// Asks as it stands; the answer, whatever that is.
    ///
    /// # Errors
    /// If there is none.
    pub async fn ask(&self, request: http::request::Builder, body: Bytes) -> anyhow::Result<http::Response<Body>> {
        let request = request.header("x-jct-token", &self.token).body(body)?;
        self.transport.send(request).await
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// A [`Refusal`], or that there is no answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path).await.map(|(body, _)| body)
    }

    /// Has something done.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn post(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::POST, path).await.map(|(body, _)| body)
    }

    /// Has something done, as `body` says.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn post_json(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request =
            Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, "application/json");
        let body = Bytes::from(serde_json::to_vec(body)?);
        self.read(path, self.sent(request, body).await?).await.map(|(body, _)| body)
    }

    /// At most `most` entries of a list, in pages.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn list(&self, path: &str, most: usize) -> anyhow::Result<Vec<Value>> {
        let (mut entries, mut next) = (Vec::new(), Some(path.to_owned()));
        for _ in 0..PAGES {
            let Some(path) = next.filter(|_| entries.len() < most) else { break };
            let (page, headers) = self.call(Method::GET, &path).await?;
            let Value::Array(page) = page else { bail!("{path} answers with what is no list") };
            entries.extend(page);
            next = link(&headers, "next");
        }
        entries.truncate(most);
        Ok(entries)
    }

    async fn call(&self, method: Method, path: &str) -> anyhow::Result<(Value, HeaderMap)> {
        let answer = self.send(method, path, &[]).await?;
        self.read(path, answer).await
    }

    /// An answer as a whole.
    async fn read(&self, path: &str, mut answer: Answer) -> anyhow::Result<(Value, HeaderMap)> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = answer.next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MOST {
                bail!("{path} answers with more than {} MiB", MOST >> 20);
            }
        }
        if bytes.is_empty() {
            return Ok((Value::Null, answer.headers));
        }
        let body = serde_json::from_slice(&bytes).with_context(|| format!("{path} answers with what is no JSON"))?;
        Ok((body, answer.headers))
    }

    /// An answer of which nothing is read yet.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, headers).await
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.sent(request, Bytes::new()).await
    }

    async fn sent(&self, request: http::request::Builder, body: Bytes) -> anyhow::Result<Answer> {
        let request = request.header("x-jct-token", &self.token).body(body)?;
        let (head, mut body) = self.transport.send(request).await?.into_parts();
        if head.status.is_success() {
            return Ok(Answer { headers: head.headers, body });
        }
        let mut bytes = BytesMut::new();
        while let Some(piece) = next(&mut body).await?.filter(|_| bytes.len() < 1 << 20) {
            bytes.extend_from_slice(&piece);
        }
        Err(refusal(head.status, &bytes).into())
    }
}

/// An answer that is being read.
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    body: Body,
}

impl Answer {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// If the connection breaks off.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        next(&mut self.body).await
    }
}

async fn next(body: &mut Body) -> anyhow::Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.context("the answer breaks off")?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// What an answer of this kind says.
fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = &body["detail"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // The API server's own, on the way through its proxy, is in `message`.
    let sentence = text(detail).or_else(|| text(&detail["message"])).or_else(|| text(&body["message"]));
    let mut message = sentence.unwrap_or_else(|| format!("the API answers {status}"));
    for violation in detail["violations"].as_array().into_iter().flatten() {
        let part = |field: &str| violation[field].as_str().unwrap_or_default().to_owned();
        message.push_str(&format!("\n  {}: {}: {}", part("field"), part("code"), part("message")));
    }
    Refusal { status, name: text(&detail["error"]).unwrap_or_default(), message }
}

/// The target of a `Link` header of this relation.
fn link(headers: &HeaderMap, relation: &str) -> Option<String> {
    let links = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let wanted = format!("rel=\"{relation}\"");
    links.flat_map(|value| value.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.contains(&wanted).then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_says_all_that_is_wrong() {
        let of = |body: Value| refusal(StatusCode::FORBIDDEN, body.to_string().as_bytes()).message;
        assert_eq!(of(json!({"detail": "Task not found"})), "Task not found");
        assert_eq!(of(json!({"detail": {"error": "forbidden", "message": "no"}})), "no");
        let violations = json!([{"field": "target.repo", "code": "REPO_NOT_ALLOWED", "message": "no"}]);
        let denied = json!({"detail": {"error": "policy_violation", "message": "no", "violations": violations}});
        assert_eq!(of(denied), "no\n  target.repo: REPO_NOT_ALLOWED: no");
        assert_eq!(of(json!({"kind": "Status", "message": "services is forbidden"})), "services is forbidden");
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, b"<html>").message, "the API answers 502 Bad Gateway");
    }

    #[test]
    fn the_next_page_is_found() {
        let headers = HeaderMap::from_iter([(
            header::LINK,
            "</trace/x?cursor=1>; rel=\"next\", </trace/x?tasks_cursor=2>; rel=\"next-tasks\"".parse().unwrap(),
        )]);
        assert_eq!(link(&headers, "next").as_deref(), Some("/trace/x?cursor=1"));
        assert_eq!(link(&headers, "next-tasks").as_deref(), Some("/trace/x?tasks_cursor=2"));
        assert_eq!(link(&headers, "prev"), None);
    }
}
