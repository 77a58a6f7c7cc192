//! `jct-relay`: passes on what the executor asks models, with the pod's token and no other credential. A program of its own: what it
//! is made of is not to be in the containers that run a stranger's code. What it does, the library says.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use jct_domain::model::BODIES;
use jct_model_gateway::connect::{Https, https, roots_of};
use jct_model_gateway::keep::Keep;
use jct_model_gateway::{Relay, relay};

/// The relay of JCT; started by Kubernetes, not by people
#[derive(Parser)]
#[command(name = "jct-relay", version)]
struct Args {
    /// Scratch folder that the containers share
    #[arg(long, value_name = "DIR")]
    work_dir: PathBuf,
    /// Where the broker is
    #[arg(long, value_name = "URL")]
    broker: String,
    /// Whom its certificate is of, in PEM
    #[arg(long, value_name = "PEM")]
    broker_authorities: String,
    /// The token that says whose this is: read for each request, for it is renewed
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Keep the bodies of requests and answers, for the recorder
    #[arg(long)]
    bodies: bool,
}

/// Relays until the executor has ended. The exit code says nothing of the attempt: how that went, the recorder tells.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = jct_relay::attend(relay(&args), &args.work_dir).await {
        eprintln!("jct-relay: the recorder cannot be told of models: {error}");
    }
    ExitCode::SUCCESS
}

fn relay(args: &Args) -> Result<Relay<Https>, String> {
    let roots = roots_of(&args.broker_authorities).map_err(|why| format!("--broker-authorities: {why}"))?;
    let connector = https(roots).map_err(|error| error.to_string())?;
    let broker: http::Uri = args.broker.parse().map_err(|error: http::uri::InvalidUri| format!("--broker: {error}"))?;
    let file = args.token_file.clone();
    let token = Arc::new(move || fs::read_to_string(&file));
    let relay = Relay::new(broker, connector, token, relay::Limits::default());
    let keep = args.bodies.then(|| Keep::new(&args.work_dir.join(BODIES))).transpose();
    Ok(relay.keeping(keep.map_err(|error| format!("--bodies: {error}"))?))
}
