//! What webhook, controllers and API share within one process: the API server's clock, and what one of them tells another.

mod clock;
mod deletions;
mod denials;
mod events;
mod limits;
mod reviews;

pub use clock::Clock;
pub use deletions::{Deleter, Deletions};
pub use denials::{DenialMetrics, Denials, Waiting};
pub use events::{Announcement, Announcer, Urgency};
pub use limits::{LostTasks, NamespaceLimits, TooMany};
pub use reviews::{AskedReview, NotReviewed, review};
