//! The webhook's own CA and serving certificate: made, checked and renewed. No IO.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How long a CA lives.
const CA_LIFE: Duration = Duration::from_secs(3 * 365 * 24 * 3600);
/// Certificates begin to be valid this long before now, for clocks that differ, by a time zone even.
const SKEW: Duration = Duration::from_secs(25 * 3600);

/// Everything that serving TLS takes, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The CA that clients must trust.
    pub ca: String,
    pub ca_key: String,
    /// The CA before this one, which clients trust until certificates of it are gone. Empty if there was none.
    pub previous_ca: String,
    pub certificate: String,
    pub key: String,
}

/// What is wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// They could not be made.
    #[error("cannot make certificates: {0}")]
    Make(#[from] rcgen::Error),
    /// They could not be read.
    #[error("cannot read certificate: {0}")]
    Read(String),
}

impl Identity {
    /// A new CA and a certificate of it for `names`, valid for `life` from `now`.
    ///
    /// # Errors
    /// [`CertificateError::Make`] if the names are no DNS names, or randomness fails.
    pub fn new(names: &[String], life: Duration, now: SystemTime) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = common_name("JCT webhook CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - SKEW).into();
        params.not_after = (now + CA_LIFE.max(life * 3)).into();
        let ca = params.self_signed(&key)?;
        let fresh = Self {
            ca: ca.pem(),
            ca_key: key.serialize_pem(),
            previous_ca: String::new(),
            certificate: String::new(),
            key: String::new(),
        };
        fresh.renewed(names, life, now)
    }

    /// The same CA with a new certificate.
    ///
    /// # Errors
    /// [`CertificateError`] if the CA cannot be read, or as for [`Identity::new`].
    pub fn renewed(&self, names: &[String], life: Duration, now: SystemTime) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(&self.ca, KeyPair::from_pem(&self.ca_key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = common_name(names.first().map_or("jct", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = (now - SKEW).into();
        params.not_after = (now + life).into();
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), ..self.clone() })
    }

    /// This identity if it will do for a while; else a better one: a new certificate after two thirds of its life, or when
    /// it lacks a name or does not fit its CA; a new CA, the old one still trusted, likewise.
    ///
    /// # Errors
    /// As for [`Identity::new`].
    pub fn maintained(
        current: Option<&Self>,
        names: &[String],
        life: Duration,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let Some(current) = current else { return Self::new(names, life, now) };
        let ca_good =
            validity(&current.ca).is_ok_and(|v| v.is_fresh(now)) && KeyPair::from_pem(&current.ca_key).is_ok();
        if !ca_good {
            let fresh = Self::new(names, life, now)?;
            let trusted = validity(&current.ca).is_ok();
            return Ok(Self { previous_ca: if trusted { current.ca.clone() } else { String::new() }, ..fresh });
        }
        let good = current.is_usable(names) && validity(&current.certificate).is_ok_and(|v| v.is_fresh(now));
        if good { Ok(current.clone()) } else { current.renewed(names, life, now) }
    }

    /// What clients are to trust: the CA, and the one before it.
    pub fn bundle(&self) -> String {
        format!("{}{}", self.ca, self.previous_ca)
    }

    /// When the certificate ends.
    ///
    /// # Errors
    /// [`CertificateError::Read`] if it is none.
    pub fn expires_at(&self) -> Result<SystemTime, CertificateError> {
        Ok(validity(&self.certificate)?.not_after)
    }

    /// Whether key, certificate and CA belong together and cover `names`.
    fn is_usable(&self, names: &[String]) -> bool {
        use rustls::client::danger::ServerCertVerifier as _;
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let usable = || {
            let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
            let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?;
            rustls::ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .ok()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key)
                .ok()?;
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).ok()?).ok()?;
            let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()
                .ok()?;
            // Time is judged elsewhere: verify at a moment at which the certificate is valid.
            let moment = validity(&self.certificate).ok()?.not_before + Duration::from_secs(1);
            let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let moment = rustls::pki_types::UnixTime::since_unix_epoch(since_epoch);
            names
                .iter()
                .all(|name| {
                    rustls::pki_types::ServerName::try_from(name.as_str())
                        .is_ok_and(|name| verifier.verify_server_cert(&certificate, &[], &name, &[], moment).is_ok())
                })
                .then_some(())
        };
        usable().is_some()
    }
}

