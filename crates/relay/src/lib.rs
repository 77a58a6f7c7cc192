//! What passes on what the executor asks models, beside it: in a pod the container `model`, in `jct run` a part of that process. It
//! has neither the trace nor the workspace, and no key.
//!
//! The supervisor connects to a listener, which the relay closes before the executor begins; each connection of the executor comes
//! over that link as a descriptor. When the link ends, the executor has ended: then the broker is asked for the record of the
//! attempt, which the recorder takes from the folder that both share.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jct_domain::model::{DOOR, GO, RECORD, TROUBLE, USED_UP};
use jct_model_gateway::connect::Connect;
use jct_model_gateway::{Relay, relay};
use jct_socket_proxy::Connection;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};

/// How long the supervisor may take to appear.
const PATIENCE: Duration = Duration::from_secs(300);
/// Of what cannot be had, so much is told, in characters.
const MAX_REASON_CHARS: usize = 500;

/// Relays until the executor has ended, and leaves the record of what it asked in the work folder, or why there is none.
///
/// # Errors
/// If nothing can be left there.
pub async fn attend<C: Connect + Clone + Send + Sync + 'static>(
    relay: Result<Relay<C>, String>,
    work: &Path,
) -> io::Result<()> {
    match relay_all(relay, work).await {
        Ok(record) => keep(&work.join(RECORD), &record),
        Err(why) => {
            eprintln!("jct-relay: there is no record of models: {why}");
            let reason: String = why.chars().take(MAX_REASON_CHARS).collect();
            keep(&work.join(TROUBLE), reason.as_bytes())
        }
    }
}

async fn relay_all<C: Connect + Clone + Send + Sync + 'static>(
    relay: Result<Relay<C>, String>,
    work: &Path,
) -> Result<Vec<u8>, String> {
    let relay = relay?;
    let path = work.join(DOOR);
    let said = |error: io::Error| format!("the listener for the supervisor: {error}");
    // Left by a container that was started twice.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(said(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(said)?;
    let Ok(admitted) = tokio::time::timeout(PATIENCE, admit(listener, &path)).await else {
        return Err("the supervisor did not come".into());
    };
    // Whoever knocks and goes away again wants nothing but the end.
    if let Ok(channel) = admitted {
        serve(&relay, channel).await;
    }
    relay.record().await.map(|record| record.to_vec()).map_err(|refusal| refusal.to_string())
}

/// Waits for the supervisor, closes the listener, and says that the executor may begin.
async fn admit(listener: UnixListener, path: &Path) -> io::Result<UnixStream> {
    let (mut supervisor, _) = listener.accept().await?;
    fs::remove_file(path)?;
    supervisor.write_u8(GO).await?;
    let channel = supervisor.into_std()?;
    channel.set_nonblocking(false)?;
    Ok(channel)
}

/// Serves the connections that come over the channel until its end.
async fn serve<C: Connect + Clone + Send + Sync + 'static>(relay: &Relay<C>, channel: UnixStream) {
    let (connections, mut waiting) = mpsc::channel(1);
    let mut word = channel.try_clone().ok();
    std::thread::spawn(move || {
        while let Ok(Some(connection)) = jct_socket_proxy::receive(&channel) {
            if connections.blocking_send(connection).is_err() {
                return;
            }
        }
    });
    let free = Arc::new(Semaphore::new(relay::Limits::default().connections));
    loop {
        let connection = tokio::select! {
            connection = waiting.recv() => connection,
            () = relay.used_up(), if word.is_some() => {
                // A byte on a socket that has room: it waits for nobody. Said once.
                let _ = word.take().map(|mut word| word.write_all(&[USED_UP]));
                continue;
            }
        };
        let Some(connection) = connection else { return };
        let Ok(place) = free.clone().try_acquire_owned() else { continue };
        let relay = relay.clone();
        tokio::spawn(async move {
            // One that cannot be served is closed.
            let _ = serve_one(&relay, connection).await;
            drop(place);
        });
    }
}

async fn serve_one<C>(relay: &Relay<C>, connection: Connection) -> io::Result<()>
where
    C: Connect + Clone + Send + Sync + 'static,
{
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
