//! Signing in to the console at an OpenID Connect issuer.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::{InvalidSetting, invalid};
use crate::console::OidcSettings;
use crate::domain::notification::check_url;

/// Settings of signing in by OpenID Connect.
#[derive(Args, Clone)]
pub struct OidcArgs {
    /// The issuer at which people sign in to the console, one that the API server trusts; without it there is no such way
    #[arg(long, env = "JCT_OIDC_ISSUER_URL", default_value = "")]
    pub oidc_issuer_url: String,

    /// What the issuer knows the console as: an audience of the API server's for this issuer
    #[arg(long, env = "JCT_OIDC_CLIENT_ID", default_value = "")]
    pub oidc_client_id: String,

    /// The secret of the client, if the issuer asks for one
    #[arg(long, env = "JCT_OIDC_CLIENT_SECRET", default_value = "", hide_env_values = true)]
    pub oidc_client_secret: String,

    /// Space-separated scopes beside `openid`: those whose claims the API server takes names and groups from
    #[arg(long, env = "JCT_OIDC_SCOPES", default_value = "profile email")]
    pub oidc_scopes: String,

    /// PEM file of the authorities that vouch for the issuer; without it those that browsers believe
    #[arg(long, env = "JCT_OIDC_CA_FILE")]
    pub oidc_ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for OidcArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcArgs")
            .field("issuer", &self.oidc_issuer_url)
            .field("client_id", &self.oidc_client_id)
            .finish_non_exhaustive()
    }
}

impl OidcArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        if self.oidc_issuer_url.is_empty() {
            return Ok(());
        }
        if check_url(&self.oidc_issuer_url, false).is_err() || self.oidc_issuer_url.contains('?') {
            let message = format!(
                "must be https://HOST (on the loopback http:// as well), with a path if need be, as the issuer itself writes it; is {:?}",
                self.oidc_issuer_url
            );
            return Err(invalid("--oidc-issuer-url (JCT_OIDC_ISSUER_URL)", message));
        }
        if self.oidc_client_id.is_empty() {
            return Err(invalid("--oidc-client-id (JCT_OIDC_CLIENT_ID)", "is needed with an issuer".into()));
        }
        self.ca().map(drop)
    }

    fn ca(&self) -> Result<Option<String>, InvalidSetting> {
        let Some(path) = &self.oidc_ca_file else { return Ok(None) };
        let read = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        read.map(Some).map_err(|message| invalid("--oidc-ca-file (JCT_OIDC_CA_FILE)", message))
    }

    /// The same for the console, if there is an issuer.
    ///
    /// # Errors
    /// If the file of the authorities is not there.
    pub fn settings(&self) -> Result<Option<OidcSettings>, InvalidSetting> {
        if self.oidc_issuer_url.is_empty() {
            return Ok(None);
        }
        Ok(Some(OidcSettings {
            issuer: self.oidc_issuer_url.clone(),
            client_id: self.oidc_client_id.clone(),
            client_secret: Some(self.oidc_client_secret.clone()).filter(|secret| !secret.is_empty()),
            scopes: self.oidc_scopes.split_whitespace().map(str::to_owned).collect(),
            ca: self.ca()?,
        }))
    }
}
