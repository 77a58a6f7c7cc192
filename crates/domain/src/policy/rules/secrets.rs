//! SECRETS_ACCESS_DENIED

use super::{Code, Draft, Finding, Naming, Policy, path};

pub fn check(draft: &Draft, naming: Naming, _: &Policy) -> Option<Finding> {
    if !draft.allow_secrets {
        return None;
    }
    let field = path(naming, "constraints.allowSecrets", "constraints.allow_secrets");
    Some(Finding::new(Code::SecretsAccessDenied, field, "must be false: version 1 gives no task access to secrets"))
}
