//! What the Secret of an object says of its certificate, in an annotation, so that nobody has to read
//! the Secret, or a certificate, to know whether it is to be renewed.
//!
//! Must not: hold anything that is secret.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::issue::is_due;
use crate::resources::hex_of;

/// Annotation on Secrets with a certificate of the installation's authority.
pub const ANNOTATION: &str = "orrery.dev/certificate";

/// The annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which authority signed it.
    pub issuer: String,
    /// Hash of the authorities beside it.
    pub trust: String,
    /// Its end.
    pub until: Timestamp,
    /// Its names.
    pub names: Vec<String>,
    /// Hash of certificate and authorities, as the processes report it.
    pub hash: String,
    /// Hash of everything in the Secret.
    pub content: String,
}

impl Mark {
    /// What a Secret says; none when it has no certificate of ours, or says something else.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        serde_json::from_str(meta.annotations.as_ref()?.get(ANNOTATION)?).ok()
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts and a time are JSON")
    }

    /// Whether the certificate itself can stay.
    pub fn is_fresh(&self, issuer: &str, names: &[String], now: Timestamp, life: Duration) -> bool {
        self.issuer == issuer && self.names == names && !is_due(self.until, now, life)
    }
}

/// Hash of certificate and authorities, as the processes report it.
pub fn hash(chain: &[u8], authorities: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(chain);
    hash.update(authorities);
    hex_of(&hash.finalize())
}

/// Hash of everything in the Secret.
pub fn content(chain: &[u8], key: &[u8], authorities: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [chain, key, authorities] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex_of(&hash.finalize())
}
