//! The console: JCT in a browser (docs/console.md).
//!
//! It is a client of the REST API in the same process: each page asks the API's own routes, with what its user is known by, and
//! shows what they answer. So it shows nobody more than REST does, under the same limits; what it has of its own is who is
//! signed in (`session`), the checks of every request (`guard`) and what pages look like.

mod assets;
mod failure;
mod form;
mod guard;
mod keys;
mod oidc;
mod pages;
mod rest;
mod session;
mod signin;
mod view;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

pub use oidc::{AskForSession, IssuerError, Oidc, OidcSettings};

use crate::crd::Trust;
use crate::store::Store;

/// How many pages are made at once: each has what the API answered in memory.
const PAGES: usize = 16;

/// The settings of the console.
#[derive(Clone, Debug, Default)]
pub struct ConsoleSettings {
    /// Where people reach it, beside a port-forward: an https URL.
    pub public_url: Option<String>,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

struct Shared {
    /// The REST API.
    rest: Router,
    store: Store,
    trust: watch::Receiver<Arc<Trust>>,
    settings: ConsoleSettings,
    oidc: Option<Oidc>,
    making: Semaphore,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Console {
    /// A console over the API `rest`, which keeps who is signed in in `store`, sealed with keys of `trust`.
    pub fn new(rest: Router, store: Store, trust: watch::Receiver<Arc<Trust>>, settings: ConsoleSettings) -> Self {
        Self::with_oidc(rest, store, trust, settings, None)
    }

    /// The same, where people may sign in at an issuer too.
    pub fn with_oidc(
        rest: Router,
        store: Store,
        trust: watch::Receiver<Arc<Trust>>,
        settings: ConsoleSettings,
        oidc: Option<Oidc>,
    ) -> Self {
        Self(Arc::new(Shared { rest, store, trust, settings, oidc, making: Semaphore::new(PAGES) }))
    }

    fn oidc(&self) -> Option<&Oidc> {
        self.0.oidc.as_ref()
    }
}

/// The API with the console beside it.
pub fn router(console: Console) -> Router {
    let rest = console.0.rest.clone();
    let behind = from_fn_with_state(console.clone(), session::require);
    let signed_in = pages::routes().route("/console/sign-out", post(signin::sign_out)).route_layer(behind);
    let open = Router::new()
        .route("/console/sign-in", get(signin::page).post(signin::by_token))
        .route("/console/sign-in/code", post(signin::by_code))
        .route("/console/sign-in/oidc", get(oidc::begin))
        .route("/console/sign-in/oidc/callback", get(oidc::callback))
        .route("/console/codes", post(signin::make_code))
        .route("/console/assets/{name}", get(assets::get));
    let guard = from_fn_with_state(console.clone(), guard::guard);
    signed_in.merge(open).layer(guard).with_state(console).merge(rest)
}
