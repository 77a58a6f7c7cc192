//! The settings of `jct operator`: each by flag and environment variable (contract section 7). The chart sets the
//! variables; `jct operator --help` lists all with their defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::lease::LeaseSettings;
use super::placement::{placement, way_out};
use crate::api::ApiSettings;
use crate::checkpoint::{Every, Sink};
use crate::domain::checkpoint::DEFAULT_CONFIG_MAP;
use crate::domain::executor::is_quantity;
use crate::domain::name::{is_label, is_object_name};
use crate::domain::provenance::DEFAULT_BUILDER_ID;
use crate::domain::task::{MAX_TIME_BUDGET_SECONDS, MIN_TIME_BUDGET_SECONDS};
use crate::jobs::JobSettings;
use crate::policy::Policy;
use crate::serve::ClientCa;
use crate::signing::SecretSettings;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Every setting of `jct operator`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where the record is kept: sqlite:///path/to/file or postgres://user:password@host/database
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:///var/lib/jct/jct.db", hide_env_values = true)]
    pub database_url: String,

    /// Keep a SQLite database on a network file system all the same, where locks may not hold and a crash can damage it
    #[arg(long, env = "JCT_DATABASE_ON_NETWORK", default_value_t = false, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub database_on_network: bool,

    /// Serve the REST API; without it the port has health, version and metrics alone
    #[arg(long, env = "JCT_API", default_value_t = true, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub api: bool,

    /// Port of the HTTP API
    #[arg(long, env = "API_PORT", default_value_t = 8000)]
    pub api_port: u16,

    /// Comma-separated audiences; a caller's Kubernetes token must be meant for one of them
    #[arg(long, env = "JCT_API_AUDIENCE", default_value = "jct")]
    pub api_audience: String,

    /// Namespace of Tasks whose request names none
    #[arg(long, env = "JCT_API_NAMESPACE", default_value = "default")]
    pub api_namespace: String,

    /// How long what Kubernetes said about a token or a right is believed, in seconds; a refusal for a fifth of it
    #[arg(long, env = "JCT_API_AUTH_CACHE_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=300))]
    pub api_auth_cache_seconds: u32,

    /// How long an API request may take, in seconds
    #[arg(long, env = "JCT_API_TIMEOUT_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub api_timeout_seconds: u32,

    /// The greatest body of an API request, in bytes
    #[arg(long, env = "JCT_API_MAX_BODY_BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216))]
    pub api_max_body_bytes: u32,

    /// How many API requests are served at once; one caller may have half of them
    #[arg(long, env = "JCT_API_MAX_REQUESTS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub api_max_requests: u32,

    /// How many followers of Tasks and downloads of traces are served at once; one caller may have a twentieth of them
    #[arg(long, env = "JCT_API_MAX_FOLLOWERS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub api_max_followers: u32,

    /// How long the token of a Session lives, in seconds: 60 to 3600, or 0 for no Sessions
    #[arg(long, env = "JCT_API_SESSION_SECONDS", default_value_t = 3_600, value_parser = session_seconds)]
    pub api_session_seconds: u32,

    /// Log at debug level
    #[arg(long, env = "DEBUG", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub debug: bool,

    /// Form of log lines
    #[arg(long, env = "JCT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Run the controller
    #[arg(long, env = "JCT_CONTROLLER", default_value_t = true, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub controller: bool,

    /// Run the admission webhook
    #[arg(long, env = "JCT_WEBHOOK", default_value_t = true, action = ArgAction::Set,
          value_parser = clap::builder::BoolishValueParser::new())]
    pub webhook: bool,

    /// Comma-separated prefixes of owner/name; a Task's repository must start with one. None allow nothing
    #[arg(long, env = "JCT_ALLOWED_REPO_PREFIXES", default_value = "")]
    pub allowed_repo_prefixes: String,

    /// The least time budget of a Task, in seconds
    #[arg(long, env = "JCT_MIN_TIME_BUDGET_SECONDS", default_value_t = MIN_TIME_BUDGET_SECONDS,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_TIME_BUDGET_SECONDS)..=i64::from(MAX_TIME_BUDGET_SECONDS)))]
    pub min_time_budget_seconds: u32,

    /// The greatest time budget of a Task, in seconds
    #[arg(long, env = "JCT_MAX_TIME_BUDGET_SECONDS", default_value_t = MAX_TIME_BUDGET_SECONDS,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_TIME_BUDGET_SECONDS)..=i64::from(MAX_TIME_BUDGET_SECONDS)))]
    pub max_time_budget_seconds: u32,

    /// The most Tasks of one namespace that have not ended: one more is refused with TOO_MANY_TASKS; 0 for no limit
    #[arg(long, env = "JCT_MAX_OPEN_TASKS", default_value_t = 1_000)]
    pub max_open_tasks: u32,

    /// The most Tasks and work objects of one namespace that are recorded within an hour: one more is refused with
    /// TOO_MANY_TASKS; 0 for no limit
    #[arg(long, env = "JCT_MAX_RECORDED_PER_HOUR", default_value_t = 10_000)]
    pub max_recorded_per_hour: u32,

    /// The operator's own namespace
    #[arg(long, env = "JCT_NAMESPACE", default_value = "jct-system")]
    pub namespace: String,

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

    /// How long a worker may take to start, image pull included, before its attempt fails, in seconds
    #[arg(long, env = "JCT_WORKER_START_TIMEOUT_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub worker_start_timeout_seconds: u32,

    /// Time beyond the budget that a worker has to fetch the source and to seal its trace, in seconds
    #[arg(long, env = "JCT_WORKER_GRACE_SECONDS", default_value_t = 660, value_parser = clap::value_parser!(u32).range(30..=86_400))]
    pub worker_grace_seconds: u32,

    /// How long a Job stays after its outcome is recorded, in seconds
    #[arg(long, env = "JCT_JOB_TTL_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=31_536_000))]
    pub job_ttl_seconds: u32,

    /// Wait before the second attempt of a Task, in seconds; doubled for each further one
    #[arg(long, env = "JCT_RETRY_DELAY_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub retry_delay_seconds: u32,

    /// How often an attempt is repeated that the cluster failed (eviction, lost node, image pull), apart from the Task's own
    /// maxAttempts
    #[arg(long, env = "JCT_INFRASTRUCTURE_RETRIES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub infrastructure_retries: u32,

    /// How long a Task waits for an executor that is not configured, before it fails, in seconds: a configuration that is
    /// rolled out at the same time is not there at once
    #[arg(long, env = "JCT_EXECUTOR_WAIT_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub executor_wait_seconds: u32,

    /// YAML file of executors, read again when it changes; without one there are those that are built in
    #[arg(long, env = "JCT_EXECUTORS_FILE")]
    pub executors_file: Option<PathBuf>,

    /// YAML file of what retention may remove, read again when it changes; without one everything is kept
    #[arg(long, env = "JCT_RETENTION_FILE")]
    pub retention_file: Option<PathBuf>,

    /// Where the trace volume is mounted in the operator
    #[arg(long, env = "JCT_TRACE_ROOT", default_value = "/var/lib/jct/traces")]
    pub trace_root: PathBuf,

    /// PersistentVolumeClaim of the trace volume, in the worker namespace
    #[arg(long, env = "JCT_TRACE_CLAIM", default_value = "jct-traces")]
    pub trace_claim: String,

    /// URL that a repository is fetched from; {repo} stands for owner/name
    #[arg(long, env = "JCT_SOURCE_URL_TEMPLATE", default_value = "https://github.com/{repo}.git")]
    pub source_url_template: String,

    /// Whether http:// and git:// may be used, by which whoever is on the way can change what is fetched
    #[arg(long, env = "JCT_SOURCE_ALLOW_PLAINTEXT", default_value_t = false, action = clap::ArgAction::Set)]
    pub source_allow_plaintext: bool,

    /// URL of a proxy through which sources are fetched, with scheme and port; none when empty
    #[arg(long, env = "JCT_SOURCE_PROXY", default_value = "")]
    pub source_proxy: String,

    /// ConfigMap of the worker namespace with the certificates of the authorities that vouch for the source's server; those that
    /// everybody knows when empty
    #[arg(long, env = "JCT_SOURCE_CA_CONFIG_MAP", default_value = "")]
    pub source_ca_config_map: String,

    /// The key in that ConfigMap
    #[arg(long, env = "JCT_SOURCE_CA_KEY", default_value = "ca.crt")]
    pub source_ca_key: String,

    /// The most files that a source tree may have
    #[arg(long, env = "JCT_SOURCE_MAX_FILES", default_value_t = 200_000)]
    pub source_max_files: u64,

    /// The most bytes that a source tree may have
    #[arg(long, env = "JCT_SOURCE_MAX_BYTES", default_value_t = 4 << 30)]
    pub source_max_bytes: u64,

    /// How long fetching the source may take, in seconds
    #[arg(long, env = "JCT_SOURCE_TIMEOUT_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub source_timeout_seconds: u32,

    /// Port of the admission webhook
    #[arg(long, env = "JCT_WEBHOOK_PORT", default_value_t = 9443)]
    pub webhook_port: u16,

    /// Service through which the API server reaches the webhook
    #[arg(long, env = "JCT_WEBHOOK_SERVICE", default_value = "jct-webhook")]
    pub webhook_service: String,

    /// Secret that holds the webhook's CA, certificate and stamp key
    #[arg(long, env = "JCT_WEBHOOK_SECRET", default_value = "jct-webhook")]
    pub webhook_secret: String,

    /// Name of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration whose caBundle is kept current
    #[arg(long, env = "JCT_WEBHOOK_CONFIGURATION", default_value = "jct")]
    pub webhook_configuration: String,

    /// Life of the webhook's certificate, in hours; it is renewed after two thirds of it
    #[arg(long, env = "JCT_WEBHOOK_CERTIFICATE_HOURS", default_value_t = 2160, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    pub webhook_certificate_hours: u32,

    /// PEM file of the CA that signs the certificate by which the API server shows itself to the webhook; read again when
    /// it changes. With it nobody else is answered
    #[arg(long, env = "JCT_WEBHOOK_CLIENT_CA_FILE")]
    pub webhook_client_ca_file: Option<PathBuf>,

    /// Comma-separated common names or DNS names of which that certificate must have one; any of the CA will do when empty
    #[arg(long, env = "JCT_WEBHOOK_CLIENT_NAMES", default_value = "")]
    pub webhook_client_names: String,

    /// Secret that holds the Ed25519 keys which provenance is signed with
    #[arg(long, env = "JCT_SIGNING_SECRET", default_value = "jct-signing")]
    pub signing_secret: String,

    /// Age at which the signing key is replaced, in days; 0 for never, but by `jct keys rotate`
    #[arg(long, env = "JCT_SIGNING_KEY_DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub signing_key_days: u32,

    /// URI that provenance names as the builder (builder.id)
    #[arg(long, env = "JCT_PROVENANCE_BUILDER_ID", default_value = DEFAULT_BUILDER_ID)]
    pub provenance_builder_id: String,

    /// How many audit entries are followed by a signed checkpoint
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_ENTRIES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub audit_checkpoint_entries: u32,

    /// How long the last audit entries wait for a signed checkpoint, if they are fewer, in seconds
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub audit_checkpoint_seconds: u32,

    /// ConfigMap with the newest checkpoints of the audit log, in the operator's namespace
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_CONFIG_MAP", default_value = DEFAULT_CONFIG_MAP)]
    pub audit_checkpoint_config_map: String,

    /// URL that each checkpoint of the audit log is sent to by POST; none when empty
    #[arg(long, env = "JCT_AUDIT_CHECKPOINT_URL", default_value = "", hide_env_values = true)]
    pub audit_checkpoint_url: String,

    /// Lease by which operators settle who runs the controller, in the operator's namespace
    #[arg(long, env = "JCT_LEASE_NAME", default_value = "jct")]
    pub lease_name: String,

    /// How long the Lease lasts from its last renewal, in seconds: another replica takes over so long after a crash
    #[arg(long, env = "JCT_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub lease_seconds: u32,

    /// What this replica is called in the Lease; no other one may be called so. Random when empty
    #[arg(long, env = "JCT_LEASE_IDENTITY", default_value = "")]
    pub lease_identity: String,

    /// How many objects of each kind are reconciled at once
    #[arg(long, env = "JCT_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub concurrency: u16,
}

