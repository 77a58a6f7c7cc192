//! The configuration of models: read and checked as a whole, each error with the field that it is about.

use std::collections::BTreeSet;

use super::{Dialect, Grant, Model, Models, Provider};
use crate::configuration::{InvalidConfiguration, invalid, parse};

/// The greatest configuration that is read, in bytes.
pub const MAX_MODELS_BYTES: usize = 256 * 1024;
/// The longest name and the longest alias, in bytes.
const MAX_NAME_BYTES: usize = 200;

impl Models {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] names the first field that is wrong.
    pub fn read(yaml: &str) -> Result<Self, InvalidConfiguration> {
        let models: Self = parse(yaml, MAX_MODELS_BYTES)?;
        models.check()?;
        Ok(models)
    }

    fn check(&self) -> Result<(), InvalidConfiguration> {
        let Self { providers, models, grants, defaults, record: _ } = self;
        let mut names = BTreeSet::new();
        for (index, provider) in providers.iter().enumerate() {
            let at = format!("providers[{index}]");
            check_provider(&at, provider)?;
            if !names.insert(&provider.name) {
                return Err(invalid(&format!("{at}.name"), format!("{:?} is the name of another one", provider.name)));
            }
        }
        let mut aliases = BTreeSet::new();
        for (index, model) in models.iter().enumerate() {
            let at = format!("models[{index}]");
            let Some(provider) = providers.iter().find(|provider| provider.name == model.provider) else {
                return Err(invalid(&format!("{at}.provider"), format!("there is no provider {:?}", model.provider)));
            };
            check_model(&at, model, provider)?;
            if !aliases.insert(&model.alias) {
                return Err(invalid(&format!("{at}.alias"), format!("{:?} is the alias of another one", model.alias)));
            }
        }
        for (index, grant) in grants.iter().enumerate() {
            let at = format!("grants[{index}]");
            check_grant(&at, grant)?;
            if let Some(unknown) = grant.aliases.iter().find(|alias| !aliases.contains(alias)) {
                return Err(invalid(&format!("{at}.aliases"), format!("there is no model {unknown:?}")));
            }
        }
        for (field, value, most) in [
            ("max_in_flight", u64::from(defaults.max_in_flight), 64),
            ("max_request_bytes", defaults.max_request_bytes, 32 << 20),
            ("max_response_bytes", defaults.max_response_bytes, 1 << 30),
        ] {
            if !(1..=most).contains(&value) {
                return Err(invalid(&format!("defaults.{field}"), format!("must be from 1 to {most}, is {value}")));
            }
        }
        Ok(())
    }
}

fn check_provider(at: &str, provider: &Provider) -> Result<(), InvalidConfiguration> {
    let fail = |field: &str, message: &str| Err(invalid(&format!("{at}.{field}"), message.into()));
    let Provider { name, dialect: _, url, key, allow_plaintext, ca_bundle } = provider;
    if !is_name(name) {
        return fail("name", "must be 1 to 200 letters, digits, '.', '-' and '_'");
    }
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://").filter(|_| *allow_plaintext));
    let Some(rest) = rest else {
        return fail("url", "must begin with https:// (with allow_plaintext: true, http:// as well)");
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || rest.contains(['?', '#']) || rest.contains(char::is_whitespace) {
        return fail("url", "must be https://HOST and a path at most, without user and query");
    }
    if ca_bundle.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
        return fail("ca_bundle", "must be certificates in PEM");
    }
    if key.secret.is_empty() || key.key.is_empty() {
        return fail("key", "must name a Secret and the key in it");
    }
    Ok(())
}

fn check_model(at: &str, model: &Model, provider: &Provider) -> Result<(), InvalidConfiguration> {
    for (field, name) in [("alias", &model.alias), ("model", &model.model)] {
        let is_good = match provider.dialect {
            // A part of a path.
            Dialect::Gemini => is_name(name),
            _ => (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()),
        };
        if !is_good {
            let message = "must be 1 to 200 printable characters; of Gemini letters, digits, '.', '-' and '_'";
            return Err(invalid(&format!("{at}.{field}"), message.into()));
        }
    }
    Ok(())
}

fn check_grant(at: &str, grant: &Grant) -> Result<(), InvalidConfiguration> {
    let fail = |field: &str, message: &str| Err(invalid(&format!("{at}.{field}"), message.into()));
    for (field, list) in [("namespaces", &grant.namespaces), ("repos", &grant.repos), ("aliases", &grant.aliases)] {
        if list.is_empty() || list.iter().any(String::is_empty) {
            return fail(field, "must name at least one, and no empty one");
        }
    }
    if !(1..=86_400).contains(&grant.max_wait_seconds) {
        return fail("max_wait_seconds", "must be from 1 to 86400");
    }
    match (grant.max_usd_per_day, grant.unlimited) {
        (None, false) => fail("max_usd_per_day", "is required; unlimited: true says that none is meant"),
        (Some(_), true) => fail("unlimited", "must not be true where max_usd_per_day is given"),
        _ => Ok(()),
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GOOD: &str = r#"
providers: [{name: a, dialect: gemini, url: "https://api.example/x", key: {secret: models, key: a}}]
models: [{alias: small, provider: a, model: tiny-1}]
grants: [{namespaces: ["*"], repos: [octo/], aliases: [small], max_usd_per_day: 1.5}]
defaults: {max_usd: 2, max_in_flight: 3}
"#;

    #[test]
    fn a_configuration_is_read_and_nothing_is_one_too() {
        let models = Models::read(GOOD).unwrap();
        assert_eq!((models.defaults.max_in_flight, models.defaults.max_request_bytes), (3, 32 << 20));
        assert_eq!(models.defaults.max_usd.unwrap().to_string(), "$2.00");
        assert_eq!(Models::read("").unwrap(), Models::default());
    }

    #[rstest]
    #[case("https://api", "http://api", "providers[0].url")]
    #[case("https://api", "https://me@api", "providers[0].url")]
    #[case("https://api.example/x", "https://api.example/?key=x", "providers[0].url")]
    #[case("key: a}}]", "key: ''}}]", "providers[0].key")]
    #[case("key: a}}]", "key: a}, ca_bundle: corporate}]", "providers[0].ca_bundle")]
    #[case("dialect: gemini", "dialect: latin", "(file)")]
    #[case("provider: a", "provider: b", "models[0].provider")]
    #[case("model: tiny-1", "model: tiny/1", "models[0].model")]
    #[case("aliases: [small]", "aliases: [large]", "grants[0].aliases")]
    #[case("repos: [octo/]", "repos: []", "grants[0].repos")]
    #[case(", max_usd_per_day: 1.5", "", "grants[0].max_usd_per_day")]
    #[case("max_usd_per_day: 1.5", "max_usd_per_day: 1.5, unlimited: true", "grants[0].unlimited")]
    #[case("max_usd_per_day: 1.5", "max_usd_per_day: 1.5, max_wait_seconds: 0", "grants[0].max_wait_seconds")]
    #[case("max_usd_per_day: 1.5", "max_usd_per_day: 1.5, when_used_up: beg", "(file)")]
    #[case("max_in_flight: 3", "max_in_flight: 0", "defaults.max_in_flight")]
    #[case("max_in_flight: 3", "max_flights: 3", "(file)")]
    #[case("max_usd: 2", "max_usd: -2", "(file)")]
    fn what_is_wrong_is_told_with_its_field(#[case] good: &str, #[case] bad: &str, #[case] field: &str) {
        assert!(GOOD.contains(good), "{good}");
        assert_eq!(Models::read(&GOOD.replacen(good, bad, 1)).unwrap_err().field, field);
    }
}
