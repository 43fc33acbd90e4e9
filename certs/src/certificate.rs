//! Certificates and bundles of them as values: PEM in and out, when they are valid, and whether a bundle vouches for a leaf.
//!
//! Nothing is issued here (see [`authority`](crate::authority)) and nothing is read from anywhere.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};

/// One X.509 certificate that we could read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate {
    der: CertificateDer<'static>,
    subject: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// What is wrong with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM.
    #[error("read PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// Not X.509.
    #[error("read X.509: {0}")]
    X509(String),
    /// A validity that no clock can show.
    #[error("read the validity: {0}")]
    Validity(#[from] jiff::Error),
}

impl Certificate {
    /// Reads the first certificate of a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        Self::from_der(CertificateDer::from_pem_slice(pem)?)
    }

    /// Reads a certificate.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let (_, x509) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CertificateError::X509(error.to_string()))?;
        let subject = x509.subject().to_string();
        let not_before = Timestamp::from_second(x509.validity().not_before.timestamp())?;
        let not_after = Timestamp::from_second(x509.validity().not_after.timestamp())?;
        Ok(Self {
            der,
            subject,
            not_before,
            not_after,
        })
    }

    /// The certificate as PEM, with newlines as Kubernetes writes them.
    pub fn to_pem(&self) -> String {
        let newlines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der.to_vec()), newlines)
    }

    /// The certificate as DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The first instant at which it is valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last instant at which it is valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl TryFrom<String> for Certificate {
    type Error = CertificateError;

    fn try_from(pem: String) -> Result<Self, CertificateError> {
        Self::from_pem(pem.as_bytes())
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        certificate.to_pem()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} until {}", self.subject, self.not_after)
    }
}

/// The certificates that an API server trusts when it calls us: a `caBundle`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle(Vec<Certificate>);

impl Bundle {
    /// Reads every certificate of a PEM text, leaving out what cannot be read: so does the API server.
    pub fn from_pem(pem: &[u8]) -> Self {
        CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect()
    }

    /// The bundle as PEM.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }

    /// Whether this very certificate is in the bundle.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.0.contains(certificate)
    }

    /// The certificates, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Certificate> {
        self.0.iter()
    }

    /// The bundle with more certificates in it.
    #[must_use]
    pub fn extended(self, more: impl IntoIterator<Item = Certificate>) -> Self {
        self.0.into_iter().chain(more).collect()
    }

    /// Whether a client that trusts this bundle, and calls us by `name`, would accept the chain that we present.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: Timestamp,
    ) -> Result<(), Distrust> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.0.iter().map(|authority| authority.der.clone()));
        if roots.is_empty() {
            return Err(Distrust::NoAuthority);
        }
        let (leaf, intermediates) = chain.split_first().ok_or(Distrust::NoCertificate)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
                .build()
                .map_err(|_| Distrust::NoAuthority)?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            now.as_second().try_into().unwrap_or_default(),
        ));
        verifier.verify_server_cert(leaf, intermediates, name, &[], now)?;
        Ok(())
    }
}

impl FromIterator<Certificate> for Bundle {
    /// Keeps the first of equal certificates.
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Self {
        let mut bundle = Vec::new();
        for certificate in certificates {
            if !bundle.contains(&certificate) {
                bundle.push(certificate);
            }
        }
        Self(bundle)
    }
}

/// Why a client would refuse our certificate.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// The bundle is empty, or holds nothing that can be read.
    #[error("the bundle holds no authority")]
    NoAuthority,
    /// We have nothing to present.
    #[error("there is no certificate to present")]
    NoCertificate,
    /// Wrong name, wrong authority, not valid now.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
}
