//! Providers with their keys, which are in Secrets: read at the start, and again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jct_model_gateway::catalog::{Catalog, Model, Provider};
use jct_model_gateway::connect::{Https, Trusting, https, roots_of};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use rustls::RootCertStore;
use tokio::sync::watch;
use tracing::{info, warn};

use super::OperatorBroker;
use crate::domain::model::{KeyRef, Models};

/// How often keys are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The keys of providers, by the providers' names; or why there is none.
type Keys = BTreeMap<String, Result<String, String>>;

/// Has the broker know the configured providers and their keys as they are now, for ever.
pub(super) async fn follow(
    broker: OperatorBroker,
    connector: Trusting,
    client: Client,
    namespace: String,
    mut models: watch::Receiver<Arc<Models>>,
) {
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let mut known: Option<(Arc<Models>, Keys)> = None;
    loop {
        let configured = models.borrow_and_update().clone();
        let keys = read(&secrets, &configured).await;
        if known.as_ref() != Some(&(configured.clone(), keys.clone())) {
            let catalog = catalog(&configured, &keys);
            info!(models = configured.models.len(), providers = keys.len(), "the broker's models are configured");
            connector.trust(authorities(&configured));
            broker.replace_catalog(catalog);
            known = Some((configured, keys));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            Ok(()) = models.changed() => {}
        }
    }
}

async fn read(secrets: &Api<Secret>, models: &Models) -> Keys {
    let mut found: HashMap<&str, Result<Secret, String>> = HashMap::new();
    let names: BTreeSet<&str> = models.providers.iter().map(|provider| provider.key.secret.as_str()).collect();
    for name in names {
        found.insert(name, secrets.get(name).await.map_err(|error| format!("Secret {name}: {error}")));
    }
    let key = |KeyRef { secret, key }: &KeyRef| {
        let found = found.get(secret.as_str()).cloned().unwrap_or_else(|| Err("it was not read".into()))?;
        let bytes = found.data.unwrap_or_default().remove(key).ok_or(format!("Secret {secret} has no {key:?}"))?;
        String::from_utf8(bytes.0).map_err(|_| format!("{key:?} of Secret {secret} is no text"))
    };
    models.providers.iter().map(|provider| (provider.name.clone(), key(&provider.key))).collect()
}

/// Who vouches for which host, where that is not a public authority. One that cannot be used is told in the log, and vouches for
/// nothing: its host is not believed then.
pub fn authorities(models: &Models) -> BTreeMap<String, Https> {
    let mut named = BTreeMap::new();
    for provider in &models.providers {
        let Some(pem) = &provider.ca_bundle else { continue };
        let host = provider.url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let roots = roots_of(pem).unwrap_or_else(|error| {
            warn!(provider = provider.name, error, "the ca_bundle of a provider of models cannot be used");
            RootCertStore::empty()
        });
        match https(roots) {
            Ok(https) => drop(named.insert(host.to_owned(), https)),
            Err(error) => warn!(provider = provider.name, %error, "there is no TLS for a provider of models"),
        }
    }
    named
}

/// The models whose providers have their keys: what is wrong with the others is told in the log.
fn catalog(models: &Models, keys: &Keys) -> Catalog {
    let mut providers = HashMap::new();
    for provider in &models.providers {
        let key = keys.get(&provider.name).cloned().unwrap_or_else(|| Err("there is none".into()));
        let made = key.and_then(|key| Provider::new(&provider.name, provider.dialect, &provider.url, &key));
        match made {
            Ok(made) => drop(providers.insert(provider.name.as_str(), Arc::new(made))),
            Err(error) => warn!(provider = provider.name, error, "a provider of models cannot be used"),
        }
    }
    let usable = models.models.iter().filter_map(|model| {
        let provider = providers.get(model.provider.as_str())?.clone();
        Some(Model { alias: model.alias.clone(), provider, model: model.model.clone(), price: model.usd_per_million })
    });
    Catalog::new(usable).unwrap_or_else(|error| {
        // The configuration was held to be good when it was read.
        warn!(error, "the models cannot be used");
        Catalog::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: &str = "providers:
  - {name: a, dialect: anthropic, url: 'https://a.example', key: {secret: keys, key: a}}
  - {name: b, dialect: openai_chat, url: 'https://b.example', key: {secret: keys, key: b}}
models: [{alias: one, provider: a, model: m}, {alias: two, provider: b, model: m}]";

    #[test]
    fn a_provider_without_its_key_has_no_models() {
        let models = Models::read(MODELS).unwrap();
        let keys = |b: Result<&str, &str>| {
            [("a", Ok("sk-a")), ("b", b)]
                .map(|(name, key)| (name.into(), key.map(Into::into).map_err(Into::into)))
                .into()
        };
        let both = catalog(&models, &keys(Ok("sk-b")));
        assert!(both.get("one").is_some() && both.get("two").is_some());
        for missing in [Err("no such Secret"), Ok("two\nlines")] {
            let one = catalog(&models, &keys(missing));
            assert!(one.get("one").is_some() && one.get("two").is_none());
        }
    }
}