/// A setting that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct InvalidSetting {
    /// Flag and variable.
    pub setting: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Settings {
    /// What clap can't check: settings that depend on each other or have a form of their own.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the first bad one.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let invalid = |setting, message: String| Err(InvalidSetting { setting, message });
        if self.min_time_budget_seconds > self.max_time_budget_seconds {
            return invalid(
                "--min-time-budget-seconds (JCT_MIN_TIME_BUDGET_SECONDS)",
                format!("must not exceed JCT_MAX_TIME_BUDGET_SECONDS, {}", self.max_time_budget_seconds),
            );
        }
        let template = &self.source_url_template;
        if template.matches("{repo}").count() != 1 {
            return invalid(
                "--source-url-template (JCT_SOURCE_URL_TEMPLATE)",
                format!("must contain {{repo}} once, is {template:?}"),
            );
        }
        let scheme = template.split_once("://").map_or("", |(scheme, _)| scheme);
        if !["https", "http", "git"].contains(&scheme) {
            return invalid(
                "--source-url-template (JCT_SOURCE_URL_TEMPLATE)",
                format!("must begin with https://, or where plaintext is allowed http:// or git://, is {template:?}"),
            );
        }
        if scheme != "https" && !self.source_allow_plaintext {
            return invalid(
                "--source-url-template (JCT_SOURCE_URL_TEMPLATE)",
                format!(
                    "{scheme}:// lets whoever is on the way change what is fetched: use https://, or set \
                     --source-allow-plaintext=true (JCT_SOURCE_ALLOW_PLAINTEXT, source.allowPlaintext of the chart)"
                ),
            );
        }
        for (setting, value) in [
            ("--worker-cpu-request (JCT_WORKER_CPU_REQUEST)", &self.worker_cpu_request),
            ("--worker-cpu-limit (JCT_WORKER_CPU_LIMIT)", &self.worker_cpu_limit),
            ("--worker-memory-request (JCT_WORKER_MEMORY_REQUEST)", &self.worker_memory_request),
            ("--worker-memory-limit (JCT_WORKER_MEMORY_LIMIT)", &self.worker_memory_limit),
            ("--worker-scratch-limit (JCT_WORKER_SCRATCH_LIMIT)", &self.worker_scratch_limit),
        ] {
            if !is_quantity(value) {
                return invalid(setting, format!("must be a quantity such as 500m, 1, 128Mi or 1Gi, is {value:?}"));
            }
        }
        for (setting, value) in [
            ("--namespace (JCT_NAMESPACE)", self.namespace.as_str()),
            ("--worker-namespace (JCT_WORKER_NAMESPACE)", self.workers()),
            ("--api-namespace (JCT_API_NAMESPACE)", self.api_namespace.as_str()),
        ] {
            if !is_label(value) {
                return invalid(setting, format!("must be the name of a namespace, is {value:?}"));
            }
        }
        if !is_object_name(&self.lease_name) {
            return invalid(
                "--lease-name (JCT_LEASE_NAME)",
                format!("must be the name of a Lease, is {:?}", self.lease_name),
            );
        }
        if !is_object_name(&self.audit_checkpoint_config_map) {
            return invalid(
                "--audit-checkpoint-config-map (JCT_AUDIT_CHECKPOINT_CONFIG_MAP)",
                format!("must be the name of a ConfigMap, is {:?}", self.audit_checkpoint_config_map),
            );
        }
        let url = self.audit_checkpoint_url.trim();
        if !url.is_empty()
            && let Err(error) = Sink::check(url)
        {
            return invalid("--audit-checkpoint-url (JCT_AUDIT_CHECKPOINT_URL)", error.to_string());
        }
        if !is_object_name(&self.signing_secret) {
            return invalid(
                "--signing-secret (JCT_SIGNING_SECRET)",
                format!("must be the name of a Secret, is {:?}", self.signing_secret),
            );
        }
        let is_uri = self.provenance_builder_id.split_once(':').is_some_and(|(scheme, rest)| {
            let mut scheme = scheme.bytes();
            scheme.next().is_some_and(|first| first.is_ascii_alphabetic())
                && scheme.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                && !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_graphic())
        });
        if !is_uri {
            return invalid(
                "--provenance-builder-id (JCT_PROVENANCE_BUILDER_ID)",
                format!("must be a URI such as {DEFAULT_BUILDER_ID}, is {:?}", self.provenance_builder_id),
            );
        }
        placement(self)?;
        way_out(self)?;
        if self.audiences().is_empty() {
            // A review without audiences is about the API server's own: tokens that were never meant for JCT.
            return invalid("--api-audience (JCT_API_AUDIENCE)", "must name at least one audience".into());
        }
        Ok(())
    }

    /// The namespace of worker Jobs.
    pub fn workers(&self) -> &str {
        if self.worker_namespace.is_empty() { &self.namespace } else { &self.worker_namespace }
    }

    fn audiences(&self) -> Vec<String> {
        self.api_audience.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Where the signing keys are kept.
    pub fn signing(&self) -> SecretSettings {
        let days = u64::from(self.signing_key_days);
        SecretSettings {
            namespace: self.namespace.clone(),
            secret: self.signing_secret.clone(),
            max_age: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)),
        }
    }

    /// Whose certificate the API server must show to the webhook; none where it shows none.
    pub fn client_ca(&self) -> Option<ClientCa> {
        // The chart sets the variable in any case.
        let file = self.webhook_client_ca_file.clone().filter(|file| !file.as_os_str().is_empty())?;
        let names = self.webhook_client_names.split(',').map(str::trim).filter(|name| !name.is_empty());
        Some(ClientCa { file, names: names.map(str::to_owned).collect() })
    }

    /// The settings of the REST API.
    pub fn api(&self) -> ApiSettings {
        ApiSettings {
            enabled: self.api,
            audiences: self.audiences(),
            namespace: self.api_namespace.clone(),
            keep_decisions: Duration::from_secs(self.api_auth_cache_seconds.into()),
            timeout: Duration::from_secs(self.api_timeout_seconds.into()),
            max_body_bytes: self.api_max_body_bytes as usize,
            max_requests: self.api_max_requests as usize,
            max_followers: self.api_max_followers as usize,
        }
    }

    /// When checkpoints of the audit log are made.
    pub fn checkpoints(&self) -> Every {
        Every {
            entries: self.audit_checkpoint_entries.into(),
            time: Duration::from_secs(self.audit_checkpoint_seconds.into()),
            look: Duration::from_secs(2),
        }
    }

    /// Where they are sent, if anywhere.
    ///
    /// # Errors
    /// [`InvalidSetting`] tells what is wrong with the URL.
    pub fn checkpoint_sink(&self) -> Result<Option<Sink>, InvalidSetting> {
        let url = self.audit_checkpoint_url.trim();
        let setting = "--audit-checkpoint-url (JCT_AUDIT_CHECKPOINT_URL)";
        let sink = (!url.is_empty()).then(|| Sink::new(url)).transpose();
        sink.map_err(|error| InvalidSetting { setting, message: error.to_string() })
    }

    /// The Lease.
    ///
    /// # Errors
    /// If this replica is to be called something random, and there is no randomness.
    pub fn lease(&self) -> Result<LeaseSettings, getrandom::Error> {
        let identity = match self.lease_identity.as_str() {
            "" => format!("jct-{:016x}", getrandom::u64()?),
            name => name.to_owned(),
        };
        Ok(LeaseSettings {
            namespace: self.namespace.clone(),
            name: self.lease_name.clone(),
            identity,
            duration: Duration::from_secs(self.lease_seconds.into()),
        })
    }

    /// What the gate holds Tasks against.
    pub fn policy(&self) -> Policy {
        Policy {
            min_time_budget_seconds: self.min_time_budget_seconds,
            max_time_budget_seconds: self.max_time_budget_seconds,
            ..Policy::default()
        }
        .allowing(&self.allowed_repo_prefixes)
    }

    /// What a Job manifest is made from, besides the Task.
    pub fn jobs(&self) -> JobSettings {
        JobSettings {
            namespace: self.workers().into(),
            image: self.worker_image.clone(),
            image_pull_policy: self.worker_image_pull_policy.clone(),
            uid: self.worker_uid,
            cpu_request: self.worker_cpu_request.clone(),
            cpu_limit: self.worker_cpu_limit.clone(),
            memory_request: self.worker_memory_request.clone(),
            memory_limit: self.worker_memory_limit.clone(),
            scratch_limit: self.worker_scratch_limit.clone(),
            runtime_class: Some(self.worker_runtime_class.clone()).filter(|name| !name.is_empty()),
            host_users: self.worker_host_users,
            // Held to be good by `check`.
            placement: placement(self).unwrap_or_default(),
            way_out: way_out(self).unwrap_or_default(),
            grace_seconds: self.worker_grace_seconds,
            trace_claim: self.trace_claim.clone(),
            source_url_template: self.source_url_template.clone(),
            source_max_files: self.source_max_files,
            source_max_bytes: self.source_max_bytes,
            source_timeout_seconds: self.source_timeout_seconds,
        }
    }

    /// How long a worker may take to start.
    pub fn worker_start_timeout(&self) -> Duration {
        Duration::from_secs(self.worker_start_timeout_seconds.into())
    }
}

