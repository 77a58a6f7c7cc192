//! A browser without a screen: it keeps the cookie, and sends what browsers send.

use std::sync::Mutex;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use jct::serve::Peer;

use crate::world::World;

/// Where the console is, through a port-forward.
pub const HOST: &str = "127.0.0.1:4711";
pub const ORIGIN: &str = "http://127.0.0.1:4711";

pub struct Browser<'w> {
    world: &'w World,
    pub cookie: Mutex<String>,
}

/// What it is shown.
pub struct Page {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value that its forms send as `csrf`.
    pub fn csrf(&self) -> &str {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").expect("the page has a form");
        rest.split('"').next().unwrap()
    }
}

pub fn from_near(mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Peer { address: "127.0.0.1".parse().unwrap(), certified: false });
    request
}

impl<'w> Browser<'w> {
    pub fn new(world: &'w World) -> Self {
        Self { world, cookie: Mutex::default() }
    }

    /// One that is signed in with this token.
    pub async fn signed_in(world: &'w World, token: &str) -> Self {
        let browser = Self::new(world);
        let answer = browser.post("/console/sign-in", &[("token", token)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/console"), "{}", answer.text);
        browser
    }

    pub async fn unread(&self, request: http::request::Builder, body: String) -> Response<Body> {
        let cookie = self.cookie.lock().unwrap().clone();
        let request = if cookie.is_empty() { request } else { request.header("cookie", cookie) };
        let response = self.world.browse(from_near(request.body(Body::from(body)).unwrap())).await;
        if let Some(set) = response.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap();
            *self.cookie.lock().unwrap() = if set.contains("Max-Age=0") { String::new() } else { pair.to_owned() };
        }
        response
    }

    pub async fn send(&self, request: http::request::Builder, body: String) -> Page {
        let (head, body) = self.unread(request, body).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Page { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(Request::get(path).header("host", HOST), String::new()).await
    }

    /// Sends a form from a page of ours.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = Request::post(path).header("host", HOST).header("origin", ORIGIN);
        self.send(as_form(request), form(fields)).await
    }
}

pub fn as_form(request: http::request::Builder) -> http::request::Builder {
    request.header("content-type", "application/x-www-form-urlencoded")
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| jct::domain::url::percent_encoded(text.as_bytes(), b"-._~");
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}
