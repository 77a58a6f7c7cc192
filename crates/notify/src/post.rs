//! One request to a receiver.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jct_domain::notification::{Event, Format, Receiver, check_url, slack};
use jiff::Timestamp;

use crate::Secrets;
use crate::connect::{Https, https, is_link_local};
use crate::sign::SigningKeys;

/// How much of an answer's body is read, for the connection to be of use again. Nothing looks at it.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Why a receiver was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// For metrics.
    pub(crate) reason: &'static str,
    /// For the log, without addresses: they may be secrets.
    pub(crate) message: String,
    /// Whether it is about the event, and others may well be taken.
    pub(crate) is_of_the_event: bool,
}

impl Problem {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), is_of_the_event: false }
    }

    fn of_the_event(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_of_the_event: true, ..Self::new(reason, message) }
    }
}

/// Posts to one receiver.
pub(crate) struct Poster {
    receiver: Receiver,
    secrets: Secrets,
    public_url: Option<String>,
    client: Result<Client<Https, Full<Bytes>>, String>,
}

impl Poster {
    pub(crate) fn new(receiver: Receiver, secrets: Secrets, public_url: Option<String>) -> Self {
        let client =
            https(receiver.ca_bundle.as_deref()).map(|https| Client::builder(TokioExecutor::new()).build(https));
        Self { receiver, secrets, public_url, client }
    }

    /// Tells it. Answers with a 2xx alone mean that it has taken the event; redirects are not followed, for nobody configured
    /// where they lead.
    pub(crate) async fn post(&self, event: &Event, now: Timestamp, timeout: Duration) -> Result<(), Problem> {
        let configuration = |message: String| Problem::new("configuration", message);
        let client = self.client.as_ref().map_err(|error| configuration(error.clone()))?;
        let request = self.request(event, now).await.map_err(configuration)?;
        let exchange = async {
            let answer = client.request(request).await.map_err(|error| unreachable(&error))?;
            let (parts, body) = answer.into_parts();
            let _ = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            Ok(parts.status)
        };
        let answered = tokio::time::timeout(timeout, exchange).await;
        let late = |_| Problem::new("timeout", format!("no answer in {} s", timeout.as_secs()));
        check_status(answered.map_err(late)??)
    }

    async fn request(&self, event: &Event, now: Timestamp) -> Result<Request<Full<Bytes>>, String> {
        let url = self.url().await?;
        let link = self.public_url.as_ref().zip(event.task_id()).map(|(url, id)| format!("{url}/console/tasks/{id}"));
        let (media_type, body) = match self.receiver.format {
            Format::CloudEvents => {
                ("application/cloudevents+json; charset=UTF-8", event.to_cloud_event(link.as_deref()))
            }
            Format::Slack => ("application/json", slack(event, link.as_deref())),
        };
        let (body, id) = (Bytes::from(body.to_string()), event.id.to_string());
        let mut request = Request::post(url)
            .header("content-type", media_type)
            .header("user-agent", concat!("jct/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.as_second());
        if let Some(key) = &self.receiver.signing_key {
            let keys = SigningKeys::read(&self.secrets.read(key).await?);
            let keys = keys.map_err(|error| format!("Secret {}, key {}: {error}", key.secret, key.key))?;
            request = request.header("webhook-signature", keys.header(&id, now.as_second(), &body));
        }
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }

    async fn url(&self) -> Result<Uri, String> {
        let url = match (&self.receiver.url, &self.receiver.url_from) {
            (Some(url), _) => url.clone(),
            (None, Some(key)) => {
                let url = self.secrets.read(key).await?;
                let with_key = |message| format!("the address in Secret {}, key {}: {message}", key.secret, key.key);
                check_url(&url, self.receiver.allow_plaintext).map_err(with_key)?;
                url
            }
            (None, None) => return Err("it has no address".into()),
        };
        let uri: Uri = url.parse().map_err(|_| "its address is no URL".to_owned())?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.parse::<IpAddr>().is_ok_and(is_link_local) {
            return Err("its address is a link-local one, which no receiver may have".into());
        }
        Ok(uri)
    }
}

fn unreachable(error: &hyper_util::client::legacy::Error) -> Problem {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Problem::new("unreachable", message)
}

fn check_status(status: StatusCode) -> Result<(), Problem> {
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => {
            Err(Problem::of_the_event("redirect", format!("it answered {status}; redirects are not followed")))
        }
        // Come again later: not about what was told.
        408 | 425 | 429 => Err(Problem::new("error", format!("it answered {status}"))),
        400..=499 => Err(Problem::of_the_event("refused", format!("it answered {status}"))),
        _ => Err(Problem::new("error", format!("it answered {status}"))),
    }
}
