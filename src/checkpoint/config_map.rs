//! Checkpoints in a ConfigMap: the newest ones, one signed envelope a line.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::file::Found;
use crate::signing::PublicKey;

/// The entry with the lines.
const ENTRY: &str = "checkpoints.jsonl";
/// How many of them are kept.
const MOST: usize = 50;
/// How often a write that somebody else came before is tried again.
const TRIES: usize = 5;

/// The ConfigMap.
#[derive(Clone)]
pub struct CheckpointMap {
    maps: Api<ConfigMap>,
    name: String,
    namespace: String,
}

impl CheckpointMap {
    /// The one of this name, which need not be there yet.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { maps: Api::namespaced(client, namespace), name: name.into(), namespace: namespace.into() }
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("ConfigMap {}/{}", self.namespace, self.name)
    }

    /// The checkpoints in it; none if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read(&self, keys: &[PublicKey]) -> kube::Result<Found> {
        let map = self.maps.get_opt(&self.name).await?;
        let mut found = Found::default();
        lines(map.as_ref()).lines().for_each(|line| found.take(line.as_bytes(), keys));
        Ok(found)
    }

    /// Adds a line, and drops the oldest ones beyond `MOST`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn append(&self, line: &str) -> kube::Result<()> {
        let mut tries = TRIES;
        loop {
            let mut map = match self.maps.get_opt(&self.name).await? {
                Some(map) => map,
                None => self.create().await?,
            };
            let text = added(lines(Some(&map)), line);
            map.data.get_or_insert_with(BTreeMap::new).insert(ENTRY.into(), text);
            tries -= 1;
            // With its resourceVersion: refused if somebody wrote since it was read.
            match self.maps.replace(&self.name, &PostParams::default(), &map).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if tries > 0 && (status.code == 409 || status.code == 404) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes it, empty. By apply, as the right to create can be bound to its name then.
    async fn create(&self) -> kube::Result<ConfigMap> {
        let empty = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": {"app.kubernetes.io/part-of": "jct", "app.kubernetes.io/managed-by": "jct"},
            },
        });
        self.maps.patch(&self.name, &PatchParams::apply("jct"), &Patch::Apply(empty)).await
    }
}

fn lines(map: Option<&ConfigMap>) -> &str {
    map.and_then(|map| map.data.as_ref()).and_then(|data| data.get(ENTRY)).map(String::as_str).unwrap_or_default()
}

fn added(lines: &str, line: &str) -> String {
    let all: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).chain([line]).collect();
    let kept = &all[all.len().saturating_sub(MOST)..];
    kept.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay() {
        let mut text = String::new();
        for n in 0..MOST + 20 {
            text = added(&text, &format!("line {n}"));
        }
        let kept: Vec<&str> = text.lines().collect();
        assert_eq!((kept.len(), kept[0], kept[MOST - 1]), (MOST, "line 20", "line 69"));
    }
}
