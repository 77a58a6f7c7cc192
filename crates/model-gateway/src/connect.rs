//! How others are reached, below TLS.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// Until a connection is made, or another address is tried.
const CONNECT: Duration = Duration::from_secs(10);

/// TCP, for a TLS connector to wrap. Without Nagle's delay: a request's head and body are two writes, and the second would wait
/// for the other side to acknowledge the first, which takes it 40 ms.
pub fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(Duration::from_secs(60)));
    connector.enforce_http(false);
    connector
}
