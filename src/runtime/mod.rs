//! What puts the parts together into processes: settings, logs, metrics, the Lease, shutdown.

mod clock;
mod config_file;
mod controller;
mod deletions;
mod denials;
pub mod lease;
pub mod metrics;
mod open_tasks;
pub mod operator;
pub mod settings;
pub mod telemetry;

pub use clock::Clock;
pub use config_file::ConfigFile;
pub use deletions::{Deleter, Deletions};
pub use denials::{Denials, Waiting};
pub use metrics::Metrics;
pub use open_tasks::OpenTasks;
pub use settings::Settings;
