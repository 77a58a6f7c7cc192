//! Headers that keep what an executor made from acting on whoever looks at it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::domain::url::percent_encoded;

/// Media types that a file is served with; any other becomes the last one: what a browser would run or render is bytes.
const PLAIN: [&str; 12] = [
    "text/plain; charset=utf-8",
    "text/markdown; charset=utf-8",
    "text/x-diff; charset=utf-8",
    "text/csv; charset=utf-8",
    "application/json",
    "application/jsonl",
    "application/yaml",
    "application/zip",
    "application/gzip",
    "image/png",
    "image/jpeg",
    "application/octet-stream",
];

/// A page that is opened from an answer all the same can do nothing, and is of no origin.
const POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// The media type to serve for one that was recorded.
pub fn plain(recorded: &str) -> &'static str {
    PLAIN.into_iter().find(|known| *known == recorded).unwrap_or("application/octet-stream")
}

/// The headers of a download called `name`, of a media type of [`plain`].
pub fn download(name: &str, media_type: &'static str) -> HeaderMap {
    let mut headers = inert(media_type);
    if let Ok(value) = HeaderValue::from_str(&disposition(name)) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    headers
}

/// The headers of what is no file of its own.
pub fn inert(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ])
}

/// `Content-Disposition` (RFC 6266): the name in ASCII for old clients, and as it is.
fn disposition(name: &str) -> String {
    const KEPT: &[u8] = b"._-";
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || KEPT.contains(&b);
    let ascii: String = name.chars().map(|c| if u8::try_from(c).is_ok_and(is_plain) { c } else { '_' }).collect();
    let encoded = percent_encoded(name.as_bytes(), KEPT);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("report.md", "attachment; filename=\"report.md\"; filename*=UTF-8''report.md")]
    #[case("größe.txt", "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt")]
    #[case("a\"; x=\"\r\nb", "attachment; filename=\"a___x____b\"; filename*=UTF-8''a%22%3B%20x%3D%22%0D%0Ab")]
    fn a_name_breaks_no_header(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(disposition(name), expected);
        assert!(download(name, plain("text/plain")).contains_key(header::CONTENT_DISPOSITION));
    }

    #[rstest]
    #[case("text/markdown; charset=utf-8", "text/markdown; charset=utf-8")]
    #[case("text/html; charset=utf-8", "application/octet-stream")]
    #[case("image/svg+xml", "application/octet-stream")]
    #[case("application/xml", "application/octet-stream")]
    #[case("application/pdf", "application/octet-stream")]
    #[case("text/plain; charset=utf-7", "application/octet-stream")]
    #[case("x\r\nset-cookie: y", "application/octet-stream")]
    fn what_a_browser_would_run_is_bytes(#[case] recorded: &str, #[case] served: &str) {
        assert_eq!(plain(recorded), served);
    }
}
