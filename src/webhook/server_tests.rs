//! The webhook over TLS: who is answered, and who is not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::certificates::Identity;
use super::review_tests::reviewer;
use super::{Outlets, router};
use crate::serve::{ClientCa, Limits, Tls, serve_on};
use crate::shared::{Announcer, DenialMetrics, Denials, NamespaceLimits, Waiting};
use crate::webhook::WebhookMetrics;

const NAME: &str = "jct-webhook.jct-system.svc";
const LIFE: Duration = Duration::from_secs(3600);

fn identity() -> Identity {
    Identity::new(&[NAME.to_owned()], LIFE, SystemTime::now()).unwrap()
}

/// A client's certificate and key, of the CA of `issuer`.
fn client(issuer: &Identity, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = Issuer::from_ca_cert_pem(&issuer.ca, KeyPair::from_pem(&issuer.ca_key).unwrap()).unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

struct TestServer {
    address: std::net::SocketAddr,
    trusts: String,
    tls: Tls,
    denials: Waiting,
    shutdown: CancellationToken,
}

impl TestServer {
    async fn open(client_ca: Option<ClientCa>) -> Self {
        let identity = identity();
        let tls = Tls::new(&identity.certificate, &identity.key, client_ca).unwrap();
        let metrics = WebhookMetrics::default();
        let (denials, waiting) = Denials::new(DenialMetrics::default());
        let outlets = Outlets { denials, events: Announcer::default() };
        let router = router(reviewer(), outlets, metrics, NamespaceLimits::none(), tls.authenticates());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let limits = Limits {
            connections: 16,
            connections_of_one: 8,
            handshake: Duration::from_millis(300),
            head: Duration::from_millis(300),
            idle: Duration::from_secs(2),
            grace: Duration::from_secs(1),
        };
        tokio::spawn(serve_on(listener, Some(tls.clone()), router, limits, shutdown.clone()));
        Self { address, trusts: identity.ca, tls, denials: waiting, shutdown }
    }

    /// Status and body of the answer to a review that is denied; none where there is no connection.
    async fn ask(&self, certificate: Option<&(String, String)>) -> Option<(u16, String)> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.trusts.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let body = review().to_string();
        let head = format!(
            "POST /mutate HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // Of TLS 1.3 a client learns late that its certificate is not taken.
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "01KJMMA2G027CE4HT1RZKZBW4A", "operation": "CREATE", "name": "t", "namespace": "payments",
            "kind": {"group": "jct.dev", "version": "v1", "kind": "Task"},
            "resource": {"group": "jct.dev", "version": "v1", "resource": "tasks"},
            "userInfo": {"username": "ceo@example.org"},
            "object": {"metadata": {"name": "t"}, "spec": {"operation": "dance"}},
        },
    })
}

fn ca_file(folder: &TempDir, pem: &str) -> std::path::PathBuf {
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, pem).unwrap();
    file
}

#[tokio::test]
async fn with_a_client_ca_only_its_certificates_are_answered_and_believed() {
    let (cluster, stranger, folder) = (identity(), identity(), tempfile::tempdir().unwrap());
    let file = ca_file(&folder, &cluster.ca);
    let mut server = TestServer::open(Some(ClientCa { file, names: vec!["kube-apiserver".into()] })).await;
    let (status, body) = server.ask(None).await.unwrap();
    assert_eq!(status, 403, "{body}");
    assert_eq!(server.ask(Some(&client(&cluster, "system:node:n1"))).await.unwrap().0, 403, "another one of that CA");
    assert_eq!(server.ask(Some(&client(&stranger, "kube-apiserver"))).await, None, "another CA");
    assert!(server.denials.take().is_empty(), "what nobody vouches for is not looked at");
    let (status, body) = server.ask(Some(&client(&cluster, "kube-apiserver"))).await.unwrap();
    assert!(status == 200 && body.contains("INVALID_OPERATION"), "{body}");
    let denials = server.denials.take();
    assert_eq!((denials.len(), denials[0].authenticated), (1, true));
}

#[tokio::test]
async fn without_a_client_ca_everybody_is_answered_and_nobody_believed() {
    let mut server = TestServer::open(None).await;
    assert_eq!(server.ask(None).await.unwrap().0, 200);
    let denials = server.denials.take();
    let [denial] = denials.as_slice() else { panic!("{denials:?}") };
    assert!(!denial.authenticated);
    assert_ne!(denial.uid, "01KJMMA2G027CE4HT1RZKZBW4A", "a denial is not called as a Task is");
}

#[tokio::test]
async fn a_client_ca_that_changes_is_taken_up() {
    let (before, after, folder) = (identity(), identity(), tempfile::tempdir().unwrap());
    let file = ca_file(&folder, &before.ca);
    let server = TestServer::open(Some(ClientCa { file, names: Vec::new() })).await;
    let (old, new) = (client(&before, "a"), client(&after, "a"));
    assert_eq!((server.ask(Some(&old)).await.unwrap().0, server.ask(Some(&new)).await), (200, None));
    assert!(!server.tls.refresh().unwrap());
    ca_file(&folder, "nonsense");
    assert!(server.tls.refresh().is_err());
    assert_eq!(server.ask(Some(&old)).await.unwrap().0, 200, "the one before holds");
    ca_file(&folder, &after.ca);
    assert!(server.tls.refresh().unwrap());
    assert_eq!((server.ask(Some(&new)).await.unwrap().0, server.ask(Some(&old)).await), (200, None));
}

#[tokio::test]
async fn a_bad_client_ca_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let identity = identity();
    let error = |file: std::path::PathBuf| {
        let ca = ClientCa { file, names: Vec::new() };
        Tls::new(&identity.certificate, &identity.key, Some(ca)).unwrap_err().to_string()
    };
    assert!(error(folder.path().join("missing")).contains("missing"));
    assert!(error(ca_file(&folder, "no PEM")).contains("ca.crt: holds no certificate"));
}

#[tokio::test]
async fn handshakes_that_never_end_keep_nobody_out() {
    let server = TestServer::open(None).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(server.ask(None).await.unwrap().0, 200);
    for stream in &mut silent {
        let closed = tokio::time::timeout(Duration::from_secs(3), stream.read_u8()).await;
        assert!(closed.is_ok(), "it is still open");
    }
}