fn session_seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    let is_good = seconds == 0 || (60..=3_600).contains(&seconds);
    if is_good { Ok(seconds) } else { Err("must be 60 to 3600, or 0 for no Sessions".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(args: &[&str]) -> Result<Settings, String> {
        let args = std::iter::once(&"jct").chain(args);
        let settings = Cli::try_parse_from(args).map_err(|error| error.to_string())?.settings;
        settings.check().map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn the_defaults_are_good_and_allow_no_repository() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.policy(), Policy::default());
        assert_eq!(settings.workers(), "jct-system");
    }

    #[test]
    fn pods_are_placed_as_in_a_pod() {
        let settings = parse(&[
            r#"--worker-tolerations=[{"key":"work","operator":"Exists","effect":"NoSchedule"}]"#,
            r#"--worker-labels={"cost":"a"}"#,
            "--worker-priority-class=low",
            "--source-ca-config-map=corporate",
        ]);
        let jobs = settings.unwrap().jobs();
        assert_eq!(jobs.placement.tolerations.len(), 1);
        assert_eq!((jobs.placement.labels["cost"].as_str(), jobs.placement.affinity), ("a", None));
        assert_eq!(jobs.placement.priority_class.as_deref(), Some("low"));
        assert_eq!(jobs.way_out.authorities, Some(("corporate".into(), "ca.crt".into())));
    }

    #[test]
    fn replicas_share_a_lease_and_are_told_apart_whatever_the_database() {
        let lease = |args| parse(args).unwrap().lease().unwrap();
        let named = lease(&["--lease-identity=jct-0", "--lease-seconds=20", "--database-url=sqlite:///x/jct.db"]);
        assert_eq!(
            (named.name.as_str(), named.namespace.as_str(), named.identity.as_str()),
            ("jct", "jct-system", "jct-0")
        );
        assert_eq!(named.duration, Duration::from_secs(20));
        assert_ne!(lease(&[]).identity, lease(&[]).identity);
    }

    #[rstest]
    #[case(&["--min-time-budget-seconds=900", "--max-time-budget-seconds=60"], "JCT_MIN_TIME_BUDGET_SECONDS")]
    #[case(&["--max-time-budget-seconds=86401"], "--max-time-budget-seconds")]
    #[case(&["--source-url-template=https://git.example"], "JCT_SOURCE_URL_TEMPLATE")]
    #[case(&["--source-url-template=http://git.example/{repo}"], "JCT_SOURCE_ALLOW_PLAINTEXT")]
    #[case(&["--source-url-template=git://git.example/{repo}"], "JCT_SOURCE_URL_TEMPLATE")]
    #[case(&["--source-url-template=file:///srv/{repo}", "--source-allow-plaintext=true"], "JCT_SOURCE_URL_TEMPLATE")]
    #[case(&["--source-url-template=ext::sh -c {repo}"], "JCT_SOURCE_URL_TEMPLATE")]
    #[case(&["--worker-memory-limit=lots"], "JCT_WORKER_MEMORY_LIMIT")]
    #[case(&["--worker-namespace=Bad_Name"], "JCT_WORKER_NAMESPACE")]
    #[case(&["--api-port=99999"], "--api-port")]
    #[case(&["--worker-node-selector=pool=work"], "JCT_WORKER_NODE_SELECTOR")]
    #[case(&[r#"--worker-node-selector={"pool":1}"#], "JCT_WORKER_NODE_SELECTOR")]
    #[case(&[r#"--worker-tolerations=[{"key":"a","opreator":"Exists"}]"#], "JCT_WORKER_TOLERATIONS")]
    #[case(&[r#"--worker-affinity={"nodeAffinty":{}}"#], "JCT_WORKER_AFFINITY")]
    #[case(&[r#"--worker-labels={"jct.dev/task-id":"x"}"#], "JCT_WORKER_LABELS")]
    #[case(&["--source-proxy=proxy.example:3128"], "JCT_SOURCE_PROXY")]
    #[case(&["--source-proxy=http://me:secret@proxy.example"], "JCT_SOURCE_PROXY")]
    #[case(&["--api-session-seconds=7200"], "--api-session-seconds")]
    #[case(&["--api-namespace=Team A"], "JCT_API_NAMESPACE")]
    #[case(&["--namespace=-x"], "JCT_NAMESPACE")]
    #[case(&["--worker-namespace=x-"], "JCT_WORKER_NAMESPACE")]
    #[case(&["--api-audience= ,"], "JCT_API_AUDIENCE")]
    #[case(&["--lease-name=The Lease"], "JCT_LEASE_NAME")]
    #[case(&["--lease-name=-x"], "JCT_LEASE_NAME")]
    #[case(&["--signing-secret=a..b"], "JCT_SIGNING_SECRET")]
    #[case(&["--lease-seconds=1"], "--lease-seconds")]
    #[case(&["--audit-checkpoint-config-map=The Map"], "JCT_AUDIT_CHECKPOINT_CONFIG_MAP")]
    #[case(&["--audit-checkpoint-url=http://archive.example.org/x"], "JCT_AUDIT_CHECKPOINT_URL")]
    #[case(&["--audit-checkpoint-seconds=0"], "--audit-checkpoint-seconds")]
    #[case(&["--signing-secret=The Secret"], "JCT_SIGNING_SECRET")]
    #[case(&["--signing-key-days=-1"], "--signing-key-days")]
    #[case(&["--provenance-builder-id=us"], "JCT_PROVENANCE_BUILDER_ID")]
    #[case(&["--provenance-builder-id=https://us and them"], "JCT_PROVENANCE_BUILDER_ID")]
    fn a_bad_setting_is_named(#[case] args: &[&str], #[case] name: &str) {
        let error = parse(args).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
}
