//! Speaks to forges (docs/forges.md): reads their credentials, has a GitHub App's tokens made for one repository, and asks what a
//! credential may do. Nothing here writes to a forge.
//!
//! No error repeats a credential, or what a server said about one.

#![warn(missing_docs)] // other crates use it

mod app;
mod check;
mod client;
mod credential;

pub use app::Purpose;
pub use check::{Seen, advertised, permitted};
pub use client::{Answer, Authorization, CallError, ForgeClient};
pub use credential::{Login, Secret, WrongSecret};

/// A login for one repository: that of the Secret, or, of a GitHub App, a token that is made for it.
///
/// # Errors
/// If the forge does not answer, or makes none.
pub async fn login(
    forge: &jct_domain::forge::Forge,
    secret: &Secret,
    repo: &jct_domain::task::Repo,
    purpose: Purpose,
    now: jiff::Timestamp,
) -> Result<Login, CallError> {
    match secret {
        Secret::Token { username, token } => Ok(Login {
            username: username.clone().unwrap_or_else(|| forge.default_username().into()),
            token: token.clone(),
        }),
        Secret::App(app) => {
            let client = ForgeClient::new(forge).map_err(CallError::Refused)?;
            app.token(&client, repo, purpose, now).await
        }
    }
}
