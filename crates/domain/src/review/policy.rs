//! Which review a change needs before it is delivered. Pure.

use jiff::{SignedDuration, Timestamp};

use super::Required;
use crate::forge::{Forges, Mode, ReviewPolicy, is_path_like};
use crate::task::{Repo, TaskDelivery};
use crate::trace::Change;

/// The review that a change needs: none where nothing is to be delivered, or where nobody asks for one.
///
/// A forge that the configuration does not have (any more) asks for one: what was meant to be reviewed is not delivered unread
/// because a line is missing for a while.
pub fn required(
    forges: &Forges,
    repo: &Repo,
    wanted: Option<&TaskDelivery>,
    change: Option<&Change>,
    at: Timestamp,
) -> Option<Required> {
    wanted.filter(|wanted| wanted.mode != Mode::None)?;
    let change = change?;
    let forge = forges.for_repository(repo);
    let default = ReviewPolicy::default();
    let (name, policy) = forge.map_or(("", &default), |forge| (forge.name.as_str(), &forge.delivery.review));
    let because = why(policy, change.all_paths())?;
    let reviewers = policy.reviewers.clone().unwrap_or_default();
    let expires_at = at.checked_add(SignedDuration::from_hours(policy.expires_hours.into())).ok();
    Some(Required {
        forge: name.into(),
        approvals: policy.approvals.max(1),
        expires_at,
        users: reviewers.users,
        groups: reviewers.groups,
        self_approval: policy.self_approval,
        because,
    })
}

/// Why a review is required, if it is.
fn why(policy: &ReviewPolicy, paths: Option<&[String]>) -> Option<String> {
    if policy.required {
        return Some("the forge's policy requires it".into());
    }
    let Some(paths) = paths else {
        return Some("not all of the changed files are named: one of them may be protected".into());
    };
    let protected = |path: &&String| policy.protected_paths.iter().any(|pattern| is_path_like(pattern, path));
    paths.iter().find(protected).map(|path| format!("{path} is protected"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn change(paths: &[&str], files: usize) -> Change {
        let change = json!({"base_commit": "b", "commit": "c", "git_ref": "r", "files_changed": files, "insertions": 1, "deletions": 0,
            "patch_sha256": "", "patch_bytes": 1, "bundle_sha256": "", "bundle_bytes": 1, "paths": paths});
        serde_json::from_value(change).unwrap()
    }

    fn delivery(mode: &str) -> TaskDelivery {
        let delivery = json!({"mode": mode, "base": null, "branch": null, "title": null, "draft": true, "labels": [], "reviewers": []});
        serde_json::from_value(delivery).unwrap()
    }

    fn forges(review: &str) -> Forges {
        let yaml = format!(
            "[{{name: f, kind: git, repos: [octo/], git: 'https://f/{{repo}}', delivery: {{review: {review}}}}}]"
        );
        Forges::read(&yaml).unwrap()
    }

    fn asked(review: &str, mode: &str, paths: &[&str], files: usize) -> Option<Required> {
        let repo = Repo::parse("octo/hello").unwrap();
        let wanted = delivery(mode);
        required(&forges(review), &repo, Some(&wanted), Some(&change(paths, files)), Timestamp::UNIX_EPOCH)
    }

    #[rstest]
    #[case::by_default("{}", "branch", &["src/a"], 1, Some("the forge's policy requires it"))]
    #[case::nothing_to_deliver("{}", "none", &["src/a"], 1, None)]
    #[case::not_wanted("{required: false}", "branch", &["src/a"], 1, None)]
    #[case::protected("{required: false}", "branch", &["src/a", ".github/workflows/ci.yml"], 2, Some(".github/workflows/ci.yml is protected"))]
    #[case::not_all_named("{required: false}", "pull_request", &["src/a"], 2, Some("not all of the changed files are named: one of them may be protected"))]
    fn what_needs_a_review(
        #[case] review: &str,
        #[case] mode: &str,
        #[case] paths: &[&str],
        #[case] files: usize,
        #[case] because: Option<&str>,
    ) {
        assert_eq!(asked(review, mode, paths, files).map(|required| required.because).as_deref(), because);
    }

    #[test]
    fn what_the_forge_says_is_kept_and_no_forge_asks_too() {
        let review =
            "{approvals: 2, expires_hours: 1, reviewers: {users: [bob], groups: [leads]}, self_approval: true}";
        let required_ = asked(review, "branch", &["a"], 1).unwrap();
        let expected = Required {
            forge: "f".into(),
            approvals: 2,
            expires_at: Some("1970-01-01T01:00:00Z".parse().unwrap()),
            users: vec!["bob".into()],
            groups: vec!["leads".into()],
            self_approval: true,
            because: "the forge's policy requires it".into(),
        };
        assert_eq!(required_, expected);
        let repo = Repo::parse("gone/hello").unwrap();
        let asked =
            |wanted| required(&Forges::default(), &repo, wanted, Some(&change(&["a"], 1)), Timestamp::UNIX_EPOCH);
        let wanted = delivery("branch");
        assert_eq!(asked(Some(&wanted)).map(|required| required.approvals), Some(1));
        assert_eq!(asked(None), None);
    }
}
