//! DELIVERY_NOT_ALLOWED: what the gate finds on a Task that wants its change delivered.

use super::{Delivery, Forges, Mode, is_like};
use crate::task::{Operation, Task, TaskDelivery};
use crate::{Code, Finding, Naming};

/// The most of a Task's name in that of its branch, in bytes.
const MAX_TASK_BYTES: usize = 200;

/// What stands against delivering what `task` makes, in `namespace`; nothing where nothing is to be delivered.
pub fn findings(
    forges: &Forges,
    namespace: &str,
    task: &Task,
    wanted: Option<&TaskDelivery>,
    naming: Naming,
) -> Vec<Finding> {
    let Some(wanted) = wanted.filter(|wanted| wanted.mode != Mode::None) else { return Vec::new() };
    let finding = |field: &str, message: String| {
        Finding::new(Code::DeliveryNotAllowed, naming.path(&format!("delivery.{field}")), message)
    };
    if !matches!(task.operation, Operation::CodeChange | Operation::Docs) {
        return vec![finding("mode", format!("must be none: {} makes no change to deliver", task.operation))];
    }
    let forge = match forges.delivers(namespace, &task.target.repo, wanted.mode) {
        Ok((forge, _)) => forge,
        Err(error) => {
            return vec![finding("mode", format!("{error}; ask whoever configures forges, or leave delivery out"))];
        }
    };
    let mut found = Vec::new();
    if let Some(branch) = &wanted.branch
        && let Err(message) = forge.delivery.may_have(branch)
    {
        found.push(finding("branch", message));
    }
    match wanted.base(&task.target.git_ref) {
        None if wanted.mode == Mode::PullRequest => {
            let message =
                format!("is required: target.ref, {}, is no branch that a change could go into", task.target.git_ref);
            found.push(finding("base", message));
        }
        Some(base) if wanted.branch.as_deref() == Some(base) => {
            found.push(finding("branch", format!("must not be the base, {base}")));
        }
        _ => {}
    }
    found
}

impl Delivery {
    /// Whether a change may be delivered to this branch.
    ///
    /// # Errors
    /// Why not.
    pub fn may_have(&self, branch: &str) -> Result<(), String> {
        if !branch.starts_with(&self.branch_prefix) || branch.len() == self.branch_prefix.len() {
            return Err(format!("{branch} must begin with {}, and have something after it", self.branch_prefix));
        }
        match self.protected.iter().find(|pattern| is_like(pattern, branch)) {
            Some(pattern) => Err(format!("{branch} is protected, by {pattern}")),
            None => Ok(()),
        }
    }

