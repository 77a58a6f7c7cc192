//! How receivers are reached: over TLS, and never at addresses of a machine's own neighbourhood, where clouds have what only the
//! machine may know.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use jct_model_gateway::connect::{https_over, public_roots, roots_of};
use tower::Service;

/// Until a connection is made.
const CONNECT: Duration = Duration::from_secs(5);

/// Finds a host's addresses.
#[derive(Clone, Debug)]
pub(crate) struct Resolver;

/// HTTP/1.1, over TLS where an address says so.
pub(crate) type Https = HttpsConnector<HttpConnector<Resolver>>;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|address| is_link_local(address.ip())) {
                return Err(io::Error::other("its name leads to a link-local address, which no receiver may have"));
            }
            Ok(found.into_iter())
        })
    }
}

/// Whether it is an address of the neighbourhood alone: of link, or of the metadata service of a cloud.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.is_link_local(),
            None => address.is_unicast_link_local() || address.segments().starts_with(&[0xfd00, 0xec2]),
        },
    }
}

/// For a receiver whom these certificates vouch for; without, those that browsers believe.
pub(crate) fn https(ca_bundle: Option<&str>) -> Result<Https, String> {
    let roots = ca_bundle.map_or_else(|| Ok(public_roots()), roots_of).map_err(|error| format!("caBundle: {error}"))?;
    let mut tcp = HttpConnector::new_with_resolver(Resolver);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.enforce_http(false);
    https_over(tcp, roots).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("169.254.169.254", true)]
    #[case("::ffff:169.254.169.254", true)]
    #[case("fe80::1", true)]
    #[case("fd00:ec2::254", true)]
    #[case("10.0.0.1", false)]
    #[case("127.0.0.1", false)]
    #[case("2001:db8::1", false)]
    fn the_neighbourhood_is_nobodys_receiver(#[case] address: &str, #[case] is_near: bool) {
        assert_eq!(is_link_local(address.parse().unwrap()), is_near);
    }
}
