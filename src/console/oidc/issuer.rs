//! The issuer: where it is, where it sends people, and what it answers to a code.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jct_model_gateway::connect::{Https, https, public_roots, roots_of};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::OidcSettings;
use crate::domain::notification::check_url;
use crate::domain::url::percent_encoded;

/// How long an answer may take, with everything.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is read of one.
const MOST: usize = 1 << 20;
/// How long what the issuer says of itself is believed, and that it says nothing.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(10));

/// What is wrong with the issuer or its answer, in a sentence that repeats nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IssuerError(String);

fn wrong(message: impl Into<String>) -> IssuerError {
    IssuerError(message.into())
}

/// What the issuer says of itself.
#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

type Known = Option<(Instant, Result<Arc<Metadata>, IssuerError>)>;

/// An issuer. Nothing is asked of it before somebody signs in.
pub struct Issuer {
    settings: OidcSettings,
    client: Client<Https, Full<Bytes>>,
    known: Mutex<Known>,
}

/// What ties an answer of the issuer to who was sent there.
pub struct Proof<'a> {
    /// Where the issuer sends people back to.
    pub redirect_uri: &'a str,
    /// What only the browser that was sent there can have brought (RFC 7636).
    pub verifier: &'a str,
    /// What the token has to name.
    pub nonce: &'a str,
}

impl Issuer {
    /// The configured one.
    ///
    /// # Errors
    /// If its authorities cannot be read.
    pub fn new(settings: OidcSettings) -> Result<Self, IssuerError> {
        let roots = settings.ca.as_deref().map_or_else(|| Ok(public_roots()), roots_of);
        let https = https(roots.map_err(|error| wrong(format!("JCT_OIDC_CA_FILE: {error}")))?);
        let https = https.map_err(|error| wrong(error.to_string()))?;
        Ok(Self { settings, client: Client::builder(TokioExecutor::new()).build(https), known: Mutex::default() })
    }