    /// The branch of a Task that names none: the last of its id tell Tasks of one name apart.
    pub fn branch_of(&self, task: &str, id: &str) -> String {
        let last = id.len().checked_sub(8).and_then(|at| id.get(at..)).unwrap_or(id);
        // A forge keeps it as a file, beside which git makes another with a longer name.
        let task = task.get(..MAX_TASK_BYTES).unwrap_or(task).trim_end_matches(['-', '.']);
        format!("{}{task}-{}", self.branch_prefix, last.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::{Policy, Verdict, judge};
    use crate::task::git_ref_problem;

    const FORGES: &str = r#"
- {name: own, kind: gitea, repos: [octo/], git: "https://g/{repo}", api: "https://g/api/v1", write: {secret: w},
   grants: [{namespaces: [team], repos: [octo/], deliver: [branch, pull_request]}, {namespaces: [team], repos: [octo/branches], deliver: [branch]}],
   delivery: {protected: ["jct/keep*"]}}
"#;

    fn found(namespace: &str, change: &Value) -> Vec<(String, String)> {
        let mut spec = json!({
            "requestedBy": {"kind": "human", "id": "ada"}, "objective": "Mend it", "operation": "code_change",
            "target": {"repo": "octo/hello"},
        });
        json_patch::merge(&mut spec, change);
        let (verdict, controls) = judge(&spec, Naming::CustomResource, &Policy::default().allowing("octo/,other/"));
        let Verdict::Accepted(task) = verdict else { panic!("{verdict:?}") };
        let forges = Forges::read(FORGES).unwrap();
        let found = findings(&forges, namespace, &task, controls.delivery.as_ref(), Naming::CustomResource);
        assert!(found.iter().all(|finding| finding.code == Code::DeliveryNotAllowed));
        found.into_iter().map(|finding| (finding.field, finding.message)).collect()
    }

    #[rstest]
    #[case("team", json!({"delivery": {"mode": "pull_request"}}), None)]
    #[case("team", json!({"operation": "docs", "delivery": {"mode": "branch", "branch": "jct/x", "base": "dev"}}), None)]
    #[case("team", json!({"operation": "ops", "delivery": {"mode": "none"}}), None)]
    #[case("other", json!({"delivery": {}}), None)]
    #[case("team", json!({"target": {"ref": "v1"}, "delivery": {"mode": "branch"}}), None)]
    #[case("team", json!({"operation": "ops", "delivery": {"mode": "branch"}}), Some("spec.delivery.mode"))]
    #[case("other", json!({"delivery": {"mode": "branch"}}), Some("spec.delivery.mode"))]
    #[case("team", json!({"target": {"repo": "other/hello"}, "delivery": {"mode": "branch"}}), Some("spec.delivery.mode"))]
    #[case("team", json!({"target": {"repo": "octo/branches"}, "delivery": {"mode": "pull_request"}}), Some("spec.delivery.mode"))]
    #[case("team", json!({"delivery": {"mode": "branch", "branch": "main"}}), Some("spec.delivery.branch"))]
    #[case("team", json!({"delivery": {"mode": "branch", "branch": "jctx/a"}}), Some("spec.delivery.branch"))]
    #[case("team", json!({"delivery": {"mode": "branch", "branch": "jct/keep-it"}}), Some("spec.delivery.branch"))]
    #[case("team", json!({"delivery": {"mode": "branch", "branch": "jct/x", "base": "jct/x"}}), Some("spec.delivery.branch"))]
    #[case("team", json!({"target": {"ref": "0123456789012345678901234567890123456789"}, "delivery": {"mode": "pull_request"}}), Some("spec.delivery.base"))]
    #[case("team", json!({"target": {"ref": "refs/tags/v1"}, "delivery": {"mode": "pull_request"}}), Some("spec.delivery.base"))]
    fn what_may_not_be_delivered_is_told(
        #[case] namespace: &str,
        #[case] change: Value,
        #[case] expected: Option<&str>,
    ) {
        let found = found(namespace, &change);
        assert_eq!(found.first().map(|(field, _)| &**field), expected, "{found:?}");
    }

    #[test]
    fn without_a_configuration_nothing_is_delivered() {
        let task = |delivery| json!({"target": {"repo": "other/hello"}, "delivery": delivery});
        assert!(
            found("team", &task(json!({"mode": "branch"})))[0].1.contains("no forge of the operator's configuration")
        );
        assert_eq!(found("team", &task(json!(null))), []);
    }

    #[rstest]
    #[case("mend", "jct/mend-x7f3mrfc")]
    #[case("a.lock", "jct/a.lock-x7f3mrfc")]
    fn a_branch_without_a_name_is_one_that_git_takes(#[case] task: &str, #[case] expected: &str) {
        let delivery = Delivery::default();
        let branch = delivery.branch_of(task, "01M846R6G0D52FNMZ1F3X7F3MRFC");
        assert_eq!((&*branch, git_ref_problem(&branch), delivery.may_have(&branch)), (expected, None, Ok(())));
    }

    #[test]
    fn the_branch_of_a_long_name_is_one_that_a_file_system_takes() {
        let delivery = Delivery::default();
        for name in
            ["a".repeat(253), format!("{}.b", "a".repeat(199)), format!("{}-.{}", "a".repeat(198), "b".repeat(50))]
        {
            let branch = delivery.branch_of(&name, "01M846R6G0D52FNMZ1F3X7F3MRFC");
            let longest = branch.split('/').map(str::len).max().unwrap();
            assert!(longest + ".lock".len() <= 255, "{branch}");
            assert_eq!((git_ref_problem(&branch), delivery.may_have(&branch)), (None, Ok(())));
            assert!(branch.ends_with("a-x7f3mrfc"), "{branch}");
        }
    }
}
