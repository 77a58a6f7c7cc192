//! Where a request arrived, and from whom.

use axum::extract::Request;
use axum::http::{Extensions, header};

use super::{KeepBusy, Peer};

/// The host by which a request calls this place, with its port, if it names one.
pub fn host<B>(request: &axum::http::Request<B>) -> Option<&str> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    host.or(request.uri().authority().map(|authority| authority.as_str()))
}

/// From where a request came, for those that are made for it within this process.
#[derive(Clone, Default)]
pub struct Arrival {
    peer: Option<Peer>,
    keep_busy: Option<KeepBusy>,
}

impl Arrival {
    /// That of the request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        Self { peer: extensions.get().copied(), keep_busy: extensions.get().cloned() }
    }

    /// Makes `request` one that came from there.
    pub fn pass_on(&self, request: &mut Request) {
        let extensions = request.extensions_mut();
        self.peer.map(|peer| extensions.insert(peer));
        self.keep_busy.clone().map(|keep_busy| extensions.insert(keep_busy));
    }
}