struct Validity {
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Validity {
    /// Whether less than two thirds of the life are over.
    fn is_fresh(&self, now: SystemTime) -> bool {
        let made_at = self.not_before + SKEW;
        let life = self.not_after.duration_since(made_at).unwrap_or_default();
        now >= self.not_before && now < made_at + life * 2 / 3
    }
}

fn validity(pem: &str) -> Result<Validity, CertificateError> {
    let read = |error: String| CertificateError::Read(error);
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| read(error.to_string()))?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| read(error.to_string()))?;
    let at = |time: x509_parser::time::ASN1Time| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
    };
    Ok(Validity { not_before: at(certificate.validity().not_before), not_after: at(certificate.validity().not_after) })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    // X.509 bounds a common name at 64 characters; the names that count are the alternative ones.
    names.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    names
}

/// The names under which the API server reaches a Service.
pub fn service_names(service: &str, namespace: &str) -> Vec<String> {
    vec![format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn names() -> Vec<String> {
        service_names("jct-webhook", "jct-system")
    }

    #[test]
    fn a_good_identity_is_kept_and_an_old_one_renewed_under_the_same_ca() {
        let now = SystemTime::now();
        let first = Identity::maintained(None, &names(), 30 * HOUR, now).unwrap();
        assert!(first == Identity::maintained(Some(&first), &names(), 30 * HOUR, now + HOUR).unwrap());
        let later = Identity::maintained(Some(&first), &names(), 30 * HOUR, now + 21 * HOUR).unwrap();
        assert!(later.ca == first.ca && later.certificate != first.certificate);
        assert!(later.expires_at().unwrap() > first.expires_at().unwrap());
    }

    #[test]
    fn a_new_identity_is_valid_for_those_whose_clock_is_behind() {
        use rustls::client::danger::ServerCertVerifier as _;
        let now = SystemTime::now();
        let fresh = Identity::maintained(None, &names(), 30 * HOUR, now + HOUR).unwrap();
        assert!(fresh == Identity::maintained(Some(&fresh), &names(), 30 * HOUR, now).unwrap(), "nor is it made again");
        let certificate = CertificateDer::from_pem_slice(fresh.certificate.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(fresh.ca.as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let verifier = verifier.build().unwrap();
        let name = rustls::pki_types::ServerName::try_from(names()[0].clone()).unwrap();
        let is_valid = |at: SystemTime| {
            let at = rustls::pki_types::UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
            verifier.verify_server_cert(&certificate, &[], &name, &[], at).is_ok()
        };
        assert!(is_valid(now) && is_valid(now - 23 * HOUR));
        assert!(!is_valid(now - 26 * HOUR) && !is_valid(now + 32 * HOUR));
    }

    #[test]
    fn a_renewed_ca_leaves_the_old_one_trusted() {
        let now = SystemTime::now();
        let first = Identity::maintained(None, &names(), HOUR, now).unwrap();
        let later = Identity::maintained(Some(&first), &names(), HOUR, now + CA_LIFE).unwrap();
        assert!(later.ca != first.ca && later.bundle().contains(&first.ca) && later.bundle().contains(&later.ca));
    }

    #[test]
    fn what_does_not_fit_together_is_replaced() {
        let now = SystemTime::now();
        let good = Identity::new(&names(), HOUR, now).unwrap();
        let other = Identity::new(&names(), HOUR, now).unwrap();
        let broken = [
            Identity { key: other.key.clone(), ..good.clone() },
            Identity { certificate: other.certificate.clone(), ..good.clone() },
            Identity { certificate: "nonsense".into(), ..good.clone() },
            Identity { ca: "nonsense".into(), ..good.clone() },
            Identity { ca_key: String::new(), ..good.clone() },
        ];
        for identity in broken {
            let mended = Identity::maintained(Some(&identity), &names(), HOUR, now).unwrap();
            assert!(mended.is_usable(&names()));
        }
        assert!(good.is_usable(&names()));
        assert!(!good.is_usable(&service_names("other", "jct-system")));
    }
}
