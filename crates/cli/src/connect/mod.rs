//! The cluster of the kubeconfig, and the operator in it.

pub mod session;
pub mod transport;

use std::io::IsTerminal as _;

use anyhow::{Context as _, anyhow};
use http::Request;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::cli::{Colour, Global};
use crate::show::Style;

/// How long the API server may take to accept a connection.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// What every command needs.
#[derive(Clone)]
pub struct Context {
    /// The API server, as the person of the kubeconfig.
    pub client: Client,
    /// The namespace that is meant.
    pub namespace: String,
    /// Where the operator is.
    pub operator_namespace: String,
    /// The Service of its API.
    pub service: String,
    /// How standard output is written.
    pub style: Style,
}

impl Context {
    /// The cluster that `global` names.
    ///
    /// # Errors
    /// If there is no kubeconfig that names one.
    pub async fn of(global: &Global) -> anyhow::Result<Self> {
        let mut config = config(global).await?;
        config.connect_timeout = Some(CONNECT);
        let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("cannot use the kubeconfig")?;
        Ok(Self {
            client,
            namespace,
            operator_namespace: global.operator_namespace.clone(),
            service: global.service.clone(),
            style: style(global.color),
        })
    }

    /// The same in another namespace, if one is named.
    #[must_use]
    pub fn at(&self, namespace: Option<&str>) -> Self {
        let namespace = namespace.map_or_else(|| self.namespace.clone(), str::to_owned);
        Self { namespace, ..self.clone() }
    }

    /// Reads an object of the API server; none if there is none.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn object(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.client.request::<Value>(Request::get(path).body(Vec::new())?).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// Who the API server takes the caller for.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn user(&self) -> anyhow::Result<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = SelfSubjectReview { metadata: ObjectMeta::default(), status: None };
        let review = reviews.create(&PostParams::default(), &review).await.map_err(refused)?;
        Ok(review.status.and_then(|status| status.user_info?.username).unwrap_or_default())
    }
}

async fn config(global: &Global) -> anyhow::Result<Config> {
    let read = match &global.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display())),
        None => Kubeconfig::read().context("cannot read the kubeconfig (KUBECONFIG, ~/.kube/config)"),
    };
    let mut kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        // In a pod there is none, and a service account in its place.
        Err(error) if global.kubeconfig.is_none() && global.as_user.is_none() && global.context.is_none() => {
            return Config::incluster().map_err(|_| error);
        }
        Err(error) => return Err(error),
    };
    if let Some(user) = &global.as_user {
        for named in &mut kubeconfig.auth_infos {
            let info = named.auth_info.get_or_insert_default();
            info.impersonate = Some(user.clone());
            info.impersonate_groups = (!global.as_groups.is_empty()).then(|| global.as_groups.clone());
        }
    }
    let options = KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.context("the kubeconfig names no cluster to use")
}

/// What the API server says against it, in a sentence.
pub fn refused(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!("{}", status.message),
        error => anyhow::Error::new(error).context("the API server does not answer"),
    }
}

fn style(colour: Colour) -> Style {
    let is_terminal = std::io::stdout().is_terminal();
    let wants = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style {
        colour: match colour {
            Colour::Auto => wants,
            Colour::Always => true,
            Colour::Never => false,
        },
        is_terminal,
    }
}
