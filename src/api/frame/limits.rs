//! What one request, one caller and all together may take. Who is turned away is told when to come again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::error::Problem;

/// How many requests are being served.
#[derive(Debug)]
pub struct Limits {
    all: Arc<Semaphore>,
    each: usize,
    served: Arc<Mutex<HashMap<String, usize>>>,
}

impl Limits {
    /// At most `all` requests at once, and half of them of one caller.
    pub fn new(all: usize) -> Self {
        Self::with_share(all, all.div_ceil(2))
    }

    /// At most `all` at once, and `each` of them of one caller.
    pub fn with_share(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, served: Arc::default() }
    }

    /// A place for something that lasts longer than the request that asks for it.
    pub fn hold(&self, username: &str) -> Result<Held, Full> {
        let place = self.place(username).ok_or(Full::OfCaller)?;
        let permit = self.all.clone().try_acquire_owned().map_err(|_| Full::OfAll)?;
        Ok(Held { _place: place, _permit: permit })
    }

    /// A place for one more request of this user, if there is one.
    fn place(&self, username: &str) -> Option<Place> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let count = served.entry(username.into()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Place { username: username.into(), served: self.served.clone() })
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Held {
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The caller has as many as one may have.
    OfCaller,
    OfAll,
}

/// A place that is given back when it is dropped.
#[derive(Debug)]
struct Place {
    username: String,
    served: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = served.get_mut(&self.username) {
            *count -= 1;
            if *count == 0 {
                served.remove(&self.username);
            }
        }
    }
}

/// Middleware: 503 at once when too many requests are being served, so that those that are can end.
pub async fn shed(State(api): State<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    let Ok(_permit) = api.limits.all.try_acquire() else {
        let message = "too many requests are being served; try again";
        return Err(Problem::named(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(1));
    };
    Ok(next.run(request).await)
}

/// Middleware: 429 to a caller who has half of the places, so that one can't keep out the others.
pub async fn per_caller_limit(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(_place) = api.limits.place(caller.username()) else {
        let message = "too many of your requests are being served; try again when some have ended";
        return Err(Problem::named(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message).retry_after(1));
    };
    Ok(next.run(request).await)
}

/// Middleware: 504 to a request that takes too long, its reading included.
pub async fn request_timeout(State(api): State<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    let late = |_| {
        let message = "the request took too long; what it asked for may or may not have been done";
        Problem::named(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    };
    tokio::time::timeout(api.settings.timeout, next.run(request)).await.map_err(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_half_of_the_places_and_gives_them_back() {
        let limits = Limits::new(4);
        let places = (limits.place("ada"), limits.place("ada"));
        assert!(places.0.is_some() && places.1.is_some());
        assert!(limits.place("ada").is_none());
        assert!(limits.place("bob").is_some());
        drop(places);
        assert!(limits.place("ada").is_some());
        assert!(limits.served.lock().unwrap().is_empty());
    }
}
