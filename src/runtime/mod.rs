//! What puts the parts together into processes: settings, logs, the page of metrics, the Lease, shutdown.

mod config_file;
mod controller;
mod count;
pub mod lease;
pub mod metrics;
pub mod notifications;
pub mod operator;
pub mod settings;
pub mod telemetry;

pub use config_file::ConfigFile;
pub use metrics::Metrics;
pub use settings::Settings;
