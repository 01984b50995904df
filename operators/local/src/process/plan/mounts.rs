//! Volumes of a pod as folders of this machine, and the paths that point into them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, KeyToPath, SecretVolumeSource, Volume, VolumeProjection,
};
use orrery_runtime::GeneratedSecret;

use super::{PlanError, Pod, below, cannot};

/// Begin of the address of a folder in a configuration file.
const ADDRESS: &str = "file://";

/// The folders and files of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Mount path in the container → folder on this machine; longest paths first.
    paths: Vec<(String, PathBuf)>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Those of the files that a process reads again when they change.
    pub live: BTreeMap<PathBuf, Vec<u8>>,
    pub folders: Vec<PathBuf>,
    pub emptied: Vec<PathBuf>,
}

impl Mounts {
    /// Replaces a mount path, alone, at the start of a path, or behind the `=` of a flag.
    pub fn replace(&self, text: &str) -> String {
        let (head, path) = match text.split_once('=') {
            Some((flag, path)) if !flag.contains('/') => (&text[..=flag.len()], path),
            _ => ("", text),
        };
        for (mount, folder) in &self.paths {
            if let Some(rest) = path.strip_prefix(mount.as_str())
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return format!("{head}{}{rest}", folder.display());
            }
        }
        text.to_owned()
    }

    /// The address of a mounted folder in a configuration file, as a folder of this machine.
    fn replace_addresses(&self, content: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(content) else { return content.to_vec() };
        let mut pieces = text.split(ADDRESS);
        let mut replaced = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let found = self.paths.iter().find(|(mount, _)| {
                let behind = piece.strip_prefix(mount.as_str());
                behind.is_some_and(|behind| !behind.starts_with(is_of_a_name))
            });
            replaced.push_str(ADDRESS);
            match found {
                Some((mount, folder)) => {
                    replaced.push_str(&folder.display().to_string());
                    replaced.push_str(&piece[mount.len()..]);
                }
                None => replaced.push_str(piece),
            }
        }
        replaced.into_bytes()
    }

    fn add(&mut self, mount: &str, folder: PathBuf) {
        self.paths.push((mount.trim_end_matches('/').to_owned(), folder));
        self.paths.sort_by_key(|(mount, _)| std::cmp::Reverse(mount.len()));
    }
}

