//! `kubectl jct mcp`: serves MCP over standard input and output, for an agent on the same machine.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jct_mcp::{ApiRequest, ApiResponse, CLIENT_HEADER, RestClient};
use tokio::sync::Mutex;

use crate::DONE;
use crate::connect::Context;
use crate::rest::{self, Rest};

/// Reaches the API by a Session; makes a new one when it has ended.
#[derive(Clone)]
struct SessionClient {
    context: Context,
    rest: Arc<Mutex<Option<Arc<Rest>>>>,
}

/// Serves until standard input ends.
///
/// # Errors
/// If whoever started this does not speak the protocol.
pub async fn run(context: &Context) -> anyhow::Result<u8> {
    let client = SessionClient { context: context.clone(), rest: Arc::default() };
    let served = jct_mcp::stdio(client.clone()).await;
    if let Some(rest) = client.rest.lock().await.take() {
        rest.end().await;
    }
    served.map_err(anyhow::Error::msg)?;
    Ok(DONE)
}

impl SessionClient {
    /// The API: by the Session that there is, or a new one in the place of `ended`.
    async fn rest(&self, ended: Option<&Arc<Rest>>) -> anyhow::Result<Arc<Rest>> {
        let mut rest = self.rest.lock().await;
        if let Some(known) = rest.as_ref().filter(|known| ended.is_none_or(|ended| !Arc::ptr_eq(known, ended))) {
            return Ok(known.clone());
        }
        let new = Arc::new(rest::begin(&self.context).await?);
        *rest = Some(new.clone());
        Ok(new)
    }

    async fn answer(&self, request: ApiRequest) -> anyhow::Result<ApiResponse> {
        let rest = self.rest(None).await?;
        let answer = send_once(&rest, &request).await;
        // The Session has ended, or the pod of the port-forward.
        let is_over = answer.as_ref().map_or(true, |answer| answer.status == StatusCode::UNAUTHORIZED);
        if !is_over {
            return answer;
        }
        let rest = self.rest(Some(&rest)).await?;
        send_once(&rest, &request).await
    }
}

async fn send_once(rest: &Rest, wanted: &ApiRequest) -> anyhow::Result<ApiResponse> {
    let mut request = Request::builder().method(&wanted.method).uri(&wanted.path).header(CLIENT_HEADER, &wanted.client);
    if let Some((first, count)) = wanted.range {
        request = request.header("range", format!("bytes={first}-{}", first.saturating_add(count) - 1));
    }
    let body = wanted.body.as_ref().map(|body| Bytes::from(body.to_string()));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let (head, mut body) = rest.ask(request, body.unwrap_or_default()).await?.into_parts();
    let (mut read, mut is_cut) = (BytesMut::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame?.into_data() else { continue };
        read.extend_from_slice(&bytes);
        if read.len() > ApiResponse::MOST {
            read.truncate(ApiResponse::MOST);
            is_cut = true;
            break;
        }
    }
    Ok(ApiResponse { status: head.status, headers: head.headers, body: read.freeze(), is_cut })
}

impl RestClient for SessionClient {
    fn namespace(&self, _: Option<&http::request::Parts>) -> Option<String> {
        Some(self.context.namespace.clone())
    }

    async fn send(&self, _: Option<&http::request::Parts>, request: ApiRequest) -> Result<ApiResponse, String> {
        self.answer(request).await.map_err(|error| format!("{error:#}"))
    }
}
