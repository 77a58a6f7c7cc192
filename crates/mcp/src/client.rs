//! Which program it is that asks, by its own account: it is recorded beside the user, and vouched for by nobody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use jct_domain::client::MAX_CLIENT_BYTES;
use rmcp::RoleServer;
use rmcp::service::RequestContext;

/// The header in which a program says what it is.
pub const CLIENT_HEADER: &str = "x-jct-client";
/// The header by which a client of MCP says that a request belongs to the ones before.
pub const SESSION_HEADER: &str = "mcp-session-id";

/// `name` as a client of MCP.
fn named(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.trim().chars().map(plain).take(MAX_CLIENT_BYTES - "mcp/".len()).collect();
    (!name.trim_matches('-').is_empty()).then(|| format!("mcp/{name}"))
}

/// A session id for the client of an `initialize` request with this body, if it is one. Nothing is kept here for it, so that every
/// replica understands it: it is the client's name.
pub fn session_id(body: &[u8]) -> Option<String> {
    let request: serde_json::Value = serde_json::from_slice(body).ok()?;
    if request.get("method")? != "initialize" {
        return None;
    }
    let name = named(request.pointer("/params/clientInfo/name")?.as_str()?)?;
    Some(URL_SAFE_NO_PAD.encode(name))
}

/// The client that a request with these headers says to be from.
pub fn claimed(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let of_session = text(SESSION_HEADER).and_then(|id| URL_SAFE_NO_PAD.decode(id).ok());
    let of_session = of_session.and_then(|name| String::from_utf8(name).ok());
    let of_session = of_session.and_then(|name| named(name.strip_prefix("mcp/")?));
    of_session.or_else(|| named(text("user-agent")?.split(['/', ' ']).next()?))
}

/// The client of a request.
pub(crate) fn of(context: &RequestContext<RoleServer>) -> String {
    let said = context.meta.client_info().map(|client| client.name);
    let head = context.extensions.get::<http::request::Parts>();
    let introduced = || context.peer.peer_info().map(|peer| peer.client_info.name.clone());
    let name = said.and_then(|name| named(&name));
    let name = match head {
        Some(head) => name.or_else(|| claimed(&head.headers)),
        None => name.or_else(|| named(&introduced()?)),
    };
    name.unwrap_or_else(|| "mcp/unknown".into())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use jct_domain::client::is_client;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_session_id_carries_the_name_to_every_replica() {
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"clientInfo":{"name":"Claude Code\n<x>","version":"1"}}}"#;
        let id = session_id(body).unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(
            claimed(&headers(&[("mcp-session-id", &id), ("user-agent", "node")])).unwrap(),
            "mcp/Claude-Code--x-"
        );
        assert_eq!(session_id(br#"{"method":"tools/list","params":{"clientInfo":{"name":"x"}}}"#), None);
    }

    #[rstest]
    #[case(&[("user-agent", "inspector/1.2 (node)")], Some("mcp/inspector"))]
    #[case(&[("mcp-session-id", "none of ours"), ("user-agent", "node")], Some("mcp/node"))]
    #[case(&[("mcp-session-id", "bWNwL2EKYg")], Some("mcp/a-b"))]
    #[case(&[], None)]
    fn who_says_nothing_is_known_by_its_agent(#[case] given: &[(&'static str, &str)], #[case] client: Option<&str>) {
        assert_eq!(claimed(&headers(given)).as_deref(), client);
    }

    #[rstest]
    #[case("mcp/x", true)]
    #[case("kubectl-jct", true)]
    #[case("a b", false)]
    #[case("a\n", false)]
    #[case("/x", false)]
    #[case("", false)]
    fn a_name_has_a_form(#[case] text: &str, #[case] is_one: bool) {
        assert_eq!(is_client(text), is_one);
        assert!(named(&"x".repeat(500)).is_some_and(|name| is_client(&name)));
    }
}
