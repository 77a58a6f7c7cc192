//! The configuration of executors: read at the start, and again when the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::domain::executor::{Executors, MAX_CONFIGURATION_BYTES};

/// How often the file is looked at. The kubelet itself takes up to a minute to bring a changed ConfigMap.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A file of executors that is followed.
#[derive(Debug)]
pub struct ExecutorsFile {
    path: PathBuf,
    text: String,
    current: watch::Sender<Arc<Executors>>,
}

impl ExecutorsFile {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read or used: the error names the field.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let text = read(path)?;
        let executors = parse(path, &text)?;
        Ok(Self { path: path.into(), text, current: watch::Sender::new(Arc::new(executors)) })
    }

    /// What it says, now and later.
    pub fn executors(&self) -> watch::Receiver<Arc<Executors>> {
        self.current.subscribe()
    }

    /// Follows the file until `stop`. What cannot be used is told and counted, and what was read before stays.
    pub async fn follow(mut self, metrics: Metrics, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_some() {
            // A file that is missing for a moment is being replaced.
            let Ok(text) = read(&self.path) else { continue };
            if text == self.text {
                continue;
            }
            match parse(&self.path, &text) {
                Ok(executors) => {
                    tracing::info!(path = %self.path.display(), "executors are configured anew");
                    self.current.send_replace(Arc::new(executors));
                    metrics.executors_valid.set(1);
                }
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the changed executors cannot be used: the former ones stay"
                    );
                    metrics.executors_valid.set(0);
                }
            }
            self.text = text;
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = || format!("--executors-file (JCT_EXECUTORS_FILE): {}", path.display());
    let bytes = std::fs::metadata(path).with_context(shown)?.len();
    if bytes > MAX_CONFIGURATION_BYTES as u64 {
        return Err(anyhow!("{}: must not be larger than {MAX_CONFIGURATION_BYTES} bytes", shown()));
    }
    std::fs::read_to_string(path).with_context(shown)
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Executors> {
    Executors::read(text).with_context(|| format!("--executors-file (JCT_EXECUTORS_FILE): {}", path.display()))
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
        assert!(format!("{:#}", ExecutorsFile::open(&path).unwrap_err()).contains("JCT_EXECUTORS_FILE"));
        std::fs::write(&path, "").unwrap();
        let file = ExecutorsFile::open(&path).unwrap();
        let mut executors = file.executors();
        let stop = CancellationToken::new();
        let metrics = Metrics::default();
        let following = tokio::spawn(file.follow(metrics.clone(), stop.clone()));
        let has_agent = |executors: &Executors| executors.resolve("team", Operation::Ops, Some("agent")).is_ok();
        assert!(!has_agent(&executors.borrow_and_update().clone()));

        std::fs::write(&path, AGENT).unwrap();
        executors.changed().await.unwrap();
        assert!(has_agent(&executors.borrow_and_update().clone()));

        std::fs::write(&path, "executors: [{name: Agent}]").unwrap();
        tokio::time::sleep(LOOK_AGAIN * 3).await;
        assert!(!executors.has_changed().unwrap());
        assert_eq!(metrics.executors_valid.get(), 0);
        stop.cancel();
        following.await.unwrap();
    }
}
