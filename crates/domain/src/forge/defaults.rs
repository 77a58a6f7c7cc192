//! What is so where the configuration says nothing.

use super::{AgentTrailer, Delivery, ReviewPolicy, Trailers};

/// What runs without being looked at: pipelines, who must look, other repositories, hooks.
const PROTECTED_PATHS: [&str; 12] = [
    ".github/workflows",
    ".github/actions",
    ".gitea/workflows",
    ".forgejo/workflows",
    ".gitlab-ci.yml",
    "CODEOWNERS",
    ".gitmodules",
    ".gitattributes",
    ".githooks",
    ".husky",
    "/hooks",
    ".pre-commit-config.yaml",
];

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            branch_prefix: "jct/".into(),
            protected: texts(&["main", "master", "release/*"]),
            trailers: Trailers::default(),
            signing: None,
            review: ReviewPolicy::default(),
        }
    }
}

impl Default for Trailers {
    fn default() -> Self {
        Self { agent: AgentTrailer::CoAuthoredBy, identity: None }
    }
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        Self {
            required: true,
            approvals: 1,
            expires_hours: 72,
            reviewers: None,
            self_approval: false,
            follow_ups: 3,
            protected_paths: texts(&PROTECTED_PATHS),
        }
    }
}
