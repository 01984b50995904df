//! The Secret with the certificate of the listener.
//!
//! Must not: read what is in the certificate. The processes do; here only mistakes are caught that
//! would keep every one of them from starting.

use orrery_api::Reason;
use orrery_api::kv::KVClusterSpec;
use orrery_api::spec::ClientCertificates;
use orrery_runtime::{Referenced, Refusal};

const FIELD: &str = "spec.resp.tls.secretRef";
/// Key of the Secret, the text that must be in it, and whether only client certificates need it.
const KEYS: [(&str, &str, bool); 3] = [
    ("tls.crt", "BEGIN CERTIFICATE-----", false),
    ("tls.key", "PRIVATE KEY-----", false),
    ("ca.crt", "BEGIN CERTIFICATE-----", true),
];

/// A listener that is announced with TLS must have a certificate.
pub(super) fn check(spec: &KVClusterSpec, inputs: &Referenced) -> Result<(), Refusal> {
    let Some(tls) = &spec.resp.tls else { return Ok(()) };
    let name = &tls.secret_ref.name;
    let Some(found) = inputs.secrets.get(name) else {
        let message = format!("there is no Secret {name}");
        return Err(Refusal::field(Reason::RefNotFound, FIELD, message));
    };
    let is_required = tls.client_certificates == ClientCertificates::Required;
    for (key, mark, is_authority) in KEYS {
        let why = match found.expose().get(key) {
            _ if is_authority && !is_required => continue,
            None => format!("has no key `{key}`"),
            Some(bytes) if contains(bytes, mark) => continue,
            Some(_) => format!("has no PEM text with {mark} under the key `{key}`"),
        };
        let message = format!("the Secret {name} {why}");
        return Err(Refusal::field(Reason::InvalidSpec, FIELD, message));
    }
    Ok(())
}

fn contains(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
}
