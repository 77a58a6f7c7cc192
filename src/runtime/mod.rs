//! What puts the parts together into processes: settings, logs, metrics, the Lease, shutdown.

mod controller;
mod denials;
mod executors;
pub mod lease;
pub mod metrics;
pub mod operator;
pub mod settings;
pub mod telemetry;

pub use denials::{Denials, Waiting};
pub use executors::ExecutorsFile;
pub use metrics::Metrics;
pub use settings::Settings;
