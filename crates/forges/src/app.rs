//! GitHub Apps: a token for one repository, with the least rights, for an hour.
//!
//! <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>
//! and <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use jct_domain::task::Repo;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::client::{Authorization, CallError, ForgeClient};
use crate::credential::Login;

/// Clocks differ: GitHub refuses what is made in its future, and what ends more than ten minutes after.
const BEFORE: SignedDuration = SignedDuration::from_secs(60);
const AFTER: SignedDuration = SignedDuration::from_secs(540);

/// What a token is for: it gets no other rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To fetch.
    Read,
    /// To push a branch, and ask for it to be taken over.
    Deliver,
    /// To see what becomes of that.
    FollowUp,
}

impl Purpose {
    /// <https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps>. Workflows are none of them: GitHub
    /// refuses a push that changes one.
    fn permissions(self) -> Value {
        match self {
            Self::Read => json!({"contents": "read"}),
            Self::Deliver => json!({"contents": "write", "pull_requests": "write"}),
            Self::FollowUp => {
                json!({"contents": "read", "pull_requests": "read", "checks": "read", "statuses": "read"})
            }
        }
    }
}

/// An App, as installed for an account.
#[derive(Clone)]
pub struct App {
    id: String,
    installation: String,
    key: Arc<KeyPair>,
}

impl App {
    /// By its private key, as GitHub hands it out.
    pub(crate) fn new(id: String, installation: String, pem: &[u8]) -> Result<Self, &'static str> {
        const WRONG: &str = "private-key must be the RSA key in PEM that GitHub made for the App";
        let key = match PrivateKeyDer::from_pem_slice(pem).map_err(|_| WRONG)? {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(WRONG),
        };
        Ok(Self { id, installation, key: Arc::new(key.map_err(|_| WRONG)?) })
    }

    /// By which the App itself is known, for some minutes.
    pub(crate) fn assertion(&self, now: Timestamp) -> Result<Authorization, CallError> {
        let seconds = |at: Result<Timestamp, jiff::Error>| at.map_or(0, Timestamp::as_second);
        let claims =
            json!({"iss": self.id, "iat": seconds(now.checked_sub(BEFORE)), "exp": seconds(now.checked_add(AFTER))});
        let parts = [json!({"alg": "RS256", "typ": "JWT"}), claims];
        let signed = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let mut signature = vec![0; self.key.public().modulus_len()];
        let made = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        made.map_err(|_| CallError::Refused("the App's private key signs nothing".into()))?;
        Authorization::bearer(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(crate) async fn token(
        &self,
        client: &ForgeClient,
        repo: &Repo,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Login, CallError> {
        let name = repo.as_str().split('/').next_back().unwrap_or_default();
        let body = json!({"repositories": [name], "permissions": purpose.permissions()});
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let answer = client.call(Method::POST, &path, Some(&self.assertion(now)?), Some(&body)).await?;
        let why = match answer.status {
            StatusCode::CREATED => return made(&answer.json()?, repo),
            StatusCode::UNAUTHORIZED => {
                "the App is not known by app-id and private-key, or this machine's clock is wrong"
            }
            StatusCode::FORBIDDEN => "the App's installation is suspended, or it is asked too often",
            StatusCode::NOT_FOUND => "the App has no such installation (installation-id)",
            StatusCode::UNPROCESSABLE_ENTITY => {
                "the App's installation does not have this repository, or not the rights that are needed (contents; for pull requests pull_requests)"
            }
            _ => return Err(answer.unexpected()),
        };
        Err(CallError::Refused(format!("{why} ({})", answer.status.as_u16())))
    }
}

/// The token of an answer, if it is for this repository: an installation of another account may have one of the same name.
fn made(answer: &Value, repo: &Repo) -> Result<Login, CallError> {
    let strange = |what: &str| CallError::Refused(format!("GitHub made {what}"));
    let token =
        answer["token"].as_str().filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    let token = token.ok_or_else(|| strange("no token"))?;
    let named = answer["repositories"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_it = |one: &Value| one["full_name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(repo.as_str()));
    match named {
        [only] if is_it(only) => Ok(Login { username: "x-access-token".into(), token: token.into() }),
        _ => Err(strange("a token that is not for this one repository: the App's installation is another account's")),
    }
}