    /// Its host, for people.
    pub fn host(&self) -> &str {
        let rest = self.settings.issuer.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// Where somebody signs in, who comes back with `state`.
    ///
    /// # Errors
    /// If the issuer does not answer, or not as one.
    pub async fn sign_in_at(&self, proof: &Proof<'_>, state: &str) -> Result<String, IssuerError> {
        let metadata = self.metadata().await?;
        let scope = std::iter::once("openid").chain(self.settings.scopes.iter().map(String::as_str));
        let scope = scope.collect::<Vec<_>>().join(" ");
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", proof.redirect_uri),
            ("scope", &scope),
            ("state", state),
            ("nonce", proof.nonce),
            ("code_challenge", &challenge(proof.verifier)),
            ("code_challenge_method", "S256"),
        ]);
        let at = &metadata.authorization_endpoint;
        Ok(format!("{at}{}{query}", if at.contains('?') { '&' } else { '?' }))
    }

    /// The ID token that the issuer gives for `code`. Its signature is the API server's to check, which is shown it: here it comes
    /// from the issuer itself, over TLS.
    ///
    /// # Errors
    /// If the issuer does not take the code, or the token is not for us and this browser.
    pub async fn redeem(&self, code: &str, proof: &Proof<'_>) -> Result<String, IssuerError> {
        let metadata = self.metadata().await?;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", proof.redirect_uri),
            ("code_verifier", proof.verifier),
        ];
        let mut request = Request::post(&metadata.token_endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        let by_form = |method: &str| metadata.token_endpoint_auth_methods_supported.iter().any(|known| known == method);
        match &self.settings.client_secret {
            Some(secret) if by_form("client_secret_post") && !by_form("client_secret_basic") => {
                fields.extend([("client_id", self.settings.client_id.as_str()), ("client_secret", secret)]);
            }
            Some(secret) => request = request.header(header::AUTHORIZATION, basic(&self.settings.client_id, secret)?),
            None => fields.push(("client_id", &self.settings.client_id)),
        }
        let request = request.body(Full::new(form(&fields).into())).map_err(|error| wrong(error.to_string()))?;
        let (status, body) = self.ask(request).await?;
        if status != StatusCode::OK {
            let error = body["error"].as_str().unwrap_or_default();
            let error: String = error.chars().filter(char::is_ascii_graphic).take(64).collect();
            return Err(wrong(format!("{} does not take the sign-in: {status} {error}", self.host())));
        }
        let token = body["id_token"].as_str().ok_or_else(|| wrong(format!("{} gives no ID token", self.host())))?;
        self.check(token, proof.nonce).map_err(|why| wrong(format!("the ID token of {} {why}", self.host())))?;
        Ok(token.to_owned())
    }

    fn check(&self, token: &str, nonce: &str) -> Result<(), &'static str> {
        let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        let claims = claims.ok_or("cannot be read")?;
        let audience = match &claims["aud"] {
            Value::Array(many) => many.iter().any(|one| one == &self.settings.client_id),
            one => one == &self.settings.client_id,
        };
        if claims["iss"] != self.settings.issuer {
            return Err("is another issuer's");
        }
        if !audience {
            return Err("is not for this client (JCT_OIDC_CLIENT_ID)");
        }
        if claims["nonce"] != nonce {
            return Err("is of another sign-in");
        }
        if claims["exp"].as_i64().is_none_or(|until| until <= Timestamp::now().as_second()) {
            return Err("has ended");
        }
        Ok(())
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, IssuerError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = |since: &Instant, found: &Result<_, _>| {
            since.elapsed() < if found.is_ok() { BELIEVED.0 } else { BELIEVED.1 }
        };
        if let Some((since, found)) = known
            && is_fresh(&since, &found)
        {
            return found;
        }
        let found = self.discover().await.map(Arc::new);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found.clone()));
        found
    }

    async fn discover(&self) -> Result<Metadata, IssuerError> {
        let (issuer, host) = (&self.settings.issuer, self.host());
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let request = Request::get(url).header(header::ACCEPT, "application/json").body(Full::default());
        let (status, body) = self.ask(request.map_err(|error| wrong(error.to_string()))?).await?;
        if status != StatusCode::OK {
            return Err(wrong(format!("{host} answers {status} where its OpenID configuration should be")));
        }
        let metadata: Metadata = serde_json::from_value(body)
            .map_err(|error| wrong(format!("what {host} says of itself cannot be read: {error}")))?;
        if metadata.issuer != *issuer {
            return Err(wrong(format!("{host} calls itself another issuer than JCT_OIDC_ISSUER_URL does")));
        }
        for endpoint in [&metadata.authorization_endpoint, &metadata.token_endpoint] {
            check_url(endpoint, false).map_err(|why| wrong(format!("an endpoint of {host} {why}")))?;
        }
        Ok(metadata)
    }

    /// One answer. Redirects are not followed.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value), IssuerError> {
        let host = self.host();
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| wrong(format!("{host} cannot be reached: {}", causes(&error))))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MOST).collect().await;
            let body = body.map_err(|_| wrong(format!("the answer of {host} broke off, or is too long")))?;
            Ok((head.status, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
        };
        let late = |_| wrong(format!("{host} does not answer within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, exchange).await.map_err(late)?
    }
}

/// What proves later that the same browser came back (RFC 7636, section 4.2).
fn challenge(verifier: &str) -> String {
    use sha2::{Digest as _, Sha256};
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// RFC 6749, section 2.3.1.
fn basic(client_id: &str, secret: &str) -> Result<HeaderValue, IssuerError> {
    let [client_id, secret] = [client_id, secret].map(encoded);
    let mut value =
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(format!("{client_id}:{secret}"))))
            .map_err(|error| wrong(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    percent_encoded(text.as_bytes(), b"-._~")
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_as_in_the_example_of_its_specification() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
