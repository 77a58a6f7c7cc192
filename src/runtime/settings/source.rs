//! Where repositories are fetched from, and how much of them.

use clap::Args;

use super::{InvalidSetting, invalid};

const URL_TEMPLATE: &str = "--source-url-template (JCT_SOURCE_URL_TEMPLATE)";

/// Settings of sources.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// URL that a repository is fetched from; {repo} stands for owner/name
    #[arg(long, env = "JCT_SOURCE_URL_TEMPLATE", default_value = "https://github.com/{repo}.git")]
    pub source_url_template: String,

    /// Whether http:// and git:// may be used, by which whoever is on the way can change what is fetched
    #[arg(long, env = "JCT_SOURCE_ALLOW_PLAINTEXT", default_value_t = false, action = clap::ArgAction::Set)]
    pub source_allow_plaintext: bool,

    /// URL of a proxy through which sources are fetched, with scheme and port; none when empty
    #[arg(long, env = "JCT_SOURCE_PROXY", default_value = "")]
    pub source_proxy: String,

    /// ConfigMap of the worker namespace with the certificates of the authorities that vouch for the source's server; those that
    /// everybody knows when empty
    #[arg(long, env = "JCT_SOURCE_CA_CONFIG_MAP", default_value = "")]
    pub source_ca_config_map: String,

    /// The key in that ConfigMap
    #[arg(long, env = "JCT_SOURCE_CA_KEY", default_value = "ca.crt")]
    pub source_ca_key: String,

    /// The most files that a source tree may have
    #[arg(long, env = "JCT_SOURCE_MAX_FILES", default_value_t = 200_000)]
    pub source_max_files: u64,

    /// The most bytes that a source tree may have
    #[arg(long, env = "JCT_SOURCE_MAX_BYTES", default_value_t = 4 << 30)]
    pub source_max_bytes: u64,

    /// How long fetching the source may take, in seconds
    #[arg(long, env = "JCT_SOURCE_TIMEOUT_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub source_timeout_seconds: u32,
}

impl SourceArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let template = &self.source_url_template;
        if template.matches("{repo}").count() != 1 {
            return Err(invalid(URL_TEMPLATE, format!("must contain {{repo}} once, is {template:?}")));
        }
        let scheme = template.split_once("://").map_or("", |(scheme, _)| scheme);
        if !["https", "http", "git"].contains(&scheme) {
            let message =
                format!("must begin with https://, or where plaintext is allowed http:// or git://, is {template:?}");
            return Err(invalid(URL_TEMPLATE, message));
        }
        if scheme != "https" && !self.source_allow_plaintext {
            let message = format!(
                "{scheme}:// lets whoever is on the way change what is fetched: use https://, or set \
                 --source-allow-plaintext=true (JCT_SOURCE_ALLOW_PLAINTEXT, source.allowPlaintext of the chart)"
            );
            return Err(invalid(URL_TEMPLATE, message));
        }
        self.way_out().map(drop)
    }
}
