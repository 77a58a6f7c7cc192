//! The providers and models that there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::route::is_model;
use crate::{Dialect, Price};

/// A provider's key, as it is sent. Not to be shown.
#[derive(Clone)]
pub struct Key(HeaderValue);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Who has models.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the configuration.
    pub name: String,
    /// What it speaks.
    pub dialect: Dialect,
    url: Uri,
    key: Key,
}

impl Provider {
    /// With its address up to the version (`https://api.anthropic.com`), and its key.
    ///
    /// # Errors
    /// In words, without the key.
    pub fn new(name: &str, dialect: Dialect, url: &str, key: &str) -> Result<Self, String> {
        let url: Uri = url.parse().map_err(|error| format!("provider {name}: url: {error}"))?;
        let is_web = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&url.scheme());
        let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if !is_web || url.authority().is_none() || has_user || url.query().is_some() {
            return Err(format!("provider {name}: url: it must be https://HOST, without user and query"));
        }
        let key = key.trim();
        let value = match dialect {
            Dialect::OpenaiResponses | Dialect::OpenaiChat => format!("Bearer {key}"),
            Dialect::Anthropic | Dialect::Gemini => key.to_owned(),
        };
        let value = HeaderValue::try_from(value).ok().filter(|_| !key.is_empty());
        let mut value = value.ok_or_else(|| format!("provider {name}: key: it is empty, or no text of one line"))?;
        value.set_sensitive(true);
        Ok(Self { name: name.to_owned(), dialect, url, key: Key(value) })
    }

    /// The address of a path at this provider, and nowhere else.
    pub(crate) fn address(&self, path: &str) -> Option<Uri> {
        let base = self.url.path().trim_end_matches('/');
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{base}{path}")).ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Adds the key to what is sent.
    pub(crate) fn authorize(&self, headers: &mut HeaderMap) {
        let name = match self.dialect {
            Dialect::Anthropic => HeaderName::from_static("x-api-key"),
            Dialect::Gemini => HeaderName::from_static("x-goog-api-key"),
            Dialect::OpenaiResponses | Dialect::OpenaiChat => header::AUTHORIZATION,
        };
        headers.insert(name, self.key.0.clone());
    }
}

/// A model, by the name that Tasks and programs have for it.
#[derive(Clone, Debug)]
pub struct Model {
    /// That name.
    pub alias: String,
    /// Who has it.
    pub provider: Arc<Provider>,
    /// Its provider's name for it.
    pub model: String,
    /// What it costs, if that is known.
    pub price: Option<Price>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Catalog(BTreeMap<String, Model>);

impl Catalog {
    /// Of these models.
    ///
    /// # Errors
    /// In words, which is wrong.
    pub fn new(models: impl IntoIterator<Item = Model>) -> Result<Self, String> {
        let mut known = BTreeMap::new();
        for model in models {
            let alias = model.alias.clone();
            if alias.is_empty() || model.model.is_empty() {
                return Err(format!("model {alias:?}: alias and model must not be empty"));
            }
            if model.provider.dialect == Dialect::Gemini && !(is_model(&alias) && is_model(&model.model)) {
                let message = "of Gemini, alias and model are parts of a path: letters, digits, '.', '-' and '_'";
                return Err(format!("model {alias:?}: {message}"));
            }
            if known.insert(alias.clone(), model).is_some() {
                return Err(format!("model {alias:?}: the alias is there twice"));
            }
        }
        Ok(Self(known))
    }

    /// The model of this name.
    pub fn get(&self, alias: &str) -> Option<&Model> {
        self.0.get(alias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_the_provider_alone() {
        let provider = |url| Provider::new("p", Dialect::Anthropic, url, "secret");
        let address = |url, path| provider(url).unwrap().address(path).unwrap().to_string();
        assert_eq!(address("https://api.x", "/v1/messages?beta=true"), "https://api.x/v1/messages?beta=true");
        assert_eq!(address("https://api.x:8443/gateway/", "/v1/messages"), "https://api.x:8443/gateway/v1/messages");
        for wrong in ["api.x", "/v1", "ftp://x", "https://user:pw@x", "https://x/?a=b", "unix:/x"] {
            assert!(provider(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_sent_as_each_dialect_has_them_and_shown_never() {
        let sent = Dialect::ALL.map(|dialect| {
            let provider = Provider::new("p", dialect, "https://x", " secret\n").unwrap();
            assert!(!format!("{provider:?}").contains("secret"));
            let mut headers = HeaderMap::new();
            provider.authorize(&mut headers);
            assert!(!format!("{headers:?}").contains("secret"));
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<String>()
        });
        assert_eq!(
            sent,
            [
                "x-api-key: secret",
                "authorization: Bearer secret",
                "authorization: Bearer secret",
                "x-goog-api-key: secret"
            ]
        );
        for wrong in ["", " ", "two\nlines"] {
            let error = Provider::new("p", Dialect::Gemini, "https://x", wrong).unwrap_err();
            assert!(!error.contains("lines\n") && error.contains("key"), "{error}");
        }
    }

    #[test]
    fn models_have_one_meaning() {
        let model = |alias: &str, dialect| Model {
            alias: alias.into(),
            provider: Arc::new(Provider::new("p", dialect, "https://x", "k").unwrap()),
            model: "m".into(),
            price: None,
        };
        assert!(Catalog::new([model("a", Dialect::Anthropic), model("vendor/a", Dialect::OpenaiChat)]).is_ok());
        for wrong in [
            vec![model("a", Dialect::Anthropic), model("a", Dialect::Gemini)],
            vec![model("", Dialect::Anthropic)],
            vec![model("../files", Dialect::Gemini)],
        ] {
            assert!(Catalog::new(wrong).is_err());
        }
    }
}
