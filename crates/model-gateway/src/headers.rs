//! The headers that are let through, by list. A credential that a program sends is a dummy, or somebody else's: neither goes
//! on. What the record wants to know of the program stops at the broker.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Of requests, on both ways.
const OF_REQUESTS: [&str; 3] = ["content-type", "accept", "openai-beta"];
/// Of requests, all that begin so.
const OPEN: &str = "anthropic-";
/// But these.
const CLOSED: [&str; 2] = ["anthropic-workspace-id", "anthropic-organization-id"];
/// Of requests, from the relay to the broker alone: which part of the program asks, and in which conversation.
pub(crate) const AGENT: &str = "x-claude-code-agent-id";
/// The same.
pub(crate) const SESSION: &str = "x-claude-code-session-id";
/// Of answers.
const OF_RESPONSES: [&str; 8] = [
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "request-id",
    "x-request-id",
    "openai-processing-ms",
    "openai-version",
];
/// Of answers, all that begin so: what is left of the provider's rate limits.
const LIMITS: [&str; 2] = ["anthropic-ratelimit-", "x-ratelimit-"];

/// What a provider gets to see.
pub fn to_provider(headers: &HeaderMap) -> HeaderMap {
    let mut kept =
        filtered(headers, |name| OF_REQUESTS.contains(&name) || name.starts_with(OPEN) && !CLOSED.contains(&name));
    // Usage is read from what comes back, and it is passed on as it is.
    kept.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    kept
}

/// What the broker gets to see, without the identity that the relay adds.
pub fn to_broker(headers: &HeaderMap) -> HeaderMap {
    let mut kept = to_provider(headers);
    kept.extend(filtered(headers, |name| [AGENT, SESSION].contains(&name)));
    kept
}

/// What the program gets to see.
pub fn to_program(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, |name| OF_RESPONSES.contains(&name) || LIMITS.iter().any(|open| name.starts_with(open)))
}

fn filtered(headers: &HeaderMap, keep: impl Fn(&str) -> bool) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| keep(name.as_str()));
    kept.map(|(name, value): (&HeaderName, &HeaderValue)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn credentials_and_all_that_is_not_known_stay_behind() {
        let mut sent = HeaderMap::new();
        let kept = ["accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta"];
        let agent = ["x-claude-code-session-id"];
        let dropped = [
            "authorization",
            "x-api-key",
            "x-goog-api-key",
            "cookie",
            "openai-organization",
            "openai-project",
            "anthropic-workspace-id",
            "proxy-authorization",
            "connection",
            "upgrade",
            "transfer-encoding",
            "x-forwarded-for",
            "host",
            "user-agent",
        ];
        for name in kept.iter().chain(&agent).chain(&dropped) {
            sent.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        sent.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("zstd, gzip"));
        let to_provider = to_provider(&sent);
        assert_eq!(to_provider[header::ACCEPT_ENCODING], "identity");
        let mut expected = [kept.as_slice(), &["accept-encoding"]].concat();
        expected.sort_unstable();
        assert_eq!(names(&to_provider), expected);
        expected.extend(agent);
        expected.sort_unstable();
        assert_eq!(names(&to_broker(&sent)), expected);
    }

    #[test]
    fn answers_bring_no_cookies_and_no_places_to_go() {
        let mut sent = HeaderMap::new();
        for name in
            ["set-cookie", "location", "content-encoding", "alt-svc", "retry-after", "x-ratelimit-reset", "server"]
        {
            sent.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        assert_eq!(names(&to_program(&sent)), ["retry-after", "x-ratelimit-reset"]);
    }
}
