//! The executor's way to its models: connections to one port of loopback that are none, on their way to the relay.

use std::os::fd::OwnedFd;
use std::time::Duration;

use jct_socket_proxy::{Config, Limits, Proxy, send, start};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::link::Sender;
use crate::work::Work;
use jct_domain::executor::Executor;
use jct_domain::model::{PORT, USED_UP};
use jct_untrusted::Failure;

/// How long a program that was told that its budget is used up may take to end by itself: those that were tried take seconds.
const GRACE: Duration = Duration::from_secs(10);

/// The way, while this is kept.
#[derive(Debug)]
pub struct Way {
    /// What answers it.
    pub proxy: Proxy,
    /// What the executor hands its listener over by: its standard input until it is the program.
    pub channel: OwnedFd,
    /// What the relay has to say.
    pub word: Word,
}

/// Waits for the relay's word, while this is kept.
#[derive(Debug)]
pub struct Word {
    /// A budget of models is used up, and the executor has had time to end.
    pub used_up: CancellationToken,
    _waiting: AbortOnDropHandle<()>,
}

impl Word {
    fn of(mut relay: UnixStream) -> Self {
        let used_up = CancellationToken::new();
        let told = used_up.clone();
        let waiting = tokio::spawn(async move {
            if matches!(relay.read_u8().await, Ok(USED_UP)) {
                tokio::time::sleep(GRACE).await;
                told.cancel();
            }
        });
        Self { used_up, _waiting: AbortOnDropHandle::new(waiting) }
    }
}

/// Opens it, before the executor is there: the thread that answers it is one of the supervisor's, which it can't reach.
///
/// # Errors
/// If the relay does not appear within `patience`.
pub async fn open(work: &Work, patience: Duration) -> Result<Way, Failure> {
    let failed = |error: std::io::Error| Failure::worker("reach the relay of models", &error);
    let relay = Sender::connect(&work.model_socket(), patience).await.map_err(failed)?;
    // Without waiting: a relay that takes nothing is no reason to answer the executor no more.
    let relay = relay.into_channel().map_err(failed)?;
    let word = relay.try_clone().and_then(UnixStream::from_std).map_err(failed)?;
    let config = Config { port: PORT, limits: Limits::default() };
    let accept = move |connection| if send(&connection, &relay).is_ok() { Ok(()) } else { Err(connection) };
    let (proxy, channel) = start(config, accept).map_err(failed)?;
    Ok(Way { proxy, channel, word: Word::of(word) })
}

/// The variables that tell of it.
pub fn variables(executor: &Executor) -> Vec<(&'static str, String)> {
    let Some(model) = &executor.model else { return Vec::new() };
    vec![("JCT_MODEL", model.aliases.first().cloned().unwrap_or_default()), ("JCT_MODEL_URL", url())]
}

/// A text of the executor's configuration with `{model}` and `{model_url}` replaced; as it is for one that has no model.
pub fn filled_in(executor: &Executor, text: &str) -> String {
    match &executor.model {
        None => text.into(),
        Some(model) => {
            let alias = model.aliases.first().map(String::as_str).unwrap_or_default();
            text.replace("{model_url}", &url()).replace("{model}", alias)
        }
    }
}

fn url() -> String {
    format!("http://127.0.0.1:{PORT}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jct_domain::model::ExecutorModel;
    use jct_domain::task::Operation;

    #[test]
    fn an_executor_with_a_model_is_told_which_and_where_and_another_nothing() {
        let mut executor = Executor::of_command("agent", Operation::Ops, vec!["agent".into()]);
        let text = "--model={model} {model_url}/v1";
        assert_eq!((variables(&executor), filled_in(&executor, text).as_str()), (Vec::new(), text));
        let aliases = vec!["small".into(), "large".into()];
        executor.model = Some(ExecutorModel { aliases, ..ExecutorModel::default() });
        assert_eq!(filled_in(&executor, text), "--model=small http://127.0.0.1:8089/v1");
        let expected = [("JCT_MODEL", "small".to_owned()), ("JCT_MODEL_URL", "http://127.0.0.1:8089".to_owned())];
        assert_eq!(variables(&executor), expected);
    }
}
