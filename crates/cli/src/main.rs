//! `kubectl jct`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // rustls with ring alone has to be told which provider to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let code = jct_cli::run(jct_cli::Cli::parse());
    ExitCode::from(code)
}
