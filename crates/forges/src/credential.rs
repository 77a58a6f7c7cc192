//! What a Secret holds.

use std::collections::BTreeMap;
use std::fmt;

use jct_domain::forge::MAX_SECRET_BYTES;

use crate::app::App;

/// A user and what proves it. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub username: String,
    /// What proves it.
    pub token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// What a Secret holds. It is never shown.
#[derive(Clone)]
pub enum Secret {
    /// A token or password, and who it is of where the forge looks at that.
    Token {
        /// Who.
        username: Option<String>,
        /// What proves it.
        token: String,
    },
    /// A GitHub App, whose tokens are made for one repository.
    App(App),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token",
            Self::App(_) => "App",
        })
    }
}

/// What is wrong with a Secret, in words that repeat nothing of it but the names of its keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongSecret(String);

const FORMS: &str = "it must have token (and username, where the forge wants one), or app-id, installation-id and private-key of a \
                     GitHub App";
const APP: [&str; 3] = ["app-id", "installation-id", "private-key"];

impl Secret {
    /// Reads the data of a Secret.
    ///
    /// # Errors
    /// [`WrongSecret`] names the key that is missing or wrong.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, WrongSecret> {
        let wrong = |message: String| Err(WrongSecret(message));
        let has = |key: &str| data.contains_key(key);
        match (has("token"), APP.iter().any(|key| has(key))) {
            (true, true) => wrong(format!("it has token and keys of a GitHub App: {FORMS}")),
            (false, false) => {
                let keys: Vec<&str> = data.keys().map(String::as_str).take(10).collect();
                let found = if keys.is_empty() { "no keys".into() } else { format!("the keys {}", keys.join(", ")) };
                wrong(format!("it has {found}: {FORMS}"))
            }
            (true, false) => {
                let token = line(data, "token")?;
                let username = if has("username") { Some(line(data, "username")?) } else { None };
                if username.as_ref().is_some_and(|username| username.contains(':')) {
                    return wrong("username must have no ':'".into());
                }
                Ok(Self::Token { username, token })
            }
            (false, true) => {
                if let Some(missing) = APP.iter().find(|key| !has(key)) {
                    return wrong(format!("{missing} is missing: {FORMS}"));
                }
                let [id, installation] = [line(data, "app-id")?, line(data, "installation-id")?];
                for (key, number) in [("app-id", &id), ("installation-id", &installation)] {
                    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                        return wrong(format!("{key} must be a number, as the page of the App shows it"));
                    }
                }
                let pem = data.get("private-key").map(Vec::as_slice).unwrap_or_default();
                App::new(id, installation, pem).map(Self::App).map_err(|message| WrongSecret(message.into()))
            }
        }
    }
}

/// One line of text: an end of line that an editor has left at the end is told, for a forge would take it for a part of it.
fn line(data: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<String, WrongSecret> {
    let wrong = |what: &str| Err(WrongSecret(format!("{key} {what}")));
    let bytes = data.get(key).map(Vec::as_slice).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok("") => wrong("is empty"),
        Ok(text) if text.len() > MAX_SECRET_BYTES => wrong("is too long"),
        Ok(text) if text.contains(['\n', '\r']) => {
            wrong("must be one line, without an end of line: write it with printf '%s' rather than echo")
        }
        Ok(text) if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            wrong("must be printable ASCII without blanks")
        }
        Ok(text) => Ok(text.to_owned()),
        Err(_) => wrong("is no text"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_token_is_read_with_its_user_and_without() {
        let Secret::Token { username, token } = Secret::read(&data(&[("token", "c4nary")])).unwrap() else { panic!() };
        assert_eq!((username, &*token), (None, "c4nary"));
        let both = Secret::read(&data(&[("token", "c4nary"), ("username", "bot")])).unwrap();
        assert!(matches!(&both, Secret::Token { username: Some(name), .. } if name == "bot"));
        assert_eq!(format!("{both:?}"), "Token");
    }

    #[rstest]
    #[case(&[], "no keys")]
    #[case(&[("password", "c4nary")], "the keys password")]
    #[case(&[("token", "")], "token is empty")]
    #[case(&[("token", "c4nary\n")], "token must be one line")]
    #[case(&[("token", "c4nary\r\nX-Header: 1")], "token must be one line")]
    #[case(&[("token", "c4n ary")], "token must be printable")]
    #[case(&[("token", "c4nary"), ("username", "a:b")], "username must have no ':'")]
    #[case(&[("token", "c4nary"), ("app-id", "1")], "token and keys of a GitHub App")]
    #[case(&[("app-id", "1"), ("installation-id", "2")], "private-key is missing")]
    #[case(&[("app-id", "c4nary"), ("installation-id", "2"), ("private-key", "x")], "app-id must be a number")]
    #[case(&[("app-id", "1"), ("installation-id", "2"), ("private-key", "c4nary")], "private-key must be")]
    #[case(&[("app-id", "1"), ("installation-id", "2"), ("private-key", "-----BEGIN CERTIFICATE-----\nYzRuYXJ5\n-----END CERTIFICATE-----\n")], "private-key must be")]
    fn what_is_wrong_is_told_without_what_is_in_it(#[case] pairs: &[(&str, &str)], #[case] expected: &str) {
        let error = Secret::read(&data(pairs)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("c4nary") && !error.contains("YzRuYXJ5"), "{error}");
    }
}
