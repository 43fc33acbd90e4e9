//! What TLS asks for at every handshake. A new certificate is a pointer swap: connections that are open keep the one they began
//! with, the next handshake gets the new one, nothing is restarted.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::ring};

/// The certificate that is served now; none until there is one.
#[derive(Debug, Default)]
pub struct Resolver(ArcSwapOption<CertifiedKey>);

impl Resolver {
    /// Serves `key` from the next handshake on.
    pub fn swap(&self, key: Arc<CertifiedKey>) {
        self.0.store(Some(key));
    }

    /// What is served now.
    pub fn serving(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }

    /// TLS 1.2 and 1.3 for `protocols`, without client certificates.
    pub fn server_config(self: &Arc<Self>, protocols: &[&str]) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.serving()
    }
}
