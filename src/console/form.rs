//! What is sent by forms.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Console;
use super::failure::Failure;
use super::keys::same;
use super::session::Visitor;

/// Tokens have at most 16 KiB.
const MOST: usize = 64 << 10;

/// The fields of a form. One who is signed in has to send what their page had.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl FromRequest<Console> for Form {
    type Rejection = Response;

    async fn from_request(mut request: Request, console: &Console) -> Result<Self, Response> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        *request.body_mut() =
            axum::body::Body::new(http_body_util::Limited::new(std::mem::take(request.body_mut()), MOST));
        let fields = axum::Form::<Vec<(String, String)>>::from_request(request, console).await;
        let bad = |_| Failure::new(StatusCode::BAD_REQUEST, "the form cannot be read").into_response();
        let form = Self(fields.map_err(bad)?.0);
        match visitor {
            Some(visitor) if !same(form.get("csrf"), &visitor.who.csrf) => {
                let message = "the page is not of this session any more: load it again";
                Err(Failure::new(StatusCode::FORBIDDEN, message).into_response())
            }
            _ => Ok(form),
        }
    }
}

impl Form {
    /// The first field of this name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}
