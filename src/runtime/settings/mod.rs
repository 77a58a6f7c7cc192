//! The settings of `jct operator`: each by flag and environment variable (contract section 7). The chart sets the
//! variables; `jct operator --help` lists all with their defaults.
//!
//! Each part has its own in a file, checks them, and gives them to the part in its own form.

mod api;
mod controller;
mod forges;
mod gate;
mod models;
mod notifications;
mod oidc;
mod placement;
mod record;
mod source;
mod traces;
mod webhook;
mod workers;

use clap::{ArgAction, Args, ValueEnum};

pub use self::api::ApiArgs;
pub use self::controller::ControllerArgs;
pub use self::forges::ForgeArgs;
pub use self::gate::GateArgs;
pub use self::models::ModelArgs;
pub use self::notifications::NotificationArgs;
pub use self::oidc::OidcArgs;
pub use self::record::RecordArgs;
pub use self::source::SourceArgs;
pub use self::traces::TraceArgs;
pub use self::webhook::WebhookArgs;
pub use self::workers::WorkerArgs;
use crate::domain::name::{is_label, is_object_name};
use crate::jobs::{Broker, JobSettings};

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
    /// The operator's own namespace
    #[arg(long, env = "JCT_NAMESPACE", default_value = "jct-system")]
    pub namespace: String,

    /// Log at debug level
    #[arg(long, env = "DEBUG", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub debug: bool,

    /// Form of log lines
    #[arg(long, env = "JCT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// The record.
    #[command(flatten)]
    pub record: RecordArgs,

    /// The REST API.
    #[command(flatten)]
    pub api: ApiArgs,

    /// Signing in at an issuer.
    #[command(flatten)]
    pub oidc: OidcArgs,

    /// What may run.
    #[command(flatten)]
    pub gate: GateArgs,

    /// Forges.
    #[command(flatten)]
    pub forges: ForgeArgs,

    /// Models.
    #[command(flatten)]
    pub models: ModelArgs,

    /// Notifications.
    #[command(flatten)]
    pub notifications: NotificationArgs,

    /// The controller.
    #[command(flatten)]
    pub controller: ControllerArgs,

    /// Worker pods.
    #[command(flatten)]
    pub workers: WorkerArgs,

    /// Where repositories are fetched from.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Traces and their provenance.
    #[command(flatten)]
    pub traces: TraceArgs,

    /// The admission webhook.
    #[command(flatten)]
    pub webhook: WebhookArgs,
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

fn invalid(setting: &'static str, message: String) -> InvalidSetting {
    InvalidSetting { setting, message }
}

fn namespace_name(setting: &'static str, name: &str) -> Result<(), InvalidSetting> {
    if is_label(name) { Ok(()) } else { Err(invalid(setting, format!("must be the name of a namespace, is {name:?}"))) }
}

fn object_name(setting: &'static str, kind: &str, name: &str) -> Result<(), InvalidSetting> {
    if is_object_name(name) {
        Ok(())
    } else {
        Err(invalid(setting, format!("must be the name of a {kind}, is {name:?}")))
    }
}

impl Settings {
    /// What clap can't check: settings that depend on each other or have a form of their own.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the first bad one.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let Self {
            namespace,
            debug: _,
            log_format: _,
            record,
            api,
            oidc,
            gate,
            forges: _,
            models: _,
            notifications: _,
            controller,
            workers,
            source,
            traces,
            webhook: _,
        } = self;
        namespace_name("--namespace (JCT_NAMESPACE)", namespace)?;
        namespace_name("--worker-namespace (JCT_WORKER_NAMESPACE)", self.worker_namespace())?;
        gate.check()?;
        source.check()?;
        workers.check()?;
        controller.check()?;
        record.check()?;
        traces.check()?;
        oidc.check()?;
        api.check()
    }

    /// The namespace of worker Jobs.
    pub fn worker_namespace(&self) -> &str {
        let own = &self.workers.worker_namespace;
        if own.is_empty() { &self.namespace } else { own }
    }

    /// What a Job manifest is made from, besides the Task.
    pub fn jobs(&self) -> JobSettings {
        let (workers, source) = (&self.workers, &self.source);
        JobSettings {
            namespace: self.worker_namespace().into(),
            image: workers.worker_image.clone(),
            image_pull_policy: workers.worker_image_pull_policy.clone(),
            uid: workers.worker_uid,
            cpu_request: workers.worker_cpu_request.clone(),
            cpu_limit: workers.worker_cpu_limit.clone(),
            memory_request: workers.worker_memory_request.clone(),
            memory_limit: workers.worker_memory_limit.clone(),
            scratch_limit: workers.worker_scratch_limit.clone(),
            runtime_class: Some(workers.worker_runtime_class.clone()).filter(|name| !name.is_empty()),
            host_users: workers.worker_host_users,
            // Held to be good by `check`.
            placement: workers.placement().unwrap_or_default(),
            way_out: source.way_out().unwrap_or_default(),
            grace_seconds: workers.worker_grace_seconds,
            trace_claim: self.traces.trace_claim.clone(),
            source_url_template: source.source_url_template.clone(),
            source_max_files: source.source_max_files,
            source_max_bytes: source.source_max_bytes,
            source_timeout_seconds: source.source_timeout_seconds,
            forge: None,
            broker: Broker {
                url: format!("https://{}.{}.svc", self.models.model_service, self.namespace),
                authorities: String::new(),
                bodies: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use std::time::Duration;

    use super::*;
    use crate::policy::Policy;

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
        assert_eq!(settings.gate.policy(), Policy::default());
        assert_eq!(settings.worker_namespace(), "jct-system");
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
        let lease = |args| parse(args).unwrap().controller.lease("jct-system").unwrap();
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
    #[case(&["--public-url=jct.example.org"], "JCT_PUBLIC_URL")]
    #[case(&["--public-url=http://jct.example.org"], "JCT_PUBLIC_URL")]
    #[case(&["--public-url=https://jct.example.org/?x"], "JCT_PUBLIC_URL")]
    #[case(&["--public-url=https://me@jct.example.org"], "JCT_PUBLIC_URL")]
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
