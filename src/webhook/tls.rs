//! The serving certificate: from PEM files that are polled for changes, or made at the start.
//!
//! Contents are polled rather than watched: a mounted Secret changes by a swapped symbolic link, after which a file
//! watch looks at a dead inode. A certificate that cannot be used never replaces one that can.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::chain;
use crate::config::CertificateSource;
use crate::telemetry::events::CertificateReloaded;

/// How often certificate files are read.
const POLL: Duration = Duration::from_secs(10);

/// Names that a self-signed certificate is valid for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Validity of a self-signed certificate: it lives as long as its process.
const SELF_SIGNED_VALIDITY: Duration = Duration::from_hours(365 * 24);

/// No serving certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("file {path}")]
    File {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not PEM, or nothing in it.
    #[error("{what} is not PEM with at least one entry")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not make a server.
    #[error("certificate and key cannot be used together")]
    Unusable(#[from] rustls::Error),
    /// The certificate cannot be parsed for its expiry.
    #[error("certificate is not X.509: {0}")]
    X509(String),
    /// A self-signed certificate cannot be made.
    #[error("self-signed certificate")]
    Generate(#[from] rcgen::Error),
}

/// The certificate in use, shared with the acceptor.
#[derive(Clone)]
pub struct Certificate {
    config: RustlsConfig,
    expiry: Arc<AtomicI64>,
    files: Option<Files>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("expiry", &self.expiry()).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// A usable certificate, before it is put to use.
struct Loaded {
    server: Arc<ServerConfig>,
    expiry: i64,
}

impl Certificate {
    /// Reads the files, or makes a certificate authority and a certificate for this host.
    ///
    /// # Errors
    /// When there is no usable certificate: a server does not start without.
    pub fn load(source: &CertificateSource) -> Result<Self, TlsError> {
        match source {
            CertificateSource::Files { certificate, key } => {
                let files = Files { certificate: certificate.clone(), key: key.clone() };
                let (certificate, key) = files.read()?;
                Ok(Self::from_loaded(&usable(&certificate, &key)?, Some(files)))
            }
            CertificateSource::SelfSigned { ca_out } => {
                let made = self_signed(SystemTime::now())?;
                if let Some(path) = ca_out {
                    std::fs::write(path, &made.authority)
                        .map_err(|source| TlsError::File { path: path.clone(), source })?;
                }
                Ok(Self::from_loaded(&usable(made.certificate.as_bytes(), made.key.as_bytes())?, None))
            }
        }
    }

    fn from_loaded(loaded: &Loaded, files: Option<Files>) -> Self {
        Self {
            config: RustlsConfig::from_config(Arc::clone(&loaded.server)),
            expiry: Arc::new(AtomicI64::new(loaded.expiry)),
            files,
        }
    }

    /// For the acceptor; follows every reload.
    #[must_use]
    pub fn rustls(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// When the certificate in use expires, seconds of Unix time.
    #[must_use]
    pub fn expiry(&self) -> i64 {
        self.expiry.load(Ordering::Relaxed)
    }

    /// Polls the files for ever and puts new usable content to use. Returns at once for a self-signed certificate.
    pub async fn follow(&self) {
        self.follow_every(POLL).await;
    }

    /// As [`Certificate::follow`], with the pause between two looks.
    pub async fn follow_every(&self, pause: Duration) {
        let Some(files) = &self.files else { return };
        let mut seen = files.read().ok();
        loop {
            tokio::time::sleep(pause).await;
            let files = files.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { continue };
            self.consider(&mut seen, read);
        }
    }

    /// Puts `read` to use if it is new and usable. Says each change once, good or bad.
    fn consider(&self, seen: &mut Option<Pair>, read: Result<Pair, TlsError>) {
        let pair = read.as_ref().ok().cloned();
        if *seen == pair {
            return;
        }
        seen.clone_from(&pair);
        let loaded = read.and_then(|(certificate, key)| usable(&certificate, &key));
        let path = self.files.as_ref().map(|files| files.certificate.display().to_string()).unwrap_or_default();
        let problem = match loaded {
            Ok(loaded) => {
                self.config.reload_from_config(loaded.server);
                self.expiry.store(loaded.expiry, Ordering::Relaxed);
                None
            }
            Err(error) => Some(chain(&error)),
        };
        CertificateReloaded { path: &path, problem: problem.as_deref() }.emit();
    }
}

/// Certificate chain and key, as read.
type Pair = (Vec<u8>, Vec<u8>);

impl Files {
    fn read(&self) -> Result<Pair, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
        Ok((read(&self.certificate)?, read(&self.key)?))
    }
}

/// A server configuration for TLS 1.3 and 1.2, or why there is none.
fn usable(certificate: &[u8], key: &[u8]) -> Result<Loaded, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what: "certificate", source })?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "private key", source })?;
    let leaf = chain
        .first()
        .ok_or(TlsError::Pem { what: "certificate", source: rustls::pki_types::pem::Error::NoItemsFound })?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|error| TlsError::X509(error.to_string()))?;
    let expiry = parsed.validity().not_after.timestamp();
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { server: Arc::new(server), expiry })
}

/// PEM texts of a fresh authority and a certificate that it signed.
struct SelfSigned {
    authority: String,
    certificate: String,
    key: String,
}

/// The authority's key is dropped at once: nothing else can ever be signed with it.
fn self_signed(now: SystemTime) -> Result<SelfSigned, rcgen::Error> {
    let (from, until) = (now - Duration::from_hours(1), now + SELF_SIGNED_VALIDITY);
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.distinguished_name.push(DnType::CommonName, "vramguard self-signed authority");
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (authority.not_before, authority.not_after) = (from.into(), until.into());
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut leaf = CertificateParams::new(LOCAL_NAMES.map(String::from).to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, "vramguard");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (leaf.not_before, leaf.not_after) = (from.into(), until.into());
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok(SelfSigned { authority: authority_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(made: &SelfSigned) -> Pair {
        (made.certificate.clone().into_bytes(), made.key.clone().into_bytes())
    }

    #[test]
    fn a_certificate_that_cannot_be_used_never_replaces_one_that_can() {
        let (old, new) = (self_signed(SystemTime::now()).unwrap(), self_signed(SystemTime::UNIX_EPOCH).unwrap());
        let certificate = Certificate::from_loaded(&usable(&pair(&old).0, &pair(&old).1).unwrap(), None);
        let expiry = certificate.expiry();
        let mut seen = Some(pair(&old));

        let mixed = (pair(&new).0, pair(&old).1);
        for bad in [mixed, (Vec::new(), pair(&new).1), (pair(&new).0, b"-----BEGIN".to_vec())] {
            certificate.consider(&mut seen, Ok(bad));
            assert_eq!(certificate.expiry(), expiry);
        }
        certificate.consider(&mut seen, Ok(pair(&new)));
        assert_ne!(certificate.expiry(), expiry);
    }

    #[test]
    fn self_signed_expires_in_a_year() {
        let made = self_signed(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)).unwrap();
        let loaded = usable(made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
        assert_eq!(loaded.expiry, (500_000 + 365 * 24) * 3600);
    }

    #[test]
    fn a_chain_is_accepted() {
        let made = self_signed(SystemTime::now()).unwrap();
        let chain = made.certificate.clone() + &made.authority;
        assert!(usable(chain.as_bytes(), made.key.as_bytes()).is_ok());
    }
}
