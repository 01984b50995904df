//! Authorities and the certificates they sign.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// The end of every good certificate: 1 January 2096.
pub(crate) const END_S: i64 = 3_976_214_400;

pub(crate) struct Authority {
    issuer: Option<Issuer<'static, KeyPair>>,
    pem: String,
}

/// A certificate with its key.
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Pair {
    /// Each file exchanged as a whole, one after the other.
    pub(crate) fn write(&self, folder: &Path) {
        for (name, text) in [("tls.crt", &self.chain), ("tls.key", &self.key)] {
            std::fs::write(folder.join("fresh"), text).expect("writable");
            std::fs::rename(folder.join("fresh"), folder.join(name)).expect("same folder");
        }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(vec![]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("it is signed").pem();
        Self { issuer: Some(Issuer::new(parameters, key)), pem }
    }

    /// For a client that trusts both; it signs nothing.
    pub(crate) fn both(one: &Self, other: &Self) -> Self {
        Self { issuer: None, pem: format!("{}{}", one.pem, other.pem) }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn server(&self, name: &str) -> Pair {
        self.sign(name, 2096)
    }

    pub(crate) fn expired(&self, name: &str) -> Pair {
        self.sign(name, 2001)
    }

    fn sign(&self, name: &str, end_year: i32) -> Pair {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        parameters.not_after = date_time_ymd(end_year, 1, 1);
        parameters.not_before = date_time_ymd(2000, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let issuer = self.issuer.as_ref().expect("it signs");
        let chain = parameters.signed_by(&key, issuer).expect("it is signed").pem();
        Pair { chain, key: key.serialize_pem() }
    }
}
