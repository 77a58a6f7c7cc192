//! What puts the parts together into processes: settings, logs, metrics, the Lease, shutdown.

mod clock;
mod config_file;
mod controller;
mod deletions;
mod denials;
mod events;
pub mod lease;
mod limits;
pub mod metrics;
pub mod operator;
pub mod settings;
pub mod telemetry;

pub use clock::Clock;
pub use config_file::ConfigFile;
pub use deletions::{Deleter, Deletions};
pub use denials::{Denials, Waiting};
pub use events::{Announcement, Announcer, Urgency};
pub use limits::{LostTasks, NamespaceLimits, TooMany};
pub use metrics::Metrics;
pub use settings::Settings;
