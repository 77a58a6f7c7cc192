//! Asking an API server for a Session.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{KeyPair, SessionError};

/// How long the operator may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The first and the longest wait between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// What the API server says against it, or that it does not answer.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The operator refused.
    #[error("JCT gives no token: {0}")]
    Refused(String),
    /// Somebody deleted the Session.
    #[error("the Session was deleted before it was answered; try again")]
    Deleted,
    /// Nobody answered the Session in time.
    #[error("the operator does not answer the Session {name} within {} s", PATIENCE.as_secs())]
    Unanswered {
        /// What it is called.
        name: String,
    },
    /// There are no random bytes, or the answer was not for us.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Asks for a token for whoever `client` calls the API server as, by a Session in `namespace` whose name begins with `prefix`, and
/// waits for it.
///
/// # Errors
/// [`TokenError`]
pub async fn token(client: &Client, namespace: &str, prefix: &str) -> Result<String, TokenError> {
    let keys = KeyPair::generate()?;
    let sessions = format!("/apis/jct.dev/v1/namespaces/{namespace}/sessions");
    let session = json!({
        "apiVersion": "jct.dev/v1", "kind": "Session",
        "metadata": {"generateName": prefix},
        "spec": {"publicKey": keys.public().to_string()},
    });
    let request = Request::post(&sessions).header("content-type", "application/json");
    let made: Value = client.request(request.body(session.to_string().into_bytes()).map_err(invalid)?).await?;
    let text = |path: &str| made.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let path = format!("{sessions}/{}", text("/metadata/name"));
    let (until, (mut pause, longest)) = (Instant::now() + PATIENCE, LOOKS);
    loop {
        sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
        let session: Value = match client.request(Request::get(&path).body(Vec::new()).map_err(invalid)?).await {
            Ok(session) => session,
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(TokenError::Deleted),
            Err(error) => return Err(error.into()),
        };
        if let Some(answer) = answer(&session) {
            return Ok(keys.decrypt(&answer.map_err(TokenError::Refused)?, &text("/metadata/uid"))?);
        }
        if Instant::now() > until {
            return Err(TokenError::Unanswered { name: text("/metadata/name") });
        }
    }
}

fn invalid(error: http::Error) -> kube::Error {
    kube::Error::HttpError(error)
}

/// The encrypted token, or why there is none; nothing before it is answered.
fn answer(session: &Value) -> Option<Result<String, String>> {
    let conditions = session.pointer("/status/conditions")?.as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    if ready["status"] == "True" {
        return session.pointer("/status/encryptedToken")?.as_str().map(|token| Ok(token.to_owned()));
    }
    let text = |field: &str| ready[field].as_str().unwrap_or_default();
    Some(Err(format!("{} ({})", text("message"), text("reason"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_token_or_a_reason() {
        assert_eq!(answer(&json!({})), None);
        assert_eq!(answer(&json!({"status": {"conditions": []}})), None);
        let ready =
            |status: &str| json!([{"type": "Ready", "status": status, "reason": "TooManySessions", "message": "no"}]);
        let issued = json!({"status": {"conditions": ready("True"), "encryptedToken": "x"}});
        assert_eq!(answer(&issued), Some(Ok("x".into())));
        let refused = json!({"status": {"conditions": ready("False"), "encryptedToken": "x"}});
        assert_eq!(answer(&refused), Some(Err("no (TooManySessions)".into())));
    }
}
