//! Styles, scripts and pictures, in the program itself.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Name, media type and content.
const ASSETS: [(&str, &str, &[u8]); 4] = [
    ("console.css", "text/css; charset=utf-8", include_bytes!("assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_bytes!("assets/console.js")),
    ("htmx.min.js", "text/javascript; charset=utf-8", include_bytes!("assets/htmx.min.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
];

/// One of them. Their addresses have the version of the program, so they may be kept.
pub async fn get(Path(name): Path<String>) -> Response {
    match ASSETS.into_iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, content)) => {
            let headers =
                [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "private, max-age=3600, must-revalidate")];
            (headers, content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
