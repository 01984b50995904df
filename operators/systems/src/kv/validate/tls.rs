//! The Secret with the certificate of the listener.
//!
//! Must not: read what is in the certificate. The processes do; here only mistakes are caught that
//! would keep every one of them from starting.

use std::collections::BTreeMap;

use orrery_api::Reason;
use orrery_api::kv::KVCluster;
use orrery_api::spec::ClientCertificates;
use orrery_runtime::{Carrier, Referenced, Refusal};

use super::super::names;
use super::content;

const FIELD: &str = "spec.resp.tls.secretRef";
/// Text that is in every certificate, and in every key.
pub(super) const CERTIFICATE: &str = "BEGIN CERTIFICATE-----";
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY-----";
/// Key of the Secret, the text that must be in it, and whether only client certificates need it.
const KEYS: [(&str, &str, bool); 3] = [
    ("tls.crt", CERTIFICATE, false),
    ("tls.key", PRIVATE_KEY, false),
    ("ca.crt", CERTIFICATE, true),
];

/// Whether this is the Secret with the certificate that the installation's authority gives the pods.
pub(crate) fn is_own_certificate(object: &KVCluster, secret: &str) -> bool {
    object.metadata.name.as_deref().is_some_and(|name| names::identity(name) == secret)
}

/// A listener that is announced with TLS must have a certificate.
pub(super) fn check(
    object: &KVCluster,
    inputs: &Referenced,
    carrier: Carrier,
) -> Result<(), Refusal> {
    let Some(tls) = &object.spec.resp.tls else { return Ok(()) };
    let name = &tls.secret_ref.name;
    if carrier == Carrier::Cluster && is_own_certificate(object, name) {
        if tls.client_certificates == ClientCertificates::Required {
            let message = format!(
                "clients have no certificates of the authority of {name}: use Ignored, or a Secret \
                 of your own"
            );
            let field = "spec.resp.tls.clientCertificates";
            return Err(Refusal::field(Reason::InvalidSpec, field, message));
        }
        return Ok(());
    }
    let is_required = tls.client_certificates == ClientCertificates::Required;
    let needed = KEYS.into_iter().filter(|(.., is_authority)| !is_authority || is_required);
    let found = content(inputs, name, FIELD)?;
    check_keys(found, name, FIELD, needed.map(|(key, mark, _)| (key, mark)))
}

/// Each key of the Secret `name` must hold PEM text in which its mark is.
pub(super) fn check_keys(
    found: &BTreeMap<String, Vec<u8>>,
    name: &str,
    field: &str,
    keys: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Result<(), Refusal> {
    for (key, mark) in keys {
        let why = match found.get(key) {
            None => format!("has no key `{key}`"),
            Some(bytes) if contains(bytes, mark) => continue,
            Some(_) => format!("has no PEM text with {mark} under the key `{key}`"),
        };
        let message = format!("the Secret {name} {why}");
        return Err(Refusal::field(Reason::InvalidSpec, field, message));
    }
    Ok(())
}

fn contains(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
}
