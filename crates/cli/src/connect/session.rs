//! A Session: the token by which the API knows the caller as the API server does.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::Request;
use jct_session::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Context, refused};

/// How long the operator may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The first and the longest wait between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));

/// Asks for a token for whoever calls the API server, and waits for it.
///
/// # Errors
/// A sentence that says what is missing.
pub async fn token(context: &Context) -> anyhow::Result<String> {
    let keys = KeyPair::generate()?;
    let sessions = format!("/apis/jct.dev/v1/namespaces/{}/sessions", context.namespace);
    let session = json!({
        "apiVersion": "jct.dev/v1", "kind": "Session",
        "metadata": {"generateName": "kubectl-jct-"},
        "spec": {"publicKey": keys.public().to_string()},
    });
    let request =
        Request::post(&sessions).header("content-type", "application/json").body(serde_json::to_vec(&session)?)?;
    let made: Value = context.client.request(request).await.map_err(|error| explained(error, context))?;
    let text = |path: &str| made.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let path = format!("{sessions}/{}", text("/metadata/name"));
    let (until, (mut pause, longest)) = (Instant::now() + PATIENCE, LOOKS);
    loop {
        sleep(pause).await;
        pause = (pause * 3 / 2).min(longest);
        let session = context.object(&path).await.context("cannot read the Session that was made")?;
        let Some(session) = session else { bail!("the Session was deleted before it was answered; try again") };
        if let Some(answer) = answer(&session) {
            let encrypted = answer.map_err(|message| anyhow!("JCT gives no token: {message}"))?;
            return Ok(keys.decrypt(&encrypted, &text("/metadata/uid"))?);
        }
        if Instant::now() > until {
            bail!(
                "the operator does not answer the Session {} within {} s: is it running in namespace {:?}, with the API enabled?",
                text("/metadata/name"),
                PATIENCE.as_secs(),
                context.operator_namespace
            );
        }
    }
}

/// The encrypted token, or why there is none; nothing before it is answered.
fn answer(session: &Value) -> Option<Result<String, String>> {
    let conditions = session.pointer("/status/conditions")?.as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    if ready["status"] == "True" {
        return session.pointer("/status/encryptedToken")?.as_str().map(|token| Ok(token.to_owned()));
    }
    let told = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    Some(Err(format!("{} ({})", told("message"), told("reason"))))
}

fn explained(error: kube::Error, context: &Context) -> anyhow::Error {
    let namespace = &context.namespace;
    match &error {
        kube::Error::Api(status) if status.code == 403 => {
            anyhow!(
                "{}: a Session is how JCT knows you; the roles view and edit of namespace {namespace:?} have the right",
                status.message
            )
        }
        kube::Error::Api(status) if status.code == 404 => {
            anyhow!(
                "there is no namespace {namespace:?}, or the cluster knows no Sessions: is JCT installed, in a version that has \
                 them?"
            )
        }
        _ => refused(error),
    }
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
