//! Archives in pods: where they are mounted, and the addresses engines know them by.
//!
//! Must not: know a system. Every object has a part of a store for itself, so that two objects with
//! the same store never meet.

pub(crate) mod stores;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EnvVar, PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};
use orrery_api::Reason;
use orrery_api::spec::{ArchiveOf, Bucket, Folder};
use orrery_runtime::Refusal;

/// Keys the Secret of a bucket must have, each with or without [`PREFIX`].
const KEYS: [&str; 2] = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"];
/// Key of the Secret with the address of the store, unless the spec names it.
const ENDPOINT_KEY: &str = "ENDPOINT_URL";
const PREFIX: &str = "AWS_";

/// What a mounted store is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The object adds to it.
    Archive,
    /// The object is recovered from it.
    Recovery,
}

impl Use {
    /// Name of the volume of the folder.
    const fn volume(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Recovery => "recovery",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Archive => "/archive",
            Self::Recovery => "/recovery",
        }
    }

    const fn secret_volume(self) -> &'static str {
        match self {
            Self::Archive => "archive-secret",
            Self::Recovery => "recovery-secret",
        }
    }

    const fn secret_folder(self) -> &'static str {
        match self {
            Self::Archive => "/run/orrery/archive-secret",
            Self::Recovery => "/run/orrery/recovery-secret",
        }
    }
}

/// Files of secrets: readable by the group, which is the volume's.
const SECRET_MODE: i32 = 0o440;

/// One store as the pods of an object see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mounted {
    use_: Use,
    folder: Option<Folder>,
    bucket: Option<Bucket>,
}

impl Mounted {
    /// The store of an archive.
    pub fn new(use_: Use, archive: &ArchiveOf) -> Self {
        Self { use_, folder: archive.folder.clone(), bucket: archive.bucket.clone() }
    }

    /// What it is for.
    pub fn purpose(&self) -> Use {
        self.use_
    }

    /// The volume: the claim, or the Secret of the bucket.
    pub fn volume(&self) -> Option<Volume> {
        if let Some(folder) = &self.folder {
            return Some(Volume {
                name: self.use_.volume().to_owned(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: folder.claim_name.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            });
        }
        self.bucket.as_ref().map(|bucket| Volume {
            name: self.use_.secret_volume().to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(bucket.secret_ref.name.clone()),
                default_mode: Some(SECRET_MODE),
                // What was recovered from is not needed any more once the data is there.
                optional: (self.use_ == Use::Recovery).then_some(true),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        })
    }

    /// Where it is mounted.
    pub fn mount(&self) -> Option<VolumeMount> {
        let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        };
        let is_read = self.use_ == Use::Recovery;
        match (&self.folder, &self.bucket) {
            (Some(_), _) => Some(mount(self.use_.volume(), self.use_.folder(), is_read)),
            (None, Some(_)) => {
                Some(mount(self.use_.secret_volume(), self.use_.secret_folder(), true))
            }
            (None, None) => None,
        }
    }

    /// The variable that names the folder of the Secret of a bucket.
    pub fn variable(&self, name: &str) -> Option<EnvVar> {
        self.bucket.as_ref().map(|_| EnvVar {
            name: name.to_owned(),
            value: Some(self.use_.secret_folder().to_owned()),
            ..EnvVar::default()
        })
    }
}

/// The address of an object's part of a store, as a process in the pod knows it: `file:///…` or
/// `s3://bucket/prefix`.
pub fn address(use_: Use, archive: &ArchiveOf) -> String {
    let (begin, below) = match (&archive.folder, &archive.bucket) {
        (Some(folder), _) => (format!("file://{}", use_.folder()), folder.path.as_ref()),
        (None, Some(bucket)) => (format!("s3://{}", bucket.name), bucket.prefix.as_ref()),
        // A rule refuses it before anything is built.
        (None, None) => return String::new(),
    };
    let below = below.map(|below| format!("/{below}")).unwrap_or_default();
    format!("{begin}{below}/{}/{}", archive.object.namespace, archive.object.name)
}

/// The port of the store of a bucket, by the content of its Secret, which must have the credentials.
pub(crate) fn bucket_port_of(
    name: &str,
    secret: &BTreeMap<String, Vec<u8>>,
    endpoint: Option<&str>,
    field: &str,
) -> Result<u16, Refusal> {
    let value = |key: &str| secret.get(&format!("{PREFIX}{key}")).or_else(|| secret.get(key));
    let is_missing = |key: &&str| value(key).is_none_or(|value| value.trim_ascii().is_empty());
    if let Some(key) = KEYS.iter().find(|key| is_missing(key)) {
        let message = format!("the Secret {name} has no value under the key `{PREFIX}{key}`");
        return Err(Refusal::field(Reason::InvalidSpec, field, message));
    }
    let in_secret = value(ENDPOINT_KEY);
    let in_secret = in_secret.and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    Ok(port(endpoint.or(in_secret)))
}

/// Port of the store behind an endpoint such as `https://host:9000`; without one, HTTPS.
pub fn port(endpoint: Option<&str>) -> u16 {
    let Some(endpoint) = endpoint else { return 443 };
    let default = if endpoint.starts_with("http://") { 80 } else { 443 };
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    let host = host.split('/').next().unwrap_or(host);
    // The colons of an IPv6 address are inside brackets.
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    after.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn archive(store: serde_json::Value) -> ArchiveOf {
        let mut archive = store;
        archive["object"] = json!({"namespace": "shop", "name": "orders"});
        serde_json::from_value(archive).unwrap()
    }

    #[test]
    fn each_object_has_an_address_of_its_own() {
        for (store, expected) in [
            (json!({"folder": {"claimName": "c"}}), "file:///archive/shop/orders"),
            (
                json!({"folder": {"claimName": "c", "path": "a/b"}}),
                "file:///archive/a/b/shop/orders",
            ),
            (
                json!({"bucket": {"name": "abc", "secretRef": {"name": "s"}}}),
                "s3://abc/shop/orders",
            ),
            (
                json!({"bucket": {"name": "abc", "prefix": "p", "secretRef": {"name": "s"}}}),
                "s3://abc/p/shop/orders",
            ),
        ] {
            assert_eq!(address(Use::Archive, &archive(store)), expected);
        }
    }

    #[test]
    fn the_port_of_a_store_is_that_of_its_endpoint() {
        for (endpoint, expected) in [
            (None, 443),
            (Some("https://s3.example.org"), 443),
            (Some("http://minio"), 80),
            (Some("http://minio:9000/"), 9000),
            (Some("https://[fd00::1]:9001"), 9001),
            (Some("https://[fd00::1]"), 443),
        ] {
            assert_eq!(port(endpoint), expected, "{endpoint:?}");
        }
    }
}
