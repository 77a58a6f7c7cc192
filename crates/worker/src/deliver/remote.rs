//! Git on the forge, by its credential.

use jct_domain::delivery::DeliveryReason;
use jct_domain::url::credentials;
use tokio_util::sync::CancellationToken;

use super::{RemoteArgs, Stop, deadline};
use crate::source::git::Git;
use crate::source::refused::Forge;
use crate::source::{access, protocol};

/// Git with the credential of the mounted Secret.
pub fn git(args: &RemoteArgs, interrupted: CancellationToken) -> Result<Git, Stop> {
    let RemoteArgs { step, url, credential, authorities, protocols, .. } = args;
    if credentials(url).is_some() {
        return Err(Stop::new(
            DeliveryReason::WorkerFailed,
            "the URL has a credential in it, which is for a Secret alone",
        ));
    }
    let protocol = protocol(url, protocols)?;
    let refused = |message: String| Stop::new(DeliveryReason::CredentialMissing, message);
    let access = access(url, Some(credential), authorities.as_deref(), &step.scratch)
        .map_err(|failure| refused(failure.message))?;
    if access.helper.is_none() {
        return Err(refused(format!("there is no credential for the forge {}", args.forge)));
    }
    Ok(Git {
        home: step.scratch.clone(),
        protocol,
        deadline: deadline(step),
        interrupted,
        credentials: access.credentials,
        helper: access.helper,
        authorities: access.authorities,
        max_pack_bytes: step.max_bytes,
    })
}

/// What git's complaint about the forge comes to.
pub fn refusal(args: &RemoteArgs, what: &str, complaint: &str) -> Stop {
    let RemoteArgs { forge, repo, .. } = args;
    let asked = Forge { name: forge, repo, has_login: true };
    if asked.refuses(complaint).is_some() {
        let message = format!(
            "{what}: the forge {forge} does not take its credential for writing to {repo}, or shows it no such repository: whoever configures \
             forges can test it by jct forge check"
        );
        return Stop::new(DeliveryReason::ForgeRefused, message);
    }
    let redirects = ["300", "301", "302", "303", "307", "308"];
    if redirects.iter().any(|status| complaint.contains(&format!("returned error: {status}"))) {
        let message =
            format!("{what}: the forge {forge} redirects to another place, which is not followed ({complaint})");
        return Stop::new(DeliveryReason::ForgeRefused, message);
    }
    Stop::new(DeliveryReason::ForgeUnavailable, format!("{what}: {complaint}"))
}
