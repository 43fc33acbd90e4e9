//! CA and serving certificates: issued, shared, rotated, published, served.
//!
//! - [`certificate`]: certificates and bundles as values, and whether one vouches for the other
//! - [`authority`]: issuing them
//! - [`rotation`]: when; the decisions, over plain values and a given time
//! - [`store`]: the Secret that all replicas share; [`files`]: certificates that the user brought
//! - [`webhooks`]: the webhook configurations that tell the API server whom to trust
//! - [`resolver`]: what TLS asks at each handshake
//! - [`keeper`]: the loop around all of them

pub mod authority;
pub mod certificate;
mod changes;
pub mod files;
pub mod keeper;
pub mod resolver;
pub mod rotation;
pub mod store;
pub mod webhooks;

/// Makes ring the TLS provider of this process. Call it first in `main`.
pub fn install_provider() -> Result<(), AlreadyInstalled> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| AlreadyInstalled)
}

/// Somebody chose a TLS provider before us.
#[derive(Debug, thiserror::Error)]
#[error("install the TLS provider: this process has one already")]
pub struct AlreadyInstalled;
