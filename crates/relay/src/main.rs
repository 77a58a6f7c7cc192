//! `jct-relay`: passes on what the executor asks models, with the pod's token and no other credential. It has neither the trace nor
//! the workspace, and no key. A program of its own: what it is made of is not to be in the containers that run a stranger's code.
//!
//! The supervisor comes in by a door, which is closed behind it before the executor begins; each connection of the executor comes
//! over that link as a descriptor. When the link ends, the executor has ended: then the broker is asked for the record of the
//! attempt, which the recorder takes from the folder that both share.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use jct_domain::model::{DOOR, GO, RECORD, TROUBLE};
use jct_model_gateway::connect::{Https, https, roots_of};
use jct_model_gateway::{Relay, relay};
use jct_socket_proxy::Connection;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

/// How long the supervisor may take to appear.
const PATIENCE: Duration = Duration::from_secs(300);
/// Of what cannot be had, so much is told, in characters.
const MAX_REASON_CHARS: usize = 500;

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
}

/// Relays until the executor has ended. The exit code says nothing of the attempt: how that went, the recorder tells.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let reported = match relay_all(&args).await {
        Ok(record) => keep(&args.work_dir.join(RECORD), &record),
        Err(why) => {
            eprintln!("jct-relay: there is no record of models: {why}");
            let reason: String = why.chars().take(MAX_REASON_CHARS).collect();
            keep(&args.work_dir.join(TROUBLE), reason.as_bytes())
        }
    };
    if let Err(error) = reported {
        eprintln!("jct-relay: the recorder cannot be told of models: {error}");
    }
    ExitCode::SUCCESS
}

async fn relay_all(args: &Args) -> Result<Vec<u8>, String> {
    let relay = relay(args)?;
    let path = args.work_dir.join(DOOR);
    let said = |error: io::Error| format!("the door for the supervisor: {error}");
    // Left by a container that was started twice.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(said(error)),
        Ok(()) | Err(_) => {}
    }
    let door = UnixListener::bind(&path).map_err(said)?;
    let Ok(admitted) = tokio::time::timeout(PATIENCE, admit(door, &path)).await else {
        return Err("the supervisor did not come".into());
    };
    // Whoever knocks and goes away again wants nothing but the end.
    if let Ok(channel) = admitted {
        serve(&relay, channel).await;
    }
    relay.record().await.map(|record| record.to_vec()).map_err(|refusal| refusal.to_string())
}

/// Waits for the supervisor, closes the door behind it, and says that the executor may begin.
async fn admit(door: UnixListener, path: &Path) -> io::Result<UnixStream> {
    let (mut supervisor, _) = door.accept().await?;
    fs::remove_file(path)?;
    supervisor.write_u8(GO).await?;
    let channel = supervisor.into_std()?;
    channel.set_nonblocking(false)?;
    Ok(channel)
}

fn relay(args: &Args) -> Result<Relay<Https>, String> {
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
            // One that cannot be served is closed.
            let _ = serve_one(&relay, connection).await;
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
