//! How others are reached.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
pub use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::body::BoxError;
use crate::{Broker, Identity, Ledger};

/// Until a connection is made, or another address is tried.
const CONNECT: Duration = Duration::from_secs(10);

/// HTTP/1.1, over TLS where an address says so.
pub type Https = HttpsConnector<HttpConnector>;

/// TCP, below TLS. Without Nagle's delay: a request's head and body are two writes, and the second would wait for the other
/// side to acknowledge the first, which takes it 40 ms.
pub fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(Duration::from_secs(60)));
    connector.enforce_http(false);
    connector
}

/// The same with TLS, believing whom `roots` vouch for.
///
/// # Errors
/// If there is no version of TLS that both can speak.
pub fn https(roots: RootCertStore) -> Result<Https, rustls::Error> {
    https_over(tcp(), roots)
}

/// TLS over connections of another kind.
///
/// # Errors
/// As [`https`].
pub fn https_over<T>(tcp: T, roots: RootCertStore) -> Result<HttpsConnector<T>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp))
}

/// TLS for which a public authority vouches, or of some hosts one that is named: nobody else does then.
#[derive(Clone)]
pub struct Trusting {
    public: Https,
    named: Arc<RwLock<BTreeMap<String, Https>>>,
}

impl Trusting {
    /// Nobody but public authorities so far.
    ///
    /// # Errors
    /// As [`https`].
    pub fn new() -> Result<Self, rustls::Error> {
        Ok(Self { public: https(public_roots())?, named: Arc::default() })
    }

    /// From now on these authorities vouch for these hosts (`HOST` or `HOST:PORT`, as an address has it).
    pub fn trust(&self, named: BTreeMap<String, Https>) {
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = named;
    }

    fn of(&self, address: &Uri) -> Https {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let authority = address.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        named.get(authority).unwrap_or(&self.public).clone()
    }
}

impl tower::Service<Uri> for Trusting {
    type Response = <Https as tower::Service<Uri>>::Response;
    type Error = BoxError;
    type Future = <Https as tower::Service<Uri>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        self.of(&address).call(address)
    }
}

/// A broker of this process, whatever address is asked for: there is no network between the two.
pub fn in_process<L, I, C>(broker: Broker<L, I, C>) -> impl Connect + Clone + Send + Sync + 'static
where
    L: Ledger,
    I: Identity,
    C: Connect + Clone + Send + Sync + 'static,
{
    tower::service_fn(move |_: Uri| {
        let broker = broker.clone();
        Box::pin(async move {
            let (ours, its) = tokio::net::UnixStream::pair()?;
            tokio::spawn(async move { broker.serve(its).await });
            Ok::<_, io::Error>(TokioIo::new(ours))
        })
    })
}

/// Whom browsers believe.
pub fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The certificates of a text in PEM, and nobody else's.
///
/// # Errors
/// In words, if there are none, or what is there is none.
pub fn roots_of(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate is of no use: {error}"))?;
    }
    if roots.is_empty() { Err("there is no certificate".into()) } else { Ok(roots) }
}
