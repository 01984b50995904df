//! Certificates of a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secret of type `kubernetes.io/tls` with the keys tls.crt, tls.key and, for client
    /// certificates, ca.crt.
    pub secret_ref: LocalRef,
}
