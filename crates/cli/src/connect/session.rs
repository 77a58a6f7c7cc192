//! A Session: the token by which the API knows the caller as the API server does.

use anyhow::anyhow;
use jct_session::client::{self, TokenError};

use super::{Context, refused};

/// Asks for a token for whoever calls the API server, and waits for it.
///
/// # Errors
/// A sentence that says what is missing.
pub async fn token(context: &Context) -> anyhow::Result<String> {
    let token = client::token(&context.client, &context.namespace, "kubectl-jct-").await;
    token.map_err(|error| match error {
        TokenError::Api(error) => explained(error, context),
        error @ TokenError::Unanswered { .. } => {
            anyhow!("{error}: is it running in namespace {:?}, with the API enabled?", context.operator_namespace)
        }
        error => error.into(),
    })
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
