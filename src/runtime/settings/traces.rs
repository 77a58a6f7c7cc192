//! Traces: where they are, and what their provenance is signed with.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{InvalidSetting, invalid, object_name};
use crate::domain::provenance::DEFAULT_BUILDER_ID;
use crate::signing::SecretSettings;

/// Settings of traces.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Where the trace volume is mounted in the operator
    #[arg(long, env = "JCT_TRACE_ROOT", default_value = "/var/lib/jct/traces")]
    pub trace_root: PathBuf,

    /// PersistentVolumeClaim of the trace volume, in the worker namespace
    #[arg(long, env = "JCT_TRACE_CLAIM", default_value = "jct-traces")]
    pub trace_claim: String,

    /// Secret that holds the Ed25519 keys which provenance is signed with
    #[arg(long, env = "JCT_SIGNING_SECRET", default_value = "jct-signing")]
    pub signing_secret: String,

    /// Age at which the signing key is replaced, in days; 0 for never, but by `jct keys rotate`
    #[arg(long, env = "JCT_SIGNING_KEY_DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub signing_key_days: u32,

    /// URI that provenance names as the builder (builder.id)
    #[arg(long, env = "JCT_PROVENANCE_BUILDER_ID", default_value = DEFAULT_BUILDER_ID)]
    pub provenance_builder_id: String,
}

impl TraceArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        object_name("--signing-secret (JCT_SIGNING_SECRET)", "Secret", &self.signing_secret)?;
        let is_uri = self.provenance_builder_id.split_once(':').is_some_and(|(scheme, rest)| {
            let mut scheme = scheme.bytes();
            scheme.next().is_some_and(|first| first.is_ascii_alphabetic())
                && scheme.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                && !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_graphic())
        });
        if !is_uri {
            return Err(invalid(
                "--provenance-builder-id (JCT_PROVENANCE_BUILDER_ID)",
                format!("must be a URI such as {DEFAULT_BUILDER_ID}, is {:?}", self.provenance_builder_id),
            ));
        }
        Ok(())
    }

    /// Where the signing keys are kept, in `namespace`.
    pub fn signing(&self, namespace: &str) -> SecretSettings {
        let days = u64::from(self.signing_key_days);
        SecretSettings {
            namespace: namespace.to_owned(),
            secret: self.signing_secret.clone(),
            max_age: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)),
        }
    }
}
