//! People of an OpenID Connect issuer that the API server trusts: in `kubectl jct`, and in the console.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kube::config::AuthInfo;
use nix::sched::{CloneFlags, setns};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::cli::Person;
use crate::support::{NORMAL, Rest, World, kubectl, run, setting, until};

/// The issuer, as long as this is there.
struct Issuer {
    url: String,
    folder: PathBuf,
    /// What it gives for the next code.
    id_token: Arc<Mutex<String>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A listener in the cluster's network, where pods and the API server reach it: a socket stays in the namespace that it was made in.
fn on_the_node(state: &Path, address: &str) -> std::net::TcpListener {
    let namespace = format!("/run/netns/jct-{}", state.file_name().unwrap().to_str().unwrap());
    let address = address.to_owned();
    let made = std::thread::spawn(move || {
        setns(fs::File::open(&namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        std::net::TcpListener::bind(address).unwrap()
    });
    let listener = made.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    async fn start() -> Self {
        let state = PathBuf::from(setting("JCT_E2E_STATE"));
        let (folder, address) = (state.join("pki"), fs::read_to_string(state.join("issuer")).unwrap());
        let url = format!("https://{}", address.trim());
        let certificate = CertificateDer::from_pem_file(folder.join("issuer.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("issuer.key")).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::from_std(on_the_node(&state, address.trim())).unwrap();
        let id_token: Arc<Mutex<String>> = Arc::default();
        let mut issuer = Self { url, folder, id_token: id_token.clone(), serving: tokio::spawn(async {}) };
        let documents = issuer.documents().await;
        issuer.serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, documents, id_token) = (acceptor.clone(), documents.clone(), id_token.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let mut stream = BufReader::new(stream);
                    let (mut first, mut length) = (String::new(), 0);
                    stream.read_line(&mut first).await.unwrap();
                    loop {
                        let mut line = String::new();
                        stream.read_line(&mut line).await.unwrap();
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if line.trim().is_empty() {
                            break;
                        }
                    }
                    stream.read_exact(&mut vec![0; length]).await.unwrap();
                    let path = first.split(' ').nth(1).unwrap_or_default();
                    let body = match path {
                        "/token" => json!({"id_token": *id_token.lock().unwrap(), "token_type": "Bearer"}),
                        path => documents[path].clone(),
                    };
                    let body = body.to_string();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    let _ = stream.shutdown().await;
                });
            }
        });
        issuer
    }

    async fn openssl(&self, args: &[&str]) -> Vec<u8> {
        let done = tokio::process::Command::new("openssl").args(args).current_dir(&self.folder).output().await.unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    async fn documents(&self) -> Value {
        // A point that is not compressed ends with its coordinates.
        let public = self.openssl(&["ec", "-in", "issuer.key", "-pubout", "-outform", "DER"]).await;
        let point = &public[public.len() - 64..];
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "one", "x": encoded(&point[..32]), "y": encoded(&point[32..]),
        });
        let url = &self.url;
        json!({
            "/.well-known/openid-configuration": {
                "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
                "jwks_uri": format!("{url}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            },
            "/keys": {"keys": [key]},
        })
    }

    async fn id_token(&self, subject: &str, groups: &[&str], nonce: &str) -> String {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": self.url, "aud": "jct-console", "sub": subject, "groups": groups, "nonce": nonce, "iat": now, "exp": now + 600,
        });
        let head = json!({"alg": "ES256", "kid": "one"});
        let signed = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signed");
        fs::write(&file, &signed).unwrap();
        let der = self.openssl(&["dgst", "-sha256", "-sign", "issuer.key", &file.display().to_string()]).await;
        // Two numbers, each with its length before it, and a zero where it would be negative.
        let (r, rest) = (&der[4..4 + der[3] as usize], &der[4 + der[3] as usize..]);
        let s = &rest[2..2 + rest[1] as usize];
        let number = |bytes: &[u8]| {
            let bytes = &bytes[bytes.len().saturating_sub(32)..];
            [vec![0; 32 - bytes.len()], bytes.to_vec()].concat()
        };
        format!("{signed}.{}", encoded([number(r), number(s)].concat()))
    }

    async fn person(&self, world: &World, subject: &str, group: &str) -> Person {
        let token = self.id_token(subject, &[group], "").await;
        Person::new(world, |_| AuthInfo { token: Some(token.into()), ..AuthInfo::default() })
    }
}