/// What goes on with the name of a folder.
fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl Pod<'_> {
    /// Folders for everything the container mounts.
    pub(super) fn mounts(
        &self,
        container: &Container,
        volumes: &[&Volume],
    ) -> Result<Mounts, PlanError> {
        let mut mounts = Mounts::default();
        let mut configured = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let folder = if self.claims.contains(&mount.name.as_str()) {
                self.claim_folder(&mount.name)
            } else {
                let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else {
                    return Err(cannot(format!("the unknown volume {}", mount.name)));
                };
                if let Some(claim) = &volume.persistent_volume_claim {
                    // Somebody named it: it belongs to no pod, and stays.
                    self.folder.volume(self.namespace, &claim.claim_name)
                } else {
                    let folder = self.mount_folder(&volume.name);
                    let mut files = BTreeMap::new();
                    self.fill(volume, &folder, &mut files)?;
                    if volume.config_map.is_some() {
                        configured.extend(files.keys().cloned());
                    }
                    mounts.files.append(&mut files);
                    mounts.live.extend(self.given(volume, &folder)?);
                    if volume.empty_dir.is_none() {
                        mounts.emptied.push(folder.clone());
                    }
                    folder
                }
            };
            mounts.folders.push(folder.clone());
            let target = match mount.sub_path.as_deref() {
                None | Some("") => folder,
                Some(sub) => {
                    below(&folder, sub).ok_or_else(|| cannot(format!("the sub path {sub}")))?
                }
            };
            mounts.add(&mount.mount_path, target);
        }
        for path in configured {
            let replaced = mounts.files.get(&path).map(|file| mounts.replace_addresses(file));
            mounts.files.extend(replaced.map(|file| (path, file)));
        }
        Ok(mounts)
    }

    pub(super) fn generated(&self, name: &str) -> Option<&GeneratedSecret> {
        self.generated.iter().find(|secret| secret.metadata.name.as_deref() == Some(name))
    }

    /// Files of a Secret that a system gives the content of.
    fn given(
        &self,
        volume: &Volume,
        folder: &Path,
    ) -> Result<BTreeMap<PathBuf, Vec<u8>>, PlanError> {
        let mut files = BTreeMap::new();
        let Some(source) = &volume.secret else { return Ok(files) };
        let name = source.secret_name.as_deref().unwrap_or_default();
        let Some(secret) = self.generated(name) else { return Ok(files) };
        let content = secret.given.iter().map(|(key, value)| (key.clone(), value.expose().clone()));
        let content = Some(content.collect());
        // What the carrier would have made up is not there.
        put(name, content, source.items.as_deref(), true, folder, &mut files)?;
        Ok(files)
    }

    fn fill(
        &self,
        volume: &Volume,
        folder: &Path,
        files: &mut BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(), PlanError> {
        if let Some(source) = &volume.config_map {
            let content = self.config_map(&source.name);
            let optional = source.optional == Some(true);
            return put(&source.name, content, source.items.as_deref(), optional, folder, files);
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            if self.generated(name).is_some() {
                return Ok(());
            }
            let content = self.found.secrets.get(name).map(|secret| secret.expose().clone());
            let optional = source.optional == Some(true);
            return put(name, content, source.items.as_deref(), optional, folder, files);
        }
        if volume.empty_dir.is_some() {
            return Ok(());
        }
        if let Some(projected) = &volume.projected {
            let parts = projected.sources.iter().flatten();
            return parts.into_iter().try_for_each(|part| self.fill_part(part, folder, files));
        }
        Err(cannot(format!("the kind of volume {}", volume.name)))
    }

    /// One source of a projected volume.
    fn fill_part(
        &self,
        part: &VolumeProjection,
        folder: &Path,
        files: &mut BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(), PlanError> {
        let (secret, config_map) = (part.secret.as_ref(), part.config_map.as_ref());
        let whole = Volume {
            secret: secret.map(|part| SecretVolumeSource {
                secret_name: Some(part.name.clone()),
                items: part.items.clone(),
                optional: part.optional,
                ..SecretVolumeSource::default()
            }),
            config_map: config_map.map(|part| ConfigMapVolumeSource {
                name: part.name.clone(),
                items: part.items.clone(),
                optional: part.optional,
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        };
        self.fill(&whole, folder, files)
    }

    /// Content of a config map that was built, or that the user declared.
    pub(super) fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let built = self.config_maps.iter().find(|m| m.metadata.name.as_deref() == Some(name));
        if let Some(map) = built {
            let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
            let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
            return Some(text.chain(binary).collect());
        }
        let found = self.found.config_maps.get(name)?;
        Some(found.iter().map(|(k, v)| (k.clone(), v.clone().into_bytes())).collect())
    }
}

/// Puts each key into a file of the folder, or those in `items` at the paths named there.
fn put(
    name: &str,
    content: Option<BTreeMap<String, Vec<u8>>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    folder: &Path,
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), PlanError> {
    let Some(mut content) = content else {
        return if optional { Ok(()) } else { Err(cannot(format!("the missing {name}"))) };
    };
    let places: Vec<(String, String)> = match items {
        None => content.keys().map(|key| (key.clone(), key.clone())).collect(),
        Some(items) => items.iter().map(|i| (i.key.clone(), i.path.clone())).collect(),
    };
    for (key, path) in places {
        let target = below(folder, &path).ok_or_else(|| cannot(format!("the path {path}")))?;
        match content.remove(&key) {
            Some(bytes) => drop(files.insert(target, bytes)),
            None if optional => {}
            None => return Err(cannot(format!("the missing key {key} of {name}"))),
        }
    }
    Ok(())
}
