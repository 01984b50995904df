//! TLS of a listener for clients: the Secret with its certificate, and where the process finds it.
//!
//! Must not: read what is in the certificate. The processes do; here only mistakes are caught that
//! would keep every one of them from starting.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount};
use orrery_api::Reason;
use orrery_api::spec::{ClientCertificates, LocalRef, Tls};
use orrery_runtime::{Carrier, Referenced, Refusal};

use super::checks::content;
use super::names;
use super::volumes::{item, mount, whole};

/// Name of the volume.
const TLS: &str = "tls";
/// Folder of the certificate of the listener.
pub(crate) const TLS_FOLDER: &str = "/run/orrery/tls";
/// Text that is in every certificate, and in every key.
pub(crate) const CERTIFICATE: &str = "BEGIN CERTIFICATE-----";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY-----";
/// Key of the Secret, the text that must be in it, and whether only client certificates need it.
const KEYS: [(&str, &str, bool); 3] = [
    ("tls.crt", CERTIFICATE, false),
    ("tls.key", PRIVATE_KEY, false),
    ("ca.crt", CERTIFICATE, true),
];

/// The listener of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener<'a> {
    /// Name of the object, and word of its system.
    pub(crate) object: &'a str,
    pub(crate) system: &'static str,
    pub(crate) tls: &'a Tls,
    /// Path of `tls` in the spec.
    pub(crate) field: &'static str,
}

impl<'a> Listener<'a> {
    /// Whether its Secret is the one with the certificate that the installation's authority gives the
    /// pods.
    fn is_own(self) -> bool {
        names::identity(self.object, self.system) == self.tls.secret_ref.name
    }

    /// The Secret that must be there; none where the operator makes it itself.
    pub(crate) fn reference(self) -> Option<&'a LocalRef> {
        (!self.is_own()).then_some(&self.tls.secret_ref)
    }

    /// A listener that is announced with TLS must have a certificate.
    pub(crate) fn check(self, inputs: &Referenced, carrier: Carrier) -> Result<(), Refusal> {
        let Self { tls, field, .. } = self;
        let name = &tls.secret_ref.name;
        let is_required = tls.client_certificates == ClientCertificates::Required;
        if carrier == Carrier::Cluster && self.is_own() {
            if is_required {
                let message = format!(
                    "clients have no certificates of the authority of {name}: use Ignored, or a \
                     Secret of your own"
                );
                let field = format!("{field}.clientCertificates");
                return Err(Refusal::field(Reason::InvalidSpec, &field, message));
            }
            return Ok(());
        }
        let needed = KEYS.into_iter().filter(|(.., is_authority)| !is_authority || is_required);
        let field = format!("{field}.secretRef");
        let found = content(inputs, name, &field)?;
        check_keys(found, name, &field, needed.map(|(key, mark, _)| (key, mark)))
    }
}

/// The certificate. With the authority in the folder the process asks for client certificates. A new
/// certificate reaches the folder, and the process, without a restart.
pub(crate) fn volume(tls: &Tls) -> Volume {
    let authority = (tls.client_certificates == ClientCertificates::Required).then_some("ca.crt");
    let items: Vec<KeyToPath> =
        ["tls.crt", "tls.key"].into_iter().chain(authority).map(item).collect();
    let secret = SecretVolumeSource { items: Some(items), ..whole(tls.secret_ref.name.clone()) };
    Volume { name: TLS.to_owned(), secret: Some(secret), ..Volume::default() }
}

/// Where it is mounted.
pub(crate) fn mounted() -> VolumeMount {
    mount(TLS, TLS_FOLDER, true)
}

/// Each key of the Secret `name` must hold PEM text in which its mark is.
pub(crate) fn check_keys(
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
