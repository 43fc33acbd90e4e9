//! A certificate that the user brought, for example by cert-manager. Files are compared by content: kubelet replaces a mounted
//! Secret by swapping a symbolic link, which a file watch does not see.

use std::io;
use std::path::PathBuf;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::{IssueError, Leaf};
use crate::certificate::{Bundle, Certificate, CertificateError};

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What clients are to trust; none when somebody else (cert-manager's injector) tells them.
    pub authority: Option<PathBuf>,
}

/// What the files say.
#[derive(Debug)]
pub struct Brought {
    /// The certificate to serve.
    pub leaf: Leaf,
    /// What clients are to trust, if we are to tell them.
    pub bundle: Option<Bundle>,
}

/// What goes wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file could not be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("read {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// The CA file holds no certificate.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together: perhaps only one of them has been renewed yet.
    #[error("use {certificate} with {key}: {source}")]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Why.
        source: IssueError,
    },
}

impl Files {
    /// Reads all of them.
    pub async fn read(&self) -> Result<Brought, FilesError> {
        let parse = |source: CertificateError| FilesError::Parse {
            path: self.certificate.clone(),
            source,
        };
        let chain = CertificateDer::pem_slice_iter(&read(&self.certificate).await?)
            .map(|der| Certificate::from_der(der?))
            .collect::<Result<Vec<_>, _>>()
            .map_err(parse)?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(&self.key).await?).map_err(|error| FilesError::Parse {
                path: self.key.clone(),
                source: error.into(),
            })?;
        let leaf = Leaf::new(chain, &key, None).map_err(|source| FilesError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })?;
        let bundle = match &self.authority {
            None => None,
            Some(path) => {
                let bundle = Bundle::from_pem(&read(path).await?);
                if bundle.iter().next().is_none() {
                    return Err(FilesError::Empty { path: path.clone() });
                }
                Some(bundle)
            }
        };
        Ok(Brought { leaf, bundle })
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, FilesError> {
    tokio::fs::read(path).await.map_err(|source| FilesError::Read {
        path: path.clone(),
        source,
    })
}
