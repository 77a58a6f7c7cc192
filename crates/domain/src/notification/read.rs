//! The configuration of notifications: read and checked as a whole, each error with the field that it is about.

use std::collections::BTreeSet;

use super::{Format, Notifications, Receiver};
use crate::configuration::{InvalidConfiguration, invalid, parse};
use crate::model::KeyRef;
use crate::url::{host_name, is_loopback};

/// The greatest configuration that is read, in bytes.
pub const MAX_NOTIFICATIONS_BYTES: usize = 256 * 1024;
/// The most receivers: each is a label of metrics, and a row for each event.
const MAX_RECEIVERS: usize = 50;

impl Notifications {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] names the first field that is wrong.
    pub fn read(yaml: &str) -> Result<Self, InvalidConfiguration> {
        let notifications: Self = parse(yaml, MAX_NOTIFICATIONS_BYTES)?;
        if notifications.receivers.len() > MAX_RECEIVERS {
            return Err(invalid("receivers", format!("must be {MAX_RECEIVERS} at most")));
        }
        let mut names = BTreeSet::new();
        for (index, receiver) in notifications.receivers.iter().enumerate() {
            let at = format!("receivers[{index}]");
            check(&at, receiver)?;
            if !names.insert(&receiver.name) {
                return Err(invalid(&format!("{at}.name"), format!("{:?} is the name of another one", receiver.name)));
            }
        }
        Ok(notifications)
    }
}

fn check(at: &str, receiver: &Receiver) -> Result<(), InvalidConfiguration> {
    let fail = |field: &str, message: &str| Err(invalid(&format!("{at}.{field}"), message.into()));
    let Receiver {
        name,
        url,
        url_from,
        allow_plaintext,
        ca_bundle,
        format,
        signing_key,
        namespaces,
        outcomes,
        operations: _,
    } = receiver;
    if !is_name(name, 63) {
        return fail("name", "must be 1 to 63 letters, digits, '.', '-' and '_', and begin with none of these");
    }
    match (url, url_from) {
        (Some(url), None) => {
            if let Err(message) = check_url(url, *allow_plaintext) {
                return fail("url", &message);
            }
        }
        (None, Some(_)) => {}
        _ => return fail("url", "one of url and urlFrom is required, and not both"),
    }
    for (field, key) in [("urlFrom", url_from), ("signingKey", signing_key)] {
        if key.as_ref().is_some_and(|KeyRef { secret, key }| !is_name(secret, 253) || !is_name(key, 253)) {
            return fail(field, "must name a Secret and the key in it");
        }
    }
    match (format, signing_key) {
        (Format::CloudEvents, None) => {
            return fail(
                "signingKey",
                "is required: by the signature a receiver knows who tells it; only format: slack has none",
            );
        }
        (Format::Slack, Some(_)) => {
            return fail("signingKey", "must not be given with format: slack, which has no signature");
        }
        _ => {}
    }
    if ca_bundle.as_ref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
        return fail("caBundle", "must be certificates in PEM");
    }
    if namespaces.is_empty() || namespaces.iter().any(String::is_empty) {
        return fail("namespaces", "must name at least one, and no empty one; left out, it is all of them");
    }
    if outcomes.iter().any(|outcome| !outcome.is_terminal()) {
        return fail("outcomes", "must be of completed, failed, cancelled");
    }
    Ok(())
}

/// Whether events may be posted to `url`. That of a Secret is checked when it is read.
///
/// # Errors
/// What is wrong with it, in words that do not repeat it: it may be a secret.
pub fn check_url(url: &str, allow_plaintext: bool) -> Result<(), String> {
    fn host(rest: &str) -> &str {
        rest.split(['/', '?']).next().unwrap_or_default()
    }
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if allow_plaintext || is_loopback(host_name(host(rest))) => rest,
        _ => return Err("must begin with https:// (with allowPlaintext: true, http:// as well)".into()),
    };
    let host = host(rest);
    if host.is_empty()
        || host.contains('@')
        || rest.contains('#')
        || rest.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err("must be https://HOST, with a path and a query if need be, without user and fragment".into());
    }
    Ok(())
}

fn is_name(text: &str, most: usize) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=most).contains(&text.len())
        && text.bytes().all(is_plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_configuration_is_read_and_nothing_is_one_too() {
        assert_eq!(Notifications::read("").unwrap(), Notifications::default());
        let yaml = "receivers:
  - {name: ci, url: 'https://ci.example/jct?x=1', signingKey: {secret: notify, key: ci}, outcomes: [failed], operations: [docs]}
  - {name: chat, urlFrom: {secret: notify, key: chat}, format: slack, namespaces: ['team-*']}";
        let read = Notifications::read(yaml).unwrap();
        assert_eq!(read.receivers[0].namespaces, ["*"]);
        assert_eq!(read.receivers[1].format, Format::Slack);
    }

    const KEY: &str = "signingKey: {secret: s, key: k}";

    #[rstest]
    #[case("name: '', url: 'https://a'", "name")]
    #[case("name: ../x, url: 'https://a'", "name")]
    #[case("name: a", "url")]
    #[case("name: a, url: 'https://a', urlFrom: {secret: s, key: k}", "url")]
    #[case("name: a, url: 'http://a.example'", "url")]
    #[case("name: a, url: 'http://localhost.example/'", "url")]
    #[case("name: a, url: 'https://u:p@a.example/'", "url")]
    #[case("name: a, url: 'file:///etc/passwd'", "url")]
    #[case("name: a, urlFrom: {secret: ../s, key: k}", "urlFrom")]
    #[case("name: a, url: 'https://a', signingKey: {secret: s, key: ''}", "signingKey")]
    #[case("name: a, url: 'https://a', format: slack, signingKey: {secret: s, key: k}", "signingKey")]
    #[case("name: a, url: 'https://a', caBundle: ca.crt", "caBundle")]
    #[case("name: a, url: 'https://a', namespaces: []", "namespaces")]
    #[case("name: a, url: 'https://a', outcomes: [running]", "outcomes")]
    #[case("name: a, url: 'https://a', outcome: failed", "(file)")]
    fn a_mistake_is_told_with_its_field(#[case] receiver: &str, #[case] field: &str) {
        let key = if receiver.contains("signingKey") { String::new() } else { format!(", {KEY}") };
        let error = Notifications::read(&format!("receivers: [{{{receiver}{key}}}]")).unwrap_err();
        assert!(error.field.ends_with(field), "{error}");
    }

    #[test]
    fn a_signature_is_required_and_names_are_of_one() {
        let error = Notifications::read("receivers: [{name: a, url: 'https://a'}]").unwrap_err();
        assert_eq!(error.field, "receivers[0].signingKey");
        let twice = format!("{{name: a, url: 'https://a', {KEY}}}");
        assert_eq!(
            Notifications::read(&format!("receivers: [{twice}, {twice}]")).unwrap_err().field,
            "receivers[1].name"
        );
    }

    #[rstest]
    #[case("http://127.0.0.1:8080/x", true)]
    #[case("http://[::1]:80/x", true)]
    #[case("http://localhost", true)]
    #[case("http://10.0.0.1/", false)]
    #[case("https://a.example\n/", false)]
    #[case("https:///x", false)]
    fn what_leaves_the_machine_is_encrypted_unless_it_is_meant(#[case] url: &str, #[case] is_good: bool) {
        assert_eq!(check_url(url, false).is_ok(), is_good);
    }

    #[test]
    fn plaintext_is_for_who_says_so() {
        assert!(check_url("http://hooks.team.svc/", true).is_ok());
    }
}
