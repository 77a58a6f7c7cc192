//! `kubectl jct mcp`: JCT for an agent on a desk.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jct_mcp::{Answer, Ask, CLIENT_HEADER, Door};
use tokio::sync::Mutex;

use crate::DONE;
use crate::connect::Context;
use crate::rest::{self, Rest};

/// The API by a Session that is made anew when it has ended.
#[derive(Clone)]
struct Desk {
    context: Context,
    rest: Arc<Mutex<Option<Arc<Rest>>>>,
}

/// Serves until standard input ends.
///
/// # Errors
/// If whoever started this does not speak the protocol.
pub async fn run(context: &Context) -> anyhow::Result<u8> {
    let desk = Desk { context: context.clone(), rest: Arc::default() };
    let served = jct_mcp::stdio(desk.clone()).await;
    if let Some(rest) = desk.rest.lock().await.take() {
        rest.end().await;
    }
    served.map_err(anyhow::Error::msg)?;
    Ok(DONE)
}

impl Desk {
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

    async fn answer(&self, ask: Ask) -> anyhow::Result<Answer> {
        let rest = self.rest(None).await?;
        let answer = once(&rest, &ask).await;
        // The Session has ended, or the pod that the way led to.
        let is_over = answer.as_ref().map_or(true, |answer| answer.status == StatusCode::UNAUTHORIZED);
        if !is_over {
            return answer;
        }
        let rest = self.rest(Some(&rest)).await?;
        once(&rest, &ask).await
    }
}

async fn once(rest: &Rest, ask: &Ask) -> anyhow::Result<Answer> {
    let mut request = Request::builder().method(&ask.method).uri(&ask.path).header(CLIENT_HEADER, &ask.client);
    if let Some((first, count)) = ask.range {
        request = request.header("range", format!("bytes={first}-{}", first.saturating_add(count) - 1));
    }
    let body = ask.body.as_ref().map(|body| Bytes::from(body.to_string()));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let (head, mut body) = rest.ask(request, body.unwrap_or_default()).await?.into_parts();
    let (mut read, mut is_cut) = (BytesMut::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame?.into_data() else { continue };
        read.extend_from_slice(&bytes);
        if read.len() > Answer::MOST {
            read.truncate(Answer::MOST);
            is_cut = true;
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: read.freeze(), is_cut })
}

impl Door for Desk {
    fn namespace(&self, _: Option<&http::request::Parts>) -> Option<String> {
        Some(self.context.namespace.clone())
    }

    async fn ask(&self, _: Option<&http::request::Parts>, ask: Ask) -> Result<Answer, String> {
        self.answer(ask).await.map_err(|error| format!("{error:#}"))
    }
}
