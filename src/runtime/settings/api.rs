//! The REST API.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::{InvalidSetting, invalid, namespace_name};
use crate::api::ApiSettings;
use crate::console::ConsoleSettings;
use crate::domain::notification::check_url;

/// Settings of the REST API.
#[derive(Args, Clone, Debug)]
pub struct ApiArgs {
    /// Serve the REST API; without it the port has health, version and metrics alone
    #[arg(long, env = "JCT_API", default_value_t = true, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub api: bool,

    /// Port of the HTTP API
    #[arg(long, env = "API_PORT", default_value_t = 8000)]
    pub api_port: u16,

    /// Comma-separated audiences; a caller's Kubernetes token must be meant for one of them
    #[arg(long, env = "JCT_API_AUDIENCE", default_value = "jct")]
    pub api_audience: String,

    /// Namespace of Tasks whose request names none
    #[arg(long, env = "JCT_API_NAMESPACE", default_value = "default")]
    pub api_namespace: String,

    /// How long what Kubernetes said about a token or a right is believed, in seconds; a refusal for a fifth of it
    #[arg(long, env = "JCT_API_AUTH_CACHE_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=300))]
    pub api_auth_cache_seconds: u32,

    /// How long an API request may take, in seconds
    #[arg(long, env = "JCT_API_TIMEOUT_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub api_timeout_seconds: u32,

    /// The greatest body of an API request, in bytes
    #[arg(long, env = "JCT_API_MAX_BODY_BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub api_max_body_bytes: u32,

    /// How many API requests are served at once; one caller may have half of them
    #[arg(long, env = "JCT_API_MAX_REQUESTS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub api_max_requests: u32,

    /// How many followers of Tasks and downloads of traces are served at once; one caller may have a twentieth of them
    #[arg(long, env = "JCT_API_MAX_FOLLOWERS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub api_max_followers: u32,

    /// Where people reach API and console, such as `https://jct.example.org`: what JCT sends and shows links there, and to nothing
    /// without it
    #[arg(long, env = "JCT_PUBLIC_URL", default_value = "")]
    pub public_url: String,

    /// How long the token of a Session lives, in seconds: 60 to 3600, or 0 for no Sessions
    #[arg(long, env = "JCT_API_SESSION_SECONDS", default_value_t = 3_600, value_parser = session_seconds)]
    pub api_session_seconds: u32,
}

impl ApiArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        namespace_name("--api-namespace (JCT_API_NAMESPACE)", &self.api_namespace)?;
        if let Some(url) = self.public_url()
            && (check_url(&url, false).is_err() || url.contains('?'))
        {
            let message = format!(
                "must be https://HOST (on the loopback http:// as well), with a path if need be, without user, query and fragment; is {:?}",
                self.public_url
            );
            return Err(invalid("--public-url (JCT_PUBLIC_URL)", message));
        }
        if self.audiences().is_empty() {
            // A review without audiences is about the API server's own: tokens that were never meant for JCT.
            return Err(invalid("--api-audience (JCT_API_AUDIENCE)", "must name at least one audience".into()));
        }
        Ok(())
    }

    /// Where people reach JCT, without a slash at its end, where that is known.
    pub fn public_url(&self) -> Option<String> {
        let url = self.public_url.trim().trim_end_matches('/');
        (!url.is_empty()).then(|| url.to_owned())
    }

    /// The same for the console.
    pub fn console(&self) -> ConsoleSettings {
        ConsoleSettings { public_url: self.public_url() }
    }

    fn audiences(&self) -> Vec<String> {
        self.api_audience.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// The same for the API.
    pub fn settings(&self) -> ApiSettings {
        ApiSettings {
            enabled: self.api,
            audiences: self.audiences(),
            namespace: self.api_namespace.clone(),
            public_url: self.public_url(),
            keep_decisions: Duration::from_secs(self.api_auth_cache_seconds.into()),
            timeout: Duration::from_secs(self.api_timeout_seconds.into()),
            max_body_bytes: self.api_max_body_bytes as usize,
            max_requests: self.api_max_requests as usize,
            max_followers: self.api_max_followers as usize,
        }
    }
}

fn session_seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    let is_good = seconds == 0 || (60..=3_600).contains(&seconds);
    if is_good { Ok(seconds) } else { Err("must be 60 to 3600, or 0 for no Sessions".to_owned()) }
}
