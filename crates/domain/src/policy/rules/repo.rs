//! REPO_NOT_ALLOWED

use super::{Code, Draft, Finding, Naming, Policy, path};

pub fn check(draft: &Draft, naming: Naming, policy: &Policy) -> Option<Finding> {
    let repo = draft.repo.as_ref()?;
    if policy.allowed_repo_prefixes.iter().any(|prefix| repo.as_str().starts_with(prefix.as_str())) {
        return None;
    }
    let field = path(naming, "target.repo", "target.repo");
    let message = if policy.allowed_repo_prefixes.is_empty() {
        format!("{repo} is not allowed: no repository is, until JCT_ALLOWED_REPO_PREFIXES names some")
    } else {
        format!("{repo} is not allowed; it must start with one of: {}", policy.allowed_repo_prefixes.join(", "))
    };
    Some(Finding::new(Code::RepoNotAllowed, field, message))
}
