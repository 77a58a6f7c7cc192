//! The API server as the authority.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use super::authority::{Authority, AuthorityError, Identity, Right};
use crate::crd::names::GROUP;

/// How long the API server may take to decide.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the API server.
#[derive(Clone)]
pub struct KubernetesAuthority {
    client: Client,
    audiences: Vec<String>,
}

impl KubernetesAuthority {
    /// Asks through `client`, about tokens that are meant for one of `audiences`.
    pub fn new(client: Client, audiences: Vec<String>) -> Self {
        Self { client, audiences }
    }
}

#[async_trait]
impl Authority for KubernetesAuthority {
    fn audiences(&self) -> &[String] {
        &self.audiences
    }

    async fn identify(&self, token: &str) -> Result<Option<Identity>, AuthorityError> {
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec { token: Some(token.into()), audiences: Some(self.audiences.clone()) },
            status: None,
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let review = with_timeout("review a token", api.create(&PostParams::default(), &review)).await?;
        let Some(status) = review.status.filter(|status| status.authenticated == Some(true)) else { return Ok(None) };
        // An authenticator that knows nothing of audiences names none: its word is about another audience.
        let ours = status.audiences.unwrap_or_default().iter().any(|audience| self.audiences.contains(audience));
        let identity = status.user.and_then(|user| {
            Some(Identity {
                username: user.username.filter(|name| !name.is_empty())?,
                uid: user.uid,
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
            })
        });
        Ok(identity.filter(|_| ours))
    }

    async fn permit(&self, identity: &Identity, right: &Right) -> Result<bool, AuthorityError> {
        let Identity { username, uid, groups, extra } = identity.clone();
        let (resource_attributes, non_resource_attributes) = attributes(right);
        let review = SubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SubjectAccessReviewSpec {
                user: Some(username),
                uid,
                groups: Some(groups),
                extra: Some(extra),
                resource_attributes,
                non_resource_attributes,
            },
            status: None,
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let review = with_timeout("review an access", api.create(&PostParams::default(), &review)).await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }
}

fn attributes(right: &Right) -> (Option<ResourceAttributes>, Option<NonResourceAttributes>) {
    match right {
        Right::Resource { verb, resource, namespace } => {
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
                None => (*resource, None),
            };
            let resource = ResourceAttributes {
                group: Some(GROUP.into()),
                resource: Some(resource.into()),
                subresource,
                verb: Some((*verb).into()),
                namespace: namespace.clone(),
                ..ResourceAttributes::default()
            };
            (Some(resource), None)
        }
        Right::Path { verb, path } => {
            (None, Some(NonResourceAttributes { path: Some((*path).into()), verb: Some((*verb).into()) }))
        }
    }
}

/// The answer to `call`, if it comes in time.
pub(super) async fn with_timeout<T>(
    action: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, AuthorityError> {
    let failed = |cause: String| AuthorityError { action, cause };
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
