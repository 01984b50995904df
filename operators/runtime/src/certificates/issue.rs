//! Keys and certificates: ECDSA on P-256, signed with SHA-256.
//!
//! Must not: read a clock, or keep anything.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::OffsetDateTime;

use crate::redacted::Redacted;
use crate::resources::hex;

/// Certificates are valid from so long ago, for machines whose clocks are behind.
const BACKDATED: Duration = Duration::from_hours(1);
/// Hexadecimal digits of the hash that names an authority.
const MARK_CHARS: usize = 16;

/// Failed to make a certificate, or to use an authority.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IssueError {
    #[error("failed to sign a certificate: {0}")]
    Sign(#[from] rcgen::Error),
    #[error("{0} is no time a certificate can have")]
    Time(Timestamp),
    #[error("failed to read the authority's certificate as PEM")]
    Pem,
    #[error("the authority's key is not that of its certificate")]
    Mismatch,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: Redacted<String>,
}

/// An authority that can sign.
#[derive(Debug)]
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    mark: String,
}

/// What a certificate is to say.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Host names; `*.` stands for any one label in front.
    pub names: &'a [String],
    /// What people see in it.
    pub title: &'a str,
    pub now: Timestamp,
    pub life: Duration,
}

impl Wish<'_> {
    /// End of the certificate, in whole seconds.
    pub fn until(&self) -> Timestamp {
        end(self.now, self.life)
    }
}

fn end(now: Timestamp, life: Duration) -> Timestamp {
    let end = now.as_second().saturating_add(life.as_secs() as i64);
    Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
}

/// A new authority, valid from now on.
pub fn authority(now: Timestamp, life: Duration) -> Result<Pair, IssueError> {
    let key = KeyPair::generate()?;
    let mut parameters = authority_parameters(&key);
    (parameters.not_before, parameters.not_after) = (time(backdated(now))?, time(end(now, life))?);
    let certificate = parameters.self_signed(&key)?.pem();
    Ok(Pair { certificate, key: Redacted::new(key.serialize_pem()) })
}

/// The name is made of the key, so that every authority has one of its own.
fn authority_parameters(key: &KeyPair) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let mark = mark(&key.subject_public_key_info());
    parameters.distinguished_name = named(&format!("orrery-authority-{mark}"));
    // It signs certificates of processes, never of other authorities.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn named(title: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, title);
    name
}

fn mark(public_key: &[u8]) -> String {
    hex(public_key)[..MARK_CHARS].to_owned()
}

fn backdated(now: Timestamp) -> Timestamp {
    now.checked_sub(BACKDATED).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn time(at: Timestamp) -> Result<OffsetDateTime, IssueError> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| IssueError::Time(at))
}

impl Signer {
    /// An authority as [`authority`] made it.
    pub fn new(pair: &Pair) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(pair.key.expose())?;
        let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes())
            .map_err(|_| IssueError::Pem)?;
        let public = key.subject_public_key_info();
        if !der.windows(public.len()).any(|window| window == public) {
            return Err(IssueError::Mismatch);
        }
        let mark = mark(&public);
        Ok(Self { issuer: Issuer::new(authority_parameters(&key), key), mark })
    }

    /// Tells one authority from another.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// A certificate for a listener and a caller alike, with a key of its own.
    pub fn issue(&self, wish: &Wish<'_>) -> Result<Pair, IssueError> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(wish.names)?;
        parameters.distinguished_name = named(wish.title);
        parameters.not_before = time(backdated(wish.now))?;
        parameters.not_after = time(wish.until())?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: Redacted::new(key.serialize_pem()) })
    }
}

/// Whether a third of a life or less is left.
pub fn is_due(until: Timestamp, now: Timestamp, life: Duration) -> bool {
    let left = until.duration_since(now);
    left <= jiff::SignedDuration::try_from(life / 3).unwrap_or(jiff::SignedDuration::MAX)
}
