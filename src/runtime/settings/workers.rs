//! Worker pods: image, resources, and where they run.

use clap::Args;

use super::{InvalidSetting, invalid};
use crate::domain::executor::is_quantity;

/// Settings of worker pods.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    /// Namespace of worker Jobs and of the trace claim; the operator's own when empty
    #[arg(long, env = "JCT_WORKER_NAMESPACE", default_value = "")]
    pub worker_namespace: String,

    /// Image of worker pods
    #[arg(long, env = "JCT_WORKER_IMAGE", default_value = "jct-worker:latest")]
    pub worker_image: String,

    /// When to pull it: Always, IfNotPresent or Never
    #[arg(long, env = "JCT_WORKER_IMAGE_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    pub worker_image_pull_policy: String,

    /// User and group id of worker pods; the operator must run under the same to prepare their trace folders
    #[arg(long, env = "JCT_WORKER_UID", default_value_t = 65532, value_parser = clap::value_parser!(i64).range(1..=4_294_967_294))]
    pub worker_uid: i64,

    /// CPU that a worker requests
    #[arg(long, env = "JCT_WORKER_CPU_REQUEST", default_value = "100m")]
    pub worker_cpu_request: String,

    /// CPU that a worker may use
    #[arg(long, env = "JCT_WORKER_CPU_LIMIT", default_value = "1")]
    pub worker_cpu_limit: String,

    /// Memory that a worker requests
    #[arg(long, env = "JCT_WORKER_MEMORY_REQUEST", default_value = "128Mi")]
    pub worker_memory_request: String,

    /// Memory that a worker may use
    #[arg(long, env = "JCT_WORKER_MEMORY_LIMIT", default_value = "1Gi")]
    pub worker_memory_limit: String,

    /// Size limit of a worker's scratch volume, which holds the source
    #[arg(long, env = "JCT_WORKER_SCRATCH_LIMIT", default_value = "8Gi")]
    pub worker_scratch_limit: String,

    /// RuntimeClass of worker pods, such as gvisor; the cluster's default when empty
    #[arg(long, env = "JCT_WORKER_RUNTIME_CLASS", default_value = "")]
    pub worker_runtime_class: String,

    /// Set hostUsers of worker pods; false gives them a user namespace where the cluster can
    #[arg(long, env = "JCT_WORKER_HOST_USERS", value_parser = clap::builder::BoolishValueParser::new())]
    pub worker_host_users: Option<bool>,

    /// Labels that a worker's node must have, as a JSON object
    #[arg(long, env = "JCT_WORKER_NODE_SELECTOR", default_value = "{}")]
    pub worker_node_selector: String,

    /// Taints of nodes that workers bear, as JSON, such as [{"key":"work","operator":"Exists"}]
    #[arg(long, env = "JCT_WORKER_TOLERATIONS", default_value = "[]")]
    pub worker_tolerations: String,

    /// Affinity of worker pods, as JSON
    #[arg(long, env = "JCT_WORKER_AFFINITY", default_value = "{}")]
    pub worker_affinity: String,

    /// PriorityClass of worker pods; the cluster's default when empty
    #[arg(long, env = "JCT_WORKER_PRIORITY_CLASS", default_value = "")]
    pub worker_priority_class: String,

    /// Further labels on Jobs and their pods, as a JSON object
    #[arg(long, env = "JCT_WORKER_LABELS", default_value = "{}")]
    pub worker_labels: String,

    /// Time beyond the budget that a worker has to fetch the source and to seal its trace, in seconds
    #[arg(long, env = "JCT_WORKER_GRACE_SECONDS", default_value_t = 660, value_parser = clap::value_parser!(u32).range(30..=86_400))]
    pub worker_grace_seconds: u32,
}

impl WorkerArgs {
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        for (setting, value) in [
            ("--worker-cpu-request (JCT_WORKER_CPU_REQUEST)", &self.worker_cpu_request),
            ("--worker-cpu-limit (JCT_WORKER_CPU_LIMIT)", &self.worker_cpu_limit),
            ("--worker-memory-request (JCT_WORKER_MEMORY_REQUEST)", &self.worker_memory_request),
            ("--worker-memory-limit (JCT_WORKER_MEMORY_LIMIT)", &self.worker_memory_limit),
            ("--worker-scratch-limit (JCT_WORKER_SCRATCH_LIMIT)", &self.worker_scratch_limit),
        ] {
            if !is_quantity(value) {
                let message = format!("must be a quantity such as 500m, 1, 128Mi or 1Gi, is {value:?}");
                return Err(invalid(setting, message));
            }
        }
        self.placement().map(drop)
    }
}
