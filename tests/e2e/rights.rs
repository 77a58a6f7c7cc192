//! Least privilege: what the operator's service account may, and what it may not.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use rstest::rstest;

use crate::support::{OPERATOR, RELEASE_NAMESPACE, World};

async fn may(world: &World, user: &str, verb: &str, what: &str, namespace: &str) -> bool {
    // group/resource[/subresource][:name]
    let (path, name) = what.split_once(':').unwrap_or((what, ""));
    let mut parts = path.splitn(3, '/');
    let mut part = || parts.next().map(str::to_owned).filter(|part| !part.is_empty());
    let attributes = ResourceAttributes {
        group: part(),
        resource: part(),
        subresource: part(),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        verb: Some(verb.into()),
        ..Default::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.into()),
            groups: Some(vec!["system:authenticated".into(), "system:serviceaccounts".into()]),
            resource_attributes: Some(attributes),
            ..Default::default()
        },
        ..Default::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

const SYSTEM: &str = RELEASE_NAMESPACE;

#[rstest]
#[case("list", "jct.dev/tasks", "")]
#[case("watch", "jct.dev/tasks", "")]
#[case("delete", "jct.dev/tasks", "default")]
#[case("patch", "jct.dev/tasks/status", "default")]
#[case("create", "jct.dev/tasks", "default")]
#[case("watch", "jct.dev/runs", "")]
#[case("patch", "jct.dev/issues", "default")]
#[case("patch", "jct.dev/contextpackets/status", "default")]
#[case("watch", "jct.dev/sessions", "")]
#[case("watch", "jct.dev/reviews", "")]
#[case("patch", "jct.dev/reviews/status", "default")]
#[case("delete", "jct.dev/sessions", "default")]
#[case("patch", "jct.dev/sessions/status", "default")]
#[case("create", "authentication.k8s.io/tokenreviews", "")]
#[case("create", "authorization.k8s.io/subjectaccessreviews", "")]
#[case("create", "batch/jobs", SYSTEM)]
#[case("delete", "batch/jobs", SYSTEM)]
#[case("list", "/pods", SYSTEM)]
#[case("get", "/secrets:jct-webhook", SYSTEM)]
#[case("get", "/secrets:jct-signing", SYSTEM)]
#[case("create", "/secrets:jct-signing", SYSTEM)]
#[case("update", "/secrets:jct-signing", SYSTEM)]
#[case("patch", "admissionregistration.k8s.io/validatingwebhookconfigurations:jct", "")]
#[tokio::test]
async fn the_operator_may_what_it_needs(#[case] verb: &str, #[case] what: &str, #[case] namespace: &str) {
    let world = World::shared("rights").await;
    assert!(may(&world, OPERATOR, verb, what, namespace).await);
}

#[rstest]
#[case("create", "jct.dev/runs", "default")]
#[case("delete", "jct.dev/issues", "default")]
#[case("create", "jct.dev/sessions", "default")]
#[case("create", "jct.dev/reviews", "default")]
#[case("patch", "jct.dev/sessions", "default")]
#[case("get", "/secrets:other", SYSTEM)]
#[case("list", "/secrets", SYSTEM)]
#[case("create", "/secrets", SYSTEM)]
#[case("create", "/secrets:other", SYSTEM)]
#[case("delete", "/secrets:jct-signing", SYSTEM)]
#[case("get", "/secrets:jct-webhook", "default")]
#[case("list", "/secrets", "")]
#[case("create", "/pods", SYSTEM)]
#[case("delete", "/pods", SYSTEM)]
#[case("create", "/pods/exec", SYSTEM)]
#[case("get", "/pods/log", SYSTEM)]
#[case("list", "/pods", "default")]
#[case("create", "batch/jobs", "default")]
#[case("create", "batch/cronjobs", SYSTEM)]
#[case("list", "/configmaps", SYSTEM)]
#[case("update", "coordination.k8s.io/leases:other", SYSTEM)]
#[case("create", "coordination.k8s.io/leases", "default")]
#[case("patch", "apps/deployments", SYSTEM)]
#[case("patch", "admissionregistration.k8s.io/validatingwebhookconfigurations:other", "")]
#[case("create", "admissionregistration.k8s.io/mutatingwebhookconfigurations", "")]
#[case("create", "rbac.authorization.k8s.io/clusterrolebindings", "")]
#[case("impersonate", "/users", "")]
#[case("get", "/nodes", "")]
#[case("patch", "apiextensions.k8s.io/customresourcedefinitions", "")]
#[tokio::test]
async fn the_operator_may_no_more(#[case] verb: &str, #[case] what: &str, #[case] namespace: &str) {
    let world = World::shared("rights").await;
    assert!(!may(&world, OPERATOR, verb, what, namespace).await);
}

#[rstest]
#[case("create", "jct.dev/tasks", true)]
#[case("patch", "jct.dev/tasks", true)]
#[case("patch", "jct.dev/tasks/status", false)]
#[case("create", "jct.dev/runs", true)]
#[case("delete", "jct.dev/contextpackets", true)]
#[case("patch", "jct.dev/issues/status", false)]
#[case("create", "jct.dev/sessions", true)]
#[case("patch", "jct.dev/sessions/status", false)]
#[tokio::test]
async fn who_may_edit_a_namespace_may_have_tasks_and_work_objects_there(
    #[case] verb: &str,
    #[case] what: &str,
    #[case] expected: bool,
) {
    let world = World::shared("rights").await;
    world.allow("ada@example.org").await;
    assert_eq!(may(&world, "ada@example.org", verb, what, &world.namespace).await, expected);
    assert!(!may(&world, "ada@example.org", verb, what, "default").await);
}
