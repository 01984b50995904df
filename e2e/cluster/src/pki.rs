//! The certificates of one control plane: an authority, the API server's certificate, one client
//! certificate per user, and the key that signs service account tokens. All die with the run.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use crate::ClusterError;

/// An authority and the folder its files are in.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// The two files of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The two files of the key for service account tokens.
#[derive(Debug, Clone)]
pub(crate) struct TokenKey {
    pub(crate) private: PathBuf,
    pub(crate) public: PathBuf,
}

impl Pki {
    /// A fresh authority; `folder` gets `ca.crt` and `ca.key`.
    pub(crate) fn new(folder: PathBuf) -> Result<Self, ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("orrery-e2e", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pki = Self { folder, authority };
        let ca = pki.authority_files();
        write(&ca.certificate, &pki.authority.pem())?;
        write(&ca.key, &pki.authority.key().serialize_pem())?;
        Ok(pki)
    }

    pub(crate) fn authority_files(&self) -> Pair {
        self.pair("ca")
    }

    /// A certificate for the servers of the control plane, which are dialled at `addresses`.
    pub(crate) fn server(&self, addresses: &[IpAddr]) -> Result<Pair, ClusterError> {
        let mut params = CertificateParams::new(vec![
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default".to_owned(),
            "kubernetes.default.svc".to_owned(),
            "kubernetes.default.svc.cluster.local".to_owned(),
        ])?;
        for address in addresses {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        params.distinguished_name = name("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.signed("apiserver", params)
    }

    /// A certificate with which a client is `user`, a member of `group`.
    pub(crate) fn client(
        &self,
        file: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<Pair, ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.signed(file, params)
    }

    /// The key that signs service account tokens, and its public half for verifiers.
    pub(crate) fn token_key(&self) -> Result<TokenKey, ClusterError> {
        let key = KeyPair::generate()?;
        let files = TokenKey {
            private: self.folder.join("tokens.key"),
            public: self.folder.join("tokens.pub"),
        };
        write(&files.private, &key.serialize_pem())?;
        write(&files.public, &key.public_key_pem())?;
        Ok(files)
    }

    fn signed(&self, file: &str, mut params: CertificateParams) -> Result<Pair, ClusterError> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.authority)?;
        let pair = self.pair(file);
        write(&pair.certificate, &certificate.pem())?;
        write(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }

    fn pair(&self, file: &str) -> Pair {
        Pair {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        }
    }
}

fn name(common: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}

fn write(path: &Path, pem: &str) -> Result<(), ClusterError> {
    std::fs::write(path, pem).map_err(ClusterError::file(path))
}
