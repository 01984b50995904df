//! Certificates of a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secret of type `kubernetes.io/tls` with the keys tls.crt and tls.key, such as cert-manager
    /// makes. A changed Secret is taken over for new connections within about a minute, without a
    /// restart; only `orrery up` restarts the process.
    pub secret_ref: LocalRef,
    /// Ignored, or Required: clients must show a certificate of the authority under the key ca.crt.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClientCertificates {
    /// They need none.
    #[default]
    Ignored,
    /// They must, and it must be of the authority.
    Required,
}
