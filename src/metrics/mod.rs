//! How the parts of the operator count: each declares its metrics with `metrics!`, registers them once,
//! and holds them. The page is OpenMetrics text; labels come from enumerations, never from messages.

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Declares the metrics of a part: each by its field, its type, its name on the page without `jct_` and unit, and what it
/// counts; where it does not begin at zero, what it is at first.
macro_rules! metrics {
    ($(#[$doc:meta])* pub struct $part:ident {
        $($field:ident: $type:ty = $name:literal $(in $unit:ident)?, $help:literal $(, $initial:expr)?;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $part {
            $(#[doc = $help] pub $field: $type,)*
        }

        impl $part {
            /// Registers all of them.
            pub fn register(registry: &mut prometheus_client::registry::Registry) -> Self {
                $(let $field: $type = $crate::metrics::metrics!(@initial $($initial)?);)*
                $($crate::metrics::metrics!(@register registry, $field, $name, $help $(, $unit)?);)*
                Self { $($field),* }
            }
        }

        impl Default for $part {
            /// Those of nobody's page.
            fn default() -> Self {
                Self::register(&mut prometheus_client::registry::Registry::default())
            }
        }
    };
    (@initial) => { Default::default() };
    (@initial $initial:expr) => { $initial };
    (@register $registry:ident, $field:ident, $name:literal, $help:literal) => {
        $registry.register($name, $help, $field.clone())
    };
    (@register $registry:ident, $field:ident, $name:literal, $help:literal, $unit:ident) => {
        $registry.register_with_unit($name, $help, prometheus_client::registry::Unit::$unit, $field.clone())
    };
}
pub(crate) use metrics;

/// A gauge that is 1 until somebody says otherwise.
pub fn one() -> Gauge {
    let gauge = Gauge::default();
    gauge.set(1);
    gauge
}

/// Where parts register their metrics.
pub fn registry() -> Registry {
    Registry::with_prefix("jct")
}

/// What a scraper gets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Page(Arc<Registry>);

impl Page {
    /// Of all that was registered.
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(registry))
    }

    /// All of it, as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &self.0);
        page
    }
}
