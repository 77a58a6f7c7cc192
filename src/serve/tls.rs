//! TLS of a port: its certificate, which may change, and whom it believes a client certificate of.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// What should be PEM is not, or lacks what is needed.
    #[error("{0}")]
    Pem(String),
    /// Certificate, key or CA are of no use.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// Whose client certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCa {
    /// PEM file with one or more CA certificates. Read again when it changes.
    pub file: PathBuf,
    /// Common names or DNS names of which a certificate must have one; any will do when empty.
    pub names: Vec<String>,
}

/// What is served now; a reload reaches new connections at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client_ca: Option<ClientCa>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    certificate: String,
    key: String,
    client_ca: Vec<u8>,
}

impl Tls {
    /// Serves this certificate and key, both PEM, and asks for client certificates if there is a `client_ca`.
    ///
    /// # Errors
    /// If they do not make a TLS server; names the file where it is one.
    pub fn new(certificate: &str, key: &str, client_ca: Option<ClientCa>) -> Result<Self, TlsError> {
        let state = State::load(certificate, key, client_ca.as_ref())?;
        Ok(Self(Arc::new(Shared { client_ca, state: RwLock::new(state) })))
    }

    /// Serves this certificate from now on.
    ///
    /// # Errors
    /// As for [`Tls::new`]; the old one goes on being served.
    pub fn reload(&self, certificate: &str, key: &str) -> Result<(), TlsError> {
        let state = State::load(certificate, key, self.0.client_ca.as_ref())?;
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    /// Takes up a changed file of client CAs; whether it has changed.
    ///
    /// # Errors
    /// As for [`Tls::new`]; the old ones go on being believed.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let Some(ca) = &self.0.client_ca else { return Ok(false) };
        let (certificate, key) = {
            let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
            if read(&ca.file)? == state.client_ca {
                return Ok(false);
            }
            (state.certificate.clone(), state.key.clone())
        };
        self.reload(&certificate, &key).map(|()| true)
    }

    /// Whether client certificates are asked for.
    pub fn authenticates(&self) -> bool {
        self.0.client_ca.is_some()
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Whether the holder of this certificate, which the handshake has verified, is one of those who are meant.
    pub(super) fn believes(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(ca) = &self.0.client_ca else { return false };
        ca.names.is_empty() || names(certificate).iter().any(|name| ca.names.contains(name))
    }
}

impl State {
    fn load(certificate: &str, key: &str, client_ca: Option<&ClientCa>) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| TlsError::Pem(format!("the certificate is not PEM: {error}")))?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| TlsError::Pem(format!("the key is not PEM: {error}")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let mut bytes = Vec::new();
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                bytes = read(&ca.file)?;
                let roots = Arc::new(roots(&ca.file, &bytes)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| TlsError::Pem(format!("{}: {error}", ca.file.display())))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, private)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate: certificate.into(), key: key.into(), client_ca: bytes })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| TlsError::File(file.into(), error))
}

fn roots(file: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let bad = |why: String| TlsError::Pem(format!("{}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| bad(format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| bad(format!("holds a certificate of no use: {error}")))?;
    }
    if roots.is_empty() { Err(bad("holds no certificate".into())) } else { Ok(roots) }
}

/// The common names and the DNS names of a certificate.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned));
    let mut names: Vec<String> = common.collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        names.extend(alternatives.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    names
}
