//! Models: which there are, and where their broker is.

use std::path::PathBuf;

use clap::Args;

/// Settings of models and their broker.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// YAML file of models that executors may ask, read again when it changes; without one there are none, and no broker
    #[arg(long, env = "JCT_MODELS_FILE")]
    pub models_file: Option<PathBuf>,

    /// Port of the broker of models
    #[arg(long, env = "JCT_MODEL_PORT", default_value_t = 8444)]
    pub model_port: u16,

    /// Service through which worker pods reach the broker, on port 443
    #[arg(long, env = "JCT_MODEL_SERVICE", default_value = "jct-model")]
    pub model_service: String,
}

impl ModelArgs {
    /// The Service of the broker, if there is one.
    pub fn service(&self) -> Option<String> {
        self.models_file.is_some().then(|| self.model_service.clone())
    }
}
