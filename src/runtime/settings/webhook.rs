//! The admission webhook: its address, its certificate, and who may call it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::serve::ClientCa;
use crate::webhook::KeeperSettings;

/// Settings of the admission webhook.
#[derive(Args, Clone, Debug)]
pub struct WebhookArgs {
    /// Run the admission webhook
    #[arg(long, env = "JCT_WEBHOOK", default_value_t = true, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub webhook: bool,

    /// Port of the admission webhook
    #[arg(long, env = "JCT_WEBHOOK_PORT", default_value_t = 9443)]
    pub webhook_port: u16,

    /// Service through which the API server reaches the webhook
    #[arg(long, env = "JCT_WEBHOOK_SERVICE", default_value = "jct-webhook")]
    pub webhook_service: String,

    /// Secret that holds the webhook's CA, certificate and stamp key
    #[arg(long, env = "JCT_WEBHOOK_SECRET", default_value = "jct-webhook")]
    pub webhook_secret: String,

    /// Name of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration whose caBundle is kept current
    #[arg(long, env = "JCT_WEBHOOK_CONFIGURATION", default_value = "jct")]
    pub webhook_configuration: String,

    /// Life of the webhook's certificate, in hours; it is renewed after two thirds of it
    #[arg(long, env = "JCT_WEBHOOK_CERTIFICATE_HOURS", default_value_t = 2160, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    pub webhook_certificate_hours: u32,

    /// PEM file of the CA that signs the certificate by which the API server shows itself to the webhook; read again when
    /// it changes. With it nobody else is answered
    #[arg(long, env = "JCT_WEBHOOK_CLIENT_CA_FILE")]
    pub webhook_client_ca_file: Option<PathBuf>,

    /// Comma-separated common names or DNS names of which that certificate must have one; any of the CA will do when empty
    #[arg(long, env = "JCT_WEBHOOK_CLIENT_NAMES", default_value = "")]
    pub webhook_client_names: String,
}

impl WebhookArgs {
    /// Whose certificate the API server must show to the webhook; none where it shows none.
    pub fn client_ca(&self) -> Option<ClientCa> {
        // The chart sets the variable in any case.
        let file = self.webhook_client_ca_file.clone().filter(|file| !file.as_os_str().is_empty())?;
        let names = self.webhook_client_names.split(',').map(str::trim).filter(|name| !name.is_empty());
        Some(ClientCa { file, names: names.map(str::to_owned).collect() })
    }

    /// Where its certificate is kept, in `namespace`, which is that of the broker of models too, if there is one.
    pub fn keeper(&self, namespace: &str, model_service: Option<String>) -> KeeperSettings {
        KeeperSettings {
            namespace: namespace.to_owned(),
            secret: self.webhook_secret.clone(),
            service: self.webhook_service.clone(),
            model_service,
            configuration: self.webhook_configuration.clone(),
            life: Duration::from_secs(u64::from(self.webhook_certificate_hours) * 3600),
        }
    }
}
