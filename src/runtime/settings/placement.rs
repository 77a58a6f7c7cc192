//! The settings about worker pods that are JSON, as in a pod.

use k8s_openapi::api::core::v1::Affinity;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{InvalidSetting, SourceArgs, WorkerArgs, invalid};
use crate::jobs::placement::{Placement, RESERVED_LABELS, WayOut};

impl WorkerArgs {
    /// Where pods run, and what is on them.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the first bad one.
    pub fn placement(&self) -> Result<Placement, InvalidSetting> {
        let labels_setting = "--worker-labels (JCT_WORKER_LABELS)";
        let placement = Placement {
            node_selector: json("--worker-node-selector (JCT_WORKER_NODE_SELECTOR)", &self.worker_node_selector)?,
            tolerations: json("--worker-tolerations (JCT_WORKER_TOLERATIONS)", &self.worker_tolerations)?,
            affinity: Some(json("--worker-affinity (JCT_WORKER_AFFINITY)", &self.worker_affinity)?)
                .filter(|affinity| *affinity != Affinity::default()),
            priority_class: Some(self.worker_priority_class.clone()).filter(|name| !name.is_empty()),
            labels: json(labels_setting, &self.worker_labels)?,
        };
        let is_ours = |name: &&String| RESERVED_LABELS.iter().any(|ours| name.starts_with(ours));
        if let Some(name) = placement.labels.keys().find(is_ours) {
            return Err(invalid(labels_setting, format!("{name:?} is a label that JCT or Kubernetes sets itself")));
        }
        Ok(placement)
    }
}

impl SourceArgs {
    /// How sources are reached.
    ///
    /// # Errors
    /// As for [`WorkerArgs::placement`].
    pub fn way_out(&self) -> Result<WayOut, InvalidSetting> {
        let proxy = self.source_proxy.trim();
        let is_proxy = proxy.split_once("://").is_some_and(|(scheme, rest)| {
            ["http", "https", "socks5", "socks5h"].contains(&scheme)
                && !rest.is_empty()
                && !rest.contains('@')
                && rest.bytes().all(|b| b.is_ascii_graphic())
        });
        if !proxy.is_empty() && !is_proxy {
            return Err(invalid(
                "--source-proxy (JCT_SOURCE_PROXY)",
                "must be the URL of a proxy such as http://proxy.example:3128, without user and password: everybody who may look \
                 at Jobs would see them"
                    .into(),
            ));
        }
        let map = self.source_ca_config_map.trim();
        Ok(WayOut {
            proxy: (!proxy.is_empty()).then(|| proxy.to_owned()),
            authorities: (!map.is_empty()).then(|| (map.to_owned(), self.source_ca_key.clone())),
        })
    }
}

/// A field that is read and not written again is one that Kubernetes does not know: it would be lost without a word.
fn json<T: DeserializeOwned + Serialize>(setting: &'static str, text: &str) -> Result<T, InvalidSetting> {
    let invalid = |message: String| invalid(setting, message);
    let given: Value = serde_json::from_str(text).map_err(|error| invalid(format!("is no JSON: {error}")))?;
    let read: T = serde_json::from_value(given.clone()).map_err(|error| invalid(error.to_string()))?;
    match serde_json::to_value(&read) {
        Ok(back) if back == given => Ok(read),
        back => {
            let back = back.unwrap_or_default();
            Err(invalid(format!("has something that a pod does not: of {given} only {back} is understood")))
        }
    }
}
