//! Logs, to standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::settings::LogFormat;

/// Starts logging. `JCT_LOG` overrides the level, in the form of tracing's directives, such as `info,jct_store=debug`.
pub fn start(format: LogFormat, debug: bool) {
    let default = if debug { "info,jct=debug" } else { "info,kube_runtime=warn" };
    let filter = EnvFilter::try_from_env("JCT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        // Colours are for people who watch: in a file or a Job's log they are noise.
        LogFormat::Text => {
            let colours =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            logs.with_ansi(colours).init();
        }
    }
}
