//! What containers of all systems find on their file system: configuration, secrets, certificates,
//! data.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, SecretVolumeSource, Volume, VolumeMount,
};

use super::{Frame, names};

/// Name of the claim template and of its mount.
pub(crate) const DATA: &str = "data";
pub(crate) const CONFIG: &str = "config";
pub(crate) const SECRETS: &str = "secrets";
pub(crate) const IDENTITY: &str = "identity";

/// Folder of the configuration file.
pub(crate) const CONFIG_FOLDER: &str = "/etc/orrery";
/// Folder of secrets, one file per key.
pub(crate) const SECRETS_FOLDER: &str = "/run/orrery/secrets";
/// Volume of what is read again when it changes.
pub(crate) const LIVE: &str = "live";
/// Folder of it.
pub(crate) const LIVE_FOLDER: &str = "/run/orrery/live";
/// Folder of the certificate of the pod.
pub(crate) const IDENTITY_FOLDER: &str = "/run/orrery/identity";
/// Folder of journal and snapshots.
pub(crate) const DATA_FOLDER: &str = "/data";

/// Files of secrets: readable by the group, which is the volume's.
pub(crate) const SECRET_MODE: i32 = 0o440;

/// The configuration file.
pub(crate) fn config(frame: &Frame<'_>) -> Volume {
    Volume {
        name: CONFIG.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: frame.main(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The certificate of the pod. A renewed one reaches the folder, and the process, without a restart.
pub(crate) fn identity(frame: &Frame<'_>) -> Option<Volume> {
    let name = names::identity(&frame.identity.name, frame.system);
    frame.identity.secured.then(|| secret(IDENTITY, &name))
}

/// A volume of all keys of a Secret.
pub(crate) fn secret(volume: &str, name: &str) -> Volume {
    Volume { name: volume.to_owned(), secret: Some(whole(name.to_owned())), ..Volume::default() }
}

/// All keys of a Secret.
pub(crate) fn whole(name: String) -> SecretVolumeSource {
    SecretVolumeSource {
        secret_name: Some(name),
        default_mode: Some(SECRET_MODE),
        ..SecretVolumeSource::default()
    }
}

/// A key as a file of its name.
pub(crate) fn item(key: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: key.to_owned(), ..KeyToPath::default() }
}

pub(crate) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
