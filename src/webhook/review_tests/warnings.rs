//! What is admitted with a warning.

use super::*;

#[test]
fn whoever_makes_a_task_that_nothing_can_do_is_warned() {
    let warned = |spec: Value| {
        let object = task(json!({"spec": spec}));
        let response = review(Endpoint::Mutate, &request("CREATE", "ada", &object, None));
        assert!(response.allowed);
        response.warnings.unwrap_or_default()
    };
    assert_eq!(warned(json!({})), Vec::<String>::new());
    let patch = warned(json!({"operation": "code_change"}));
    assert!(patch[0].contains("spec.inputs.patch is missing"), "{patch:?}");
    let unknown = warned(json!({"executor": "nobody"}));
    assert!(unknown[0].contains("\"nobody\" is not configured"), "{unknown:?}");
}

#[test]
fn whoever_makes_a_task_that_delivers_where_it_may_not_is_refused() {
    let forges = "[{name: own, kind: gitea, repos: [octo/], git: 'https://g/{repo}', api: 'https://g/api/v1', write: {secret: w}, \
                  grants: [{namespaces: [team], repos: [octo/], deliver: [branch]}]}]";
    let forges = crate::domain::forge::Forges::read(forges).unwrap();
    let forges = tokio::sync::watch::Sender::new(std::sync::Arc::new(forges)).subscribe();
    let reviewer = Reviewer { forges, ..reviewer() };
    let told = |delivery: Value| {
        let spec = json!({"operation": "docs", "delivery": delivery});
        let asked = request("CREATE", "ada", &task(json!({"spec": spec})), None);
        let review = reviewer.review(Endpoint::Mutate, Caller::Authenticated, &asked, [1; 16], now());
        (review.response.allowed, review.response.result.message)
    };
    assert!(told(json!({"mode": "branch"})).0);
    let (allowed, message) = told(json!({"mode": "pull_request"}));
    assert!(!allowed && message.contains("DELIVERY_NOT_ALLOWED: spec.delivery.mode"), "{message}");
    let (allowed, message) = told(json!({"mode": "branch", "branch": "main"}));
    assert!(!allowed && message.contains("spec.delivery.branch"), "{message}");
    let (allowed, message) = told(json!({"mode": "branch", "title": "Mend\u{202e}it", "branch": "jct/a b"}));
    assert!(
        !allowed && message.contains("spec.delivery.title") && message.contains("spec.delivery.branch"),
        "{message}"
    );
}

#[test]
fn whoever_applies_an_object_whose_copy_comes_near_the_limit_is_told_the_way_out() {
    let warned = |operation: &str, bytes: usize| {
        let copy = json!({"metadata": {"annotations": {LAST_APPLIED: "x".repeat(bytes)}}});
        let object = stamped(&task(copy), "ada");
        let old = (operation == "UPDATE").then_some(&object);
        let response = review(Endpoint::Mutate, &request(operation, "ada", &object, old));
        assert!(response.allowed);
        let warnings = response.warnings.unwrap_or_default();
        warnings.iter().any(|warning| warning.contains("--server-side"))
    };
    for operation in ["CREATE", "UPDATE"] {
        assert!(warned(operation, 201 * 1024), "{operation}");
        assert!(!warned(operation, 200 * 1024), "{operation}");
    }
}
