//! What puts the parts together into processes: settings, logs, metrics, shutdown.

pub mod metrics;
pub mod settings;

pub use metrics::Metrics;
pub use settings::Settings;
