//! Checkpoints sent to an address: an archive, a transparency log, another cluster.

use std::time::Duration;

use http::{Request, Uri};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

use crate::domain::url::{host_name, is_loopback};

/// How long the other end may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after the first failure; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Where checkpoints are sent, by POST.
#[derive(Clone)]
pub struct Sink {
    client: Client,
    url: Uri,
}

/// Why an address is none to send checkpoints to.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSink {
    /// Not understood.
    #[error("must be a URL such as https://archive.example.org/checkpoints")]
    Url,
    /// Whoever is on the way could keep checkpoints back, and send others.
    #[error("must begin with https://, or with http:// and the loopback")]
    Scheme,
    /// Certificates.
    #[error("cannot be used: {0}")]
    Client(String),
}

impl Sink {
    /// The one at `url`. Certificates are held against the authorities of the system (`SSL_CERT_FILE`).
    ///
    /// # Errors
    /// [`InvalidSink`] tells what is wrong with it.
    pub fn new(url: &str) -> Result<Self, InvalidSink> {
        let url = Self::check(url)?;
        // The path comes with each request.
        let base = Uri::builder().scheme(url.scheme_str().unwrap_or("https"));
        let base = base.authority(url.authority().map(ToString::to_string).unwrap_or_default()).path_and_query("/");
        let mut config = kube::Config::new(base.build().map_err(|_| InvalidSink::Url)?);
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = Some(TIMEOUT);
        config.write_timeout = Some(TIMEOUT);
        let client = Client::try_from(config).map_err(|error| InvalidSink::Client(error.to_string()))?;
        Ok(Self { client, url })
    }

    /// The URL, if checkpoints can be sent there.
    ///
    /// # Errors
    /// [`InvalidSink`] tells what is wrong with it.
    pub fn check(url: &str) -> Result<Uri, InvalidSink> {
        let parsed: Uri = url.parse().map_err(|_| InvalidSink::Url)?;
        let host = parsed.host().filter(|host| !host.is_empty()).ok_or(InvalidSink::Url)?;
        match parsed.scheme_str() {
            Some("https") => Ok(parsed),
            Some("http") if is_loopback(host_name(host)) => Ok(parsed),
            _ => Err(InvalidSink::Scheme),
        }
    }

    /// Sends what `lines` has, whenever that is another line, until the sender is gone. While the other end does not take one, the
    /// newest takes its place: it vouches for what it follows. Nobody waits for this.
    pub async fn follow(self, mut lines: watch::Receiver<Option<String>>) {
        let mut wait = FIRST_WAIT;
        let mut sent = None;
        loop {
            let line = lines.borrow_and_update().clone();
            let Some(line) = line.filter(|line| sent.as_ref() != Some(line)) else {
                if lines.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match self.send(&line).await {
                Ok(()) => {
                    sent = Some(line);
                    wait = FIRST_WAIT;
                }
                Err(error) => {
                    tracing::warn!(error, host = self.url.host(), "a checkpoint could not be sent; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    if lines.has_changed().is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn send(&self, line: &str) -> Result<(), String> {
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(line.as_bytes().to_vec()))
            .map_err(|error| error.to_string())?;
        let answered = tokio::time::timeout(TIMEOUT, self.client.send(request)).await;
        let answer = answered.map_err(|_| format!("no answer in {} s", TIMEOUT.as_secs()))?;
        let status = answer.map_err(|error| error.to_string())?.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://archive.example.org/x?y=1", true)]
    #[case("http://127.0.0.1:9000/x", true)]
    #[case("http://[::1]/x", true)]
    #[case("http://localhost/x", true)]
    #[case("http://archive.example.org/x", false)]
    #[case("http://localhost.example.org/x", false)]
    #[case("ftp://localhost/x", false)]
    #[case("/x", false)]
    #[case("", false)]
    fn what_leaves_the_machine_is_encrypted(#[case] url: &str, #[case] is_good: bool) {
        assert_eq!(Sink::check(url).is_ok(), is_good);
    }
}
