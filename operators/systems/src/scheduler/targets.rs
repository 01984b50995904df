//! The Secrets of targets: which there are, what must be in them, and where the process finds it.
//!
//! One volume has all of them, `<target>/auth/token` and the like, so that hundreds of targets are not
//! as many volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeProjection,
};
use orrery_api::Reason;
use orrery_api::scheduler::config::{TARGET_AUTH, TARGET_CA, TARGET_SIGNING};
use orrery_api::scheduler::{Target, TargetTls};
use orrery_runtime::{Reference, Referenced, Refusal};

use crate::parts::checks;
use crate::parts::volumes::SECRET_MODE;

/// Name of the volume.
pub(super) const TARGETS: &str = "targets";
/// Folder with one folder per target.
pub(super) const TARGETS_FOLDER: &str = "/run/orrery/targets";

/// Ways to show who calls: the keys of each.
const CREDENTIALS: [&[&str]; 3] = [&["token"], &["username", "password"], &["header", "value"]];
/// Key of what calls are signed with.
const SIGNING_KEYS: &[&str] = &["secret"];
/// Key of the authority of a certificate.
const CA_KEYS: &[&str] = &["ca.crt"];
/// Text that is in every certificate.
const CERTIFICATE: &[u8] = b"BEGIN CERTIFICATE-----";

/// Files of one Secret in the folder of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    secret: String,
    /// `<target>/<purpose>`.
    folder: String,
    keys: &'static [&'static str],
}

impl Files {
    pub(super) fn new(secret: String, folder: String, keys: &'static [&'static str]) -> Self {
        Self { secret, folder, keys }
    }
}

/// Each Secret once, in the order of the targets.
pub(super) fn references(targets: &[Target]) -> Vec<Reference> {
    let mut found: Vec<Reference> = Vec::new();
    for target in targets {
        for secret in [&target.auth_ref, &target.signing_ref, &target.ca_secret_ref] {
            let Some(secret) = secret else { continue };
            let reference = Reference::Secret(secret.name.clone());
            if !found.contains(&reference) {
                found.push(reference);
            }
        }
    }
    found
}

/// The files of all targets; refuses Secrets that no call could be made with.
pub(super) fn files(targets: &[Target], inputs: &Referenced) -> Result<Vec<Files>, Refusal> {
    let mut files = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for target in targets {
        let name = &target.name;
        let invalid = |what: &str, why: String| {
            let field = format!("spec.targets[{name}]{what}");
            Err(Refusal::field(Reason::InvalidSpec, &field, why))
        };
        if !names.insert(name.as_str()) {
            return invalid("", format!("there is more than one target {name}"));
        }
        if target.ca_secret_ref.is_some() && target.tls == TargetTls::Off {
            return invalid(
                ".caSecretRef",
                "an authority is only for a target with tls: \"On\"".to_owned(),
            );
        }
        let of = |secret: &str, purpose: &str, keys| Files {
            secret: secret.to_owned(),
            folder: format!("{name}/{purpose}"),
            keys,
        };
        if let Some(auth) = &target.auth_ref {
            let field = format!("spec.targets[{name}].authRef");
            let content = checks::content(inputs, &auth.name, &field)?;
            let keys = CREDENTIALS.into_iter().find(|keys| has(content, keys));
            let Some(keys) = keys else {
                let why = format!(
                    "the Secret {} needs the key `token`, or `username` and `password`, or `header` \
                     and `value`",
                    auth.name
                );
                return invalid(".authRef", why);
            };
            files.push(of(&auth.name, TARGET_AUTH, keys));
        }
        if let Some(signing) = &target.signing_ref {
            let field = format!("spec.targets[{name}].signingRef");
            if !has(checks::content(inputs, &signing.name, &field)?, SIGNING_KEYS) {
                let why = format!("the Secret {} needs the key `secret`", signing.name);
                return invalid(".signingRef", why);
            }
            files.push(of(&signing.name, TARGET_SIGNING, SIGNING_KEYS));
        }
        if let Some(ca) = &target.ca_secret_ref {
            let field = format!("spec.targets[{name}].caSecretRef");
            let content = checks::content(inputs, &ca.name, &field)?;
            let pem = content.get("ca.crt").map(Vec::as_slice).unwrap_or_default();
            if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
                let why = format!("the Secret {} has no certificate under `ca.crt`", ca.name);
                return invalid(".caSecretRef", why);
            }
            files.push(of(&ca.name, TARGET_CA, CA_KEYS));
        }
    }
    Ok(files)
}

/// Whether each key has content.
fn has(content: &BTreeMap<String, Vec<u8>>, keys: &[&str]) -> bool {
    let filled = |key: &&str| content.get(*key).is_some_and(|value| !value.trim_ascii().is_empty());
    keys.iter().all(filled)
}

/// The volume; none without Secrets. New content reaches the folder, and the process, without a
/// restart.
pub(super) fn volume(files: &[Files]) -> Option<Volume> {
    let source = |files: &Files| VolumeProjection {
        secret: Some(SecretProjection {
            name: files.secret.clone(),
            items: Some(files.keys.iter().map(|key| item(&files.folder, key)).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    (!files.is_empty()).then(|| Volume {
        name: TARGETS.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(SECRET_MODE),
            sources: Some(files.iter().map(source).collect()),
        }),
        ..Volume::default()
    })
}

fn item(folder: &str, key: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: format!("{folder}/{key}"), ..KeyToPath::default() }
}
