//! `jct worker model`: passes on what the executor asks models, with the pod's token and no other credential. It has neither the
//! trace nor the workspace, and no key.
//!
//! The supervisor comes in by a door, which is closed behind it before the executor begins; each connection of the executor comes
//! over that link as a descriptor. When the link ends, the executor has ended: then the broker is asked for the record of the
//! attempt, which the recorder takes from the folder that both share.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jct_model_gateway::connect::{Https, https, roots_of};
use jct_model_gateway::{Relay, relay};
use jct_socket_proxy::Connection;
use tokio::sync::{Semaphore, mpsc};

use crate::ModelArgs;
use crate::link::Door;
use crate::trace::remove;
use crate::work::Work;

/// How long the supervisor may take to appear.
const PATIENCE: Duration = Duration::from_secs(300);
/// Of what cannot be had, so much is told.
const MAX_REASON_BYTES: usize = 500;

/// Relays until the executor has ended. Its exit code says nothing: how the attempt went, the recorder tells.
pub async fn run(args: &ModelArgs) -> ExitCode {
    let work = Work::new(&args.of.work_dir, None);
    let told = match relay_all(args, &work).await {
        Ok(record) => keep(&work.model_record(), &record),
        Err(why) => {
            tracing::error!(why, trace_id = %args.of.trace_id, "there is no record of models");
            let reason: String = why.chars().take(MAX_REASON_BYTES).collect();
            keep(&work.model_trouble(), reason.as_bytes())
        }
    };
    if let Err(error) = told {
        tracing::error!(%error, "the recorder cannot be told of models");
    }
    ExitCode::SUCCESS
}

async fn relay_all(args: &ModelArgs, work: &Work) -> Result<Vec<u8>, String> {
    let relay = relay(args)?;
    let said = |error: io::Error| format!("the door for the supervisor: {error}");
    remove(&work.model_door()).map_err(said)?;
    let door = Door::open(&work.model_door()).map_err(said)?;
    let begun = async { door.admit().await?.into_channel().await };
    let Ok(admitted) = tokio::time::timeout(PATIENCE, begun).await else {
        return Err("the supervisor did not come".into());
    };
    // Whoever knocks and goes away again wants nothing but the end.
    if let Ok(channel) = admitted {
        serve(&relay, channel).await;
    }
    relay.record().await.map(|record| record.to_vec()).map_err(|refusal| refusal.to_string())
}

fn relay(args: &ModelArgs) -> Result<Relay<Https>, String> {
    let roots = roots_of(&args.broker_authorities).map_err(|why| format!("--broker-authorities: {why}"))?;
    let connector = https(roots).map_err(|error| error.to_string())?;
    let broker: http::Uri = args.broker.parse().map_err(|error: http::uri::InvalidUri| format!("--broker: {error}"))?;
    let file = args.token_file.clone();
    let token = Arc::new(move || fs::read_to_string(&file));
    Ok(Relay::new(broker, connector, token, relay::Limits::default()))
}

/// Serves the connections that come over the channel until its end.
async fn serve(relay: &Relay<Https>, channel: UnixStream) {
    let (connections, mut waiting) = mpsc::channel(1);
    std::thread::spawn(move || {
        while let Ok(Some(connection)) = jct_socket_proxy::receive(&channel) {
            if connections.blocking_send(connection).is_err() {
                return;
            }
        }
    });
    let free = Arc::new(Semaphore::new(relay::Limits::default().connections));
    while let Some(connection) = waiting.recv().await {
        let Ok(place) = free.clone().try_acquire_owned() else { continue };
        let relay = relay.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_one(&relay, connection).await {
                tracing::debug!(%error, "a connection of the executor cannot be served");
            }
            drop(place);
        });
    }
}

async fn serve_one(relay: &Relay<Https>, connection: Connection) -> io::Result<()> {
    let (stream, lease) = connection.into_parts();
    stream.set_nonblocking(true)?;
    // That a program breaks off is its own business.
    let _ = relay.serve(tokio::net::UnixStream::from_std(stream)?).await;
    drop(lease);
    Ok(())
}

/// Writes a file that is whole when it is there.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}
