//! Certificates of a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secret of type `kubernetes.io/tls` with the keys tls.crt and tls.key, such as cert-manager
    /// makes. With a key ca.crt, clients must show a certificate of that authority. A changed
    /// Secret is taken over for new connections within about a minute, without a restart;
    /// only `orrery up` restarts the process.
    pub secret_ref: LocalRef,
}