/// By groups that alone have the rights, as issuers give them.
#[tokio::test]
async fn people_of_an_issuer_ask_and_sign_in_to_the_console() {
    let issuer = Issuer::start().await;
    let world = World::shared("oidc").await;
    let binding = ["--clusterrole=edit", "--group=oidc:developers", "--namespace", &world.namespace];
    kubectl(&[["create", "rolebinding", "developers"].as_slice(), &binding].concat()).await;
    let grace = issuer.person(&world, "grace", "developers").await;
    // The API server looks for the issuer every ten seconds until it is there.
    let known = issuer.id_token("grace", &["developers"], "").await;
    let may = [
        "auth",
        "can-i",
        "create",
        "tasks.jct.dev",
        "--namespace",
        &world.namespace,
        "--token",
        &known,
        "--kubeconfig",
    ];
    let nobody = tempfile::NamedTempFile::new().unwrap();
    let mut kubeconfig = kube::config::Kubeconfig::read_from(setting("JCT_E2E_KUBECONFIG")).unwrap();
    kubeconfig.auth_infos.clear();
    kubeconfig.contexts.iter_mut().for_each(|named| named.context.as_mut().unwrap().user = None);
    fs::write(nobody.path(), serde_yaml::to_string(&kubeconfig).unwrap()).unwrap();
    let question = [may.as_slice(), &[nobody.path().to_str().unwrap()]].concat();
    until("the issuer to be known", async || run("kubectl", &question, "").await).await;

    let repo = format!("--repo={NORMAL}");
    let asked = ["run", &repo, "--operation=analysis", "--objective=Look around", "--name=mine"];
    assert!(grace.expect(0, &asked).await.contains("completed after"));
    assert!(grace.expect(0, &["why", "mine"]).await.contains("submitted by oidc:grace"));
    let guest = issuer.person(&world, "grace", "guests").await;
    assert!(guest.expect(2, &["get", "mine"]).await.contains("forbidden"), "the control: it is the group that may");

    for (group, signs_in) in [("developers", true), ("guests", false)] {
        let shown = sign_in(&issuer, &world, group).await;
        assert_eq!(shown.contains(">mine</a>") && shown.contains("oidc:grace"), signs_in, "{shown}");
        assert_eq!(shown.contains("forbidden"), !signs_in, "{shown}");
    }
}

/// What the console shows to who has signed in at the issuer, as one of this group.
async fn sign_in(issuer: &Issuer, world: &World, group: &str) -> String {
    let api = Rest::open().await;
    let origin = format!("http://{}/console", api.address());
    let curl = async |url: &str, cookie: &str| {
        run("curl", &["--silent", "--show-error", "--include", "--header", &format!("Cookie: {cookie}"), url], "")
            .await
            .unwrap()
    };
    let cookie_of = |answer: &str| {
        let set =
            answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap_or_else(|| panic!("{answer}"));
        set.split(';').next().unwrap().to_owned()
    };
    let begun = curl(&format!("{origin}/sign-in/oidc?namespace={}", world.namespace), "").await;
    let on = begun.lines().find_map(|line| line.strip_prefix("refresh: 0; url=")).unwrap_or_else(|| panic!("{begun}"));
    assert!(on.starts_with(&format!("{}/authorize?", issuer.url)), "{on}");
    let parameter = |name: &str| {
        let found = on.split(['?', '&']).find_map(|part| part.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("{name}: {on}")).to_owned()
    };
    let token = issuer.id_token("grace", &[group], &parameter("nonce")).await;
    *issuer.id_token.lock().unwrap() = token;
    let back = format!("{origin}/sign-in/oidc/callback?code=x&state={}", parameter("state"));
    let answer = curl(&back, &cookie_of(&begun)).await;
    if !answer.starts_with("HTTP/1.1 303") {
        return answer;
    }
    curl(&format!("{origin}/tasks?namespace={}", world.namespace), &cookie_of(&answer)).await
}
