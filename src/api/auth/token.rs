//! What can be told of a bearer token without asking.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

/// Longer ones are nobody's: those of Kubernetes have about 1,000 characters.
const MAX_BYTES: usize = 16 * 1024;

/// The header for a token on a way that takes `Authorization` for itself, such as the API server's proxy to Services.
pub const TOKEN: HeaderName = HeaderName::from_static("x-jct-token");

/// The token that a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    Nothing,
    /// Something that has not the form of one.
    NoToken,
    /// This one.
    Token(&'a str),
}

/// The token in these headers: that of `X-JCT-Token`, which nobody sends by chance, before that of `Authorization`.
pub fn sent(headers: &HeaderMap) -> Sent<'_> {
    let token = match (headers.get(TOKEN), headers.get(header::AUTHORIZATION)) {
        (Some(value), _) => value.to_str().ok().map(str::trim).filter(|token| is_token(token)),
        (None, Some(value)) => value.to_str().ok().and_then(of_header),
        (None, None) => return Sent::Nothing,
    };
    token.map_or(Sent::NoToken, Sent::Token)
}

/// The token in the value of an `Authorization` header, if it has the form of one (RFC 6750).
fn of_header(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

fn is_token(token: &str) -> bool {
    (1..=MAX_BYTES).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
}

/// How long a token that was found valid stays so: till its `exp`, without end if it names none.
pub fn time_left(token: &str, now: Timestamp) -> Duration {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    let Some(Claims { exp }) = claims else { return Duration::MAX };
    #[allow(clippy::cast_precision_loss)] // Milliseconds of this era fit.
    let left = exp - now.as_millisecond() as f64 / 1000.0;
    Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_its_header() {
        assert_eq!(of_header("Bearer abc.def-_~+/=="), Some("abc.def-_~+/=="));
        assert_eq!(of_header("bearer  x"), Some("x"));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic abc",
            "Bearer a b",
            "Bearer a,b",
            &format!("Bearer {}", "x".repeat(20_000)),
        ] {
            assert_eq!(of_header(bad), None, "{bad:.20}");
        }
    }

    #[test]
    fn a_token_may_have_a_header_of_its_own() {
        let of = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<axum::http::HeaderValue>().unwrap())
            });
            let headers = HeaderMap::from_iter(headers);
            match sent(&headers) {
                Sent::Token(token) => token.to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(of(&[]), "Nothing");
        assert_eq!(of(&[("authorization", "Bearer a")]), "a");
        assert_eq!(of(&[("x-jct-token", "b")]), "b");
        assert_eq!(of(&[("authorization", "Basic xyz"), ("x-jct-token", "b")]), "b", "a proxy's own");
        assert_eq!(of(&[("authorization", "Bearer a"), ("x-jct-token", "Bearer b")]), "NoToken", "no way around");
    }

    #[test]
    fn a_token_lives_till_its_exp() {
        let now = Timestamp::from_second(1_000).unwrap();
        let token = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(time_left(&token(r#"{"exp": 1007}"#), now), Duration::from_secs(7));
        assert_eq!(time_left(&token(r#"{"exp": 900}"#), now), Duration::ZERO);
        for endless in [token("{}"), token(r#"{"exp": 1e300}"#), "opaque".into(), "a.!!.c".into()] {
            assert_eq!(time_left(&endless, now), Duration::MAX);
        }
    }
}
