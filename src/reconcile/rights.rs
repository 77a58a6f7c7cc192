//! What somebody may do who is not here to ask: Kubernetes decides, by SubjectAccessReview.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use super::Error;
use crate::crd::names::GROUP;
use crate::domain::Principal;

/// Whether `who` may create Tasks in `namespace`, now. Never, if not all is known of them that decides on that.
///
/// # Errors
/// [`Error::Api`] if the API server does not decide; to be asked again.
pub async fn may_create_tasks(client: &Client, who: &Principal, namespace: &str) -> Result<bool, Error> {
    let (Some(groups), Some(extra)) = (who.groups(), who.extra()) else { return Ok(false) };
    let review = SubjectAccessReview {
        metadata: ObjectMeta::default(),
        spec: SubjectAccessReviewSpec {
            user: Some(who.user.clone()),
            uid: who.uid.clone(),
            groups: Some(groups),
            extra: Some(extra),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.into()),
                resource: Some("tasks".into()),
                verb: Some("create".into()),
                namespace: Some(namespace.into()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        status: None,
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &review).await;
    let review = review.map_err(Error::api("ask whether the author of a Run may create Tasks"))?;
    Ok(review.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}
