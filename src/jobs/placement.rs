//! Where worker pods run and what is on them, by the operator's settings.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodSpec, Toleration};

/// What the operator's own labels begin with: no other ones may.
pub const RESERVED_LABELS: [&str; 5] =
    ["jct.dev/", "app.kubernetes.io/", "batch.kubernetes.io/", "job-name", "controller-uid"];

/// As in a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    /// Rules for nodes, and for other pods on them.
    pub affinity: Option<Affinity>,
    pub priority_class: Option<String>,
    /// Labels besides ours, on Jobs and pods.
    pub labels: BTreeMap<String, String>,
}

impl Placement {
    /// Puts `pod` there.
    pub fn apply(&self, pod: PodSpec) -> PodSpec {
        PodSpec {
            node_selector: (!self.node_selector.is_empty()).then(|| self.node_selector.clone()),
            tolerations: (!self.tolerations.is_empty()).then(|| self.tolerations.clone()),
            affinity: self.affinity.clone(),
            priority_class_name: self.priority_class.clone(),
            ..pod
        }
    }
}

/// How the step that fetches the source gets to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WayOut {
    pub proxy: Option<String>,
    /// A ConfigMap of the worker namespace, and the key in it, with the authorities that vouch for the source's server.
    pub authorities: Option<(String, String)>,
}
