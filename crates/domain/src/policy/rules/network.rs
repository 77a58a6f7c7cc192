//! NETWORK_ACCESS_DENIED

use super::{Code, Draft, Finding, Naming, Policy, path};

pub fn check(draft: &Draft, naming: Naming, _: &Policy) -> Option<Finding> {
    if !draft.allow_network {
        return None;
    }
    let field = path(naming, "constraints.allowNetwork", "constraints.allow_network");
    Some(Finding::new(Code::NetworkAccessDenied, field, "must be false: version 1 gives no task access to the network"))
}
