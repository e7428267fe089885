//! Keys and certificates of one control plane, written as PEM files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Where the files lie.
pub(crate) struct Pki {
    /// The authority that signed [`Pki::certificate`].
    pub(crate) ca: PathBuf,
    /// The API server's certificate for 127.0.0.1 and localhost.
    pub(crate) certificate: PathBuf,
    /// The key of [`Pki::certificate`].
    pub(crate) key: PathBuf,
    /// Signs service account tokens.
    pub(crate) service_accounts_key: PathBuf,
    /// Verifies service account tokens.
    pub(crate) service_accounts_public_key: PathBuf,
}

impl Pki {
    /// Makes everything afresh in `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name.push(DnType::CommonName, "vramguard test authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_certificate = authority.self_signed(&authority_key)?;
        let authority = Issuer::new(authority, authority_key);

        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let server = server.signed_by(&server_key, &authority)?;

        let service_accounts = KeyPair::generate()?;

        let write = |name: &str, pem: String| -> Result<PathBuf> {
            let path = directory.join(name);
            std::fs::write(&path, pem).with_context(|| format!("writing {}", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            ca: write("ca.crt", authority_certificate.pem())?,
            certificate: write("apiserver.crt", server.pem())?,
            key: write("apiserver.key", server_key.serialize_pem())?,
            service_accounts_key: write("service-accounts.key", service_accounts.serialize_pem())?,
            service_accounts_public_key: write("service-accounts.pub", service_accounts.public_key_pem())?,
        })
    }
}
