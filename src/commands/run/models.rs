//! The models of a run: its configuration is that of a cluster, but keys are in variables, not in Secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use jct_model_gateway::catalog::{Catalog, Model, Provider};

use super::aside::SetAside;
use crate::broker::keys::authorities;
use crate::domain::Task;
use crate::domain::executor::Executor;
use crate::domain::model::{self, Dialect, Granted, Models, Record};
use crate::domain::task::Controls;
use crate::local::ModelAccess;

/// What the variables of keys begin with; the provider's name follows, in capitals.
const KEY: &str = "JCT_MODEL_KEY_";

/// Where a dialect is at home, and the variable that programs have that host's key in.
fn home(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Anthropic => ("api.anthropic.com", "ANTHROPIC_API_KEY"),
        Dialect::OpenaiResponses | Dialect::OpenaiChat => ("api.openai.com", "OPENAI_API_KEY"),
        Dialect::Gemini => ("generativelanguage.googleapis.com", "GEMINI_API_KEY"),
    }
}

/// Whether a variable may have a provider's key.
pub fn is_key(name: &str) -> bool {
    name.starts_with(KEY) || Dialect::ALL.into_iter().any(|dialect| home(dialect).1 == name)
}

/// What the executor may ask, if it asks models: from here on it names those alone that are granted.
///
/// # Errors
/// If they are not configured, or a key is missing.
pub fn access(
    models: Option<&Models>,
    executor: &mut Executor,
    namespace: &str,
    (task, controls): (&Task, &Controls),
    aside: &SetAside,
) -> anyhow::Result<Option<ModelAccess>> {
    if executor.model.is_none() {
        return Ok(None);
    }
    let models = models.ok_or_else(|| {
        anyhow!("the executor asks models (model in its configuration): which there are, and to whom they are granted, --models FILE says")
    })?;
    let Some(granted) = models.granted(executor, controls.model.as_ref(), namespace, &task.target.repo)? else {
        return Ok(None);
    };
    if let Some(model) = &mut executor.model {
        model.aliases.clone_from(&granted.aliases);
    }
    let catalog = catalog(models, &granted, &aside.model_keys)?;
    let bodies = models.record == Record::Bodies;
    Ok(Some(ModelAccess { granted, catalog, authorities: authorities(models), bodies }))
}

/// The models that are granted, with their providers' keys.
///
/// # Errors
/// If a key is missing: in words, with the variable that would have it.
fn catalog(models: &Models, granted: &Granted, keys: &BTreeMap<String, String>) -> anyhow::Result<Catalog> {
    let mut made = Vec::new();
    for model in models.models.iter().filter(|model| granted.aliases.contains(&model.alias)) {
        let of = |provider: &&model::Provider| provider.name == model.provider;
        let provider = models.providers.iter().find(of);
        let provider = provider.ok_or_else(|| anyhow!("--models: there is no provider {:?}", model.provider))?;
        let key = key(provider, keys)?;
        let provider = Provider::new(&provider.name, provider.dialect, &provider.url, key);
        let provider = Arc::new(provider.map_err(|error| anyhow!("--models: {error}"))?);
        let (alias, price) = (model.alias.clone(), model.usd_per_million);
        made.push(Model { alias, provider, model: model.model.clone(), price });
    }
    Catalog::new(made).map_err(|error| anyhow!("--models: {error}"))
}

/// A key goes to the host that it is meant for: the well-known variable is that of the well-known host.
fn key<'a>(provider: &model::Provider, keys: &'a BTreeMap<String, String>) -> anyhow::Result<&'a str> {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let own = format!("{KEY}{}", provider.name.chars().map(letter).collect::<String>());
    if let Some(key) = keys.get(&own) {
        return Ok(key);
    }
    let (host, variable) = home(provider.dialect);
    let address = provider.url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    let is_home = address == Some(host);
    match keys.get(variable) {
        Some(key) if is_home => Ok(key),
        _ if is_home => bail!("provider {} has no key: set {variable} or {own}", provider.name),
        _ => bail!("provider {} has no key: set {own}", provider.name),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("my-own", "https://llm.example/v1", &[("JCT_MODEL_KEY_MY_OWN", "a"), ("OPENAI_API_KEY", "b")], Ok("a"))]
    #[case("openai", "https://api.openai.com", &[("OPENAI_API_KEY", "b")], Ok("b"))]
    #[case("openai", "https://api.openai.com", &[("JCT_MODEL_KEY_OPENAI", "a"), ("OPENAI_API_KEY", "b")], Ok("a"))]
    #[case("openai", "https://api.openai.com", &[("ANTHROPIC_API_KEY", "c")], Err("OPENAI_API_KEY or JCT_MODEL_KEY_OPENAI"))]
    // Elsewhere the well-known key is none.
    #[case("openai", "https://api.openai.com.evil.example", &[("OPENAI_API_KEY", "b")], Err("set JCT_MODEL_KEY_OPENAI"))]
    #[case("openai", "http://api.openai.com", &[("OPENAI_API_KEY", "b")], Err("set JCT_MODEL_KEY_OPENAI"))]
    fn a_key_goes_to_the_host_that_it_is_for(
        #[case] name: &str,
        #[case] url: &str,
        #[case] keys: &[(&str, &str)],
        #[case] expected: Result<&str, &str>,
    ) {
        let yaml = format!(
            "providers: [{{name: {name}, dialect: openai_chat, url: '{url}', allow_plaintext: true, key: {{secret: s, key: k}}}}]"
        );
        let models = Models::read(&yaml).unwrap();
        let keys = keys.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned())).collect();
        let found = key(&models.providers[0], &keys);
        match expected {
            Ok(expected) => assert_eq!(found.unwrap(), expected),
            Err(expected) => assert!(found.unwrap_err().to_string().ends_with(expected)),
        }
        assert!(keys.keys().all(|name| is_key(name)) && !is_key("PATH"));
    }
}
