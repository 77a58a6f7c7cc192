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
