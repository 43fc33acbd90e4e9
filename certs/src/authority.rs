//! Issuing: a certificate authority of our own, and serving certificates signed by it.
//!
//! When to issue is decided in [`rotation`](crate::rotation).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, CertificateError};

/// How far the clocks of a cluster may differ: everything we issue is valid from this long ago.
pub const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// A certificate authority and its private key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AuthorityPem", into = "AuthorityPem")]
pub struct Authority {
    certificate: Certificate,
    key_pem: String,
}

/// What goes wrong while issuing.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The key or the certificate could not be made or used.
    #[error("issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// What was issued could not be read back.
    #[error("read what was issued: {0}")]
    Read(#[from] CertificateError),
    /// TLS cannot use the key.
    #[error("use the key for TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Authority {
    /// A new authority: an ECDSA P-256 key and a self-signed certificate.
    ///
    /// The subject carries the key's fingerprint, so no two generations share it: a client that looks its trust anchors up by
    /// subject never tries the wrong one. The serial number is derived from the random key, hence random itself.
    pub fn generate(now: Timestamp, life: Duration) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = valid(now, now + life);
        let fingerprint = params.key_identifier(&key).into_iter().take(8);
        let fingerprint = fingerprint.fold(0, |digits: u64, byte| digits << 8 | u64::from(byte));
        params.distinguished_name = common_name(&format!("Rayward CA {fingerprint:016x}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = Certificate::from_der(params.self_signed(&key)?.der().clone())?;
        Ok(Self {
            certificate,
            key_pem: key.serialize_pem(),
        })
    }

    /// A serving certificate for `names`, with a new key that never leaves this process. It does not outlive its authority.
    pub fn issue(&self, names: &[String], now: Timestamp, life: Duration) -> Result<Leaf, IssueError> {
        let (certificate, key) = self.sign(names, now, life)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Leaf::new(vec![certificate], &key, Some(self.certificate.clone()))
    }

    pub(crate) fn sign(
        &self,
        names: &[String],
        now: Timestamp,
        life: Duration,
    ) -> Result<(Certificate, KeyPair), IssueError> {
        let key = KeyPair::generate()?;
        let authority = Issuer::from_ca_cert_der(self.certificate.der(), KeyPair::from_pem(&self.key_pem)?)?;
        let mut params = valid(now, (now + life).min(self.certificate.not_after()));
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.distinguished_name = common_name("Rayward webhook");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = Certificate::from_der(params.signed_by(&key, &authority)?.der().clone())?;
        Ok((certificate, key))
    }

    /// What clients must trust.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.fmt(out)
    }
}

/// A serving certificate, ready for TLS.
#[derive(Clone, Debug)]
pub struct Leaf {
    certificate: Certificate,
    authority: Option<Certificate>,
    key: Arc<CertifiedKey>,
}

impl Leaf {
    /// Pairs a chain, leaf first, with its key. Refuses a key that belongs to another certificate.
    pub fn new(
        chain: Vec<Certificate>,
        key: &PrivateKeyDer<'_>,
        authority: Option<Certificate>,
    ) -> Result<Self, IssueError> {
        let ders = chain
            .iter()
            .map(|certificate| certificate.der().clone())
            .collect();
        let certificate = chain
            .into_iter()
            .next()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let key = CertifiedKey::new(ders, any_supported_type(key)?);
        key.keys_match()?;
        Ok(Self {
            certificate,
            authority,
            key: Arc::new(key),
        })
    }

    /// The leaf itself.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority of ours that signed it; none when the user brought it.
    pub fn authority(&self) -> Option<&Certificate> {
        self.authority.as_ref()
    }

    /// What TLS presents.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// An [`Authority`] as it is stored.
#[derive(Serialize, Deserialize)]
struct AuthorityPem {
    certificate: Certificate,
    key: String,
}

impl TryFrom<AuthorityPem> for Authority {
    type Error = IssueError;

    fn try_from(pem: AuthorityPem) -> Result<Self, IssueError> {
        KeyPair::from_pem(&pem.key)?;
        Ok(Self {
            certificate: pem.certificate,
            key_pem: pem.key,
        })
    }
}

impl From<Authority> for AuthorityPem {
    fn from(authority: Authority) -> Self {
        Self {
            certificate: authority.certificate,
            key: authority.key_pem,
        }
    }
}

/// Parameters that say nothing yet but when. Sub-second parts are cut off: X.509 has none.
fn valid(now: Timestamp, until: Timestamp) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let seconds = |at: Timestamp| Duration::from_secs(at.as_second().try_into().unwrap_or_default());
    let mut params = CertificateParams::default();
    params.not_before = epoch + seconds(now - CLOCK_SKEW);
    params.not_after = epoch + seconds(until);
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}
