//! A configuration of its own file: read at the start, and again when the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::configuration::InvalidConfiguration;
use crate::domain::executor::{Executors, MAX_CONFIGURATION_BYTES};
use crate::domain::forge::{Forges, MAX_FORGES_BYTES};
use crate::domain::model::{MAX_MODELS_BYTES, Models};
use crate::domain::notification::{MAX_NOTIFICATIONS_BYTES, Notifications};
use crate::domain::retention::{MAX_RETENTION_BYTES, Retention};

/// How often the file is looked at. The kubelet itself takes up to a minute to bring a changed ConfigMap.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What can be configured by a file of its own.
pub trait Configuration: Sized + Send + Sync + 'static {
    /// In log lines.
    const NAME: &'static str;
    /// Flag and variable of the file.
    const SETTING: &'static str;
    /// The greatest file that is read, in bytes.
    const MAX_BYTES: usize;

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Names the field that is wrong.
    fn parse(text: &str) -> Result<Self, InvalidConfiguration>;
}

impl Configuration for Executors {
    const NAME: &'static str = "executors";
    const SETTING: &'static str = "--executors-file (JCT_EXECUTORS_FILE)";
    const MAX_BYTES: usize = MAX_CONFIGURATION_BYTES;

    fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        Self::read(text)
    }
}

impl Configuration for Retention {
    const NAME: &'static str = "retention";
    const SETTING: &'static str = "--retention-file (JCT_RETENTION_FILE)";
    const MAX_BYTES: usize = MAX_RETENTION_BYTES;

    fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        Self::read(text)
    }
}

impl Configuration for Models {
    const NAME: &'static str = "models";
    const SETTING: &'static str = "--models-file (JCT_MODELS_FILE)";
    const MAX_BYTES: usize = MAX_MODELS_BYTES;

    fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        Self::read(text)
    }
}

impl Configuration for Forges {
    const NAME: &'static str = "forges";
    const SETTING: &'static str = "--forges-file (JCT_FORGES_FILE)";
    const MAX_BYTES: usize = MAX_FORGES_BYTES;

    fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        Self::read(text)
    }
}

impl Configuration for Notifications {
    const NAME: &'static str = "notifications";
    const SETTING: &'static str = "--notifications-file (JCT_NOTIFICATIONS_FILE)";
    const MAX_BYTES: usize = MAX_NOTIFICATIONS_BYTES;

    fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        Self::read(text)
    }
}

/// A file of configuration that is followed.
#[derive(Debug)]
pub struct ConfigFile<T> {
    path: PathBuf,
    text: String,
    current: watch::Sender<Arc<T>>,
}

impl<T: Configuration> ConfigFile<T> {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read or used: the error names the field.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let text = read::<T>(path)?;
        let configuration: T = parse(path, &text)?;
        Ok(Self { path: path.into(), text, current: watch::Sender::new(Arc::new(configuration)) })
    }

    /// What it says, now and later.
    pub fn current(&self) -> watch::Receiver<Arc<T>> {
        self.current.subscribe()
    }

    /// Follows the file until `stop`. What cannot be used is told and counted in `valid`, and what was read before stays.
    pub async fn follow(mut self, valid: Gauge, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_some() {
            // A file that is missing for a moment is being replaced.
            let Ok(text) = read::<T>(&self.path) else { continue };
            if text == self.text {
                continue;
            }
            match parse(&self.path, &text) {
                Ok(configuration) => {
                    tracing::info!(path = %self.path.display(), "configured anew: {}", T::NAME);
                    self.current.send_replace(Arc::new(configuration));
                    valid.set(1);
                }
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the changed configuration of {} cannot be used: the former one stays",
                        T::NAME
                    );
                    valid.set(0);
                }
            }
            self.text = text;
        }
    }
}

fn read<T: Configuration>(path: &Path) -> anyhow::Result<String> {
    let shown = || format!("{}: {}", T::SETTING, path.display());
    let bytes = std::fs::metadata(path).with_context(shown)?.len();
    if bytes > T::MAX_BYTES as u64 {
        return Err(anyhow!("{}: must not be larger than {} bytes", shown(), T::MAX_BYTES));
    }
    std::fs::read_to_string(path).with_context(shown)
}

fn parse<T: Configuration>(path: &Path, text: &str) -> anyhow::Result<T> {
    T::parse(text).map_err(|error| anyhow!("{}: {}: {error}", T::SETTING, path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::Operation;

    const AGENT: &str = "executors: [{name: agent, operations: [ops], image: a, command: [a]}]";

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("executors.yaml");
        let missing = ConfigFile::<Executors>::open(&path).unwrap_err();
        assert!(format!("{missing:#}").contains("JCT_EXECUTORS_FILE"));
        std::fs::write(&path, "").unwrap();
        let file = ConfigFile::<Executors>::open(&path).unwrap();
        let mut executors = file.current();
        let stop = CancellationToken::new();
        let valid = Gauge::default();
        valid.set(1);
        let following = tokio::spawn(file.follow(valid.clone(), stop.clone()));
        let has_agent = |executors: &Executors| executors.resolve("team", Operation::Ops, Some("agent")).is_ok();
        assert!(!has_agent(&executors.borrow_and_update().clone()));

        std::fs::write(&path, AGENT).unwrap();
        executors.changed().await.unwrap();
        assert!(has_agent(&executors.borrow_and_update().clone()));
        assert_eq!(valid.get(), 1);

        std::fs::write(&path, "executors: [{name: Agent}]").unwrap();
        tokio::time::sleep(LOOK_AGAIN * 3).await;
        assert!(!executors.has_changed().unwrap());
        assert_eq!(valid.get(), 0);
        stop.cancel();
        following.await.unwrap();
    }

    #[test]
    fn a_mistake_in_a_file_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("retention.yaml");
        std::fs::write(&path, "traces: [{outcome: any}]").unwrap();
        let error = format!("{:#}", ConfigFile::<Retention>::open(&path).unwrap_err());
        assert!(error.contains("JCT_RETENTION_FILE") && error.contains("traces[0]: must have maxAge"), "{error}");
    }
}
