//! What puts the parts together into processes: settings, logs, metrics, shutdown.

mod denials;
pub mod metrics;
pub mod operator;
pub mod settings;
pub mod telemetry;

pub use denials::{Denials, Waiting};
pub use metrics::Metrics;
pub use settings::Settings;
