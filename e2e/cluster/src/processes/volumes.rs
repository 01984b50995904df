//! The volumes of a pod as folders of this machine. ConfigMaps and Secrets are rewritten when they
//! change, all keys at once, by the symbolic link `..data` as a kubelet does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Volume,
};
use kube::{Api, Client, ResourceExt};

use crate::processes::environment::{self, Contents, Sources};
use crate::processes::mounts::Mounts;

type Files = BTreeMap<String, Vec<u8>>;

/// What a pod refers to in the API, as it is now.
pub(super) async fn read_sources(
    client: &Client,
    pod: &Pod,
    pod_address: &str,
    host_address: &str,
) -> Result<Sources, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut sources = Sources {
        pod_address: pod_address.to_owned(),
        host_address: host_address.to_owned(),
        ..Sources::default()
    };
    let (maps, secrets) = names(pod);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    for name in maps {
        if let Some(map) = api.get_opt(&name).await.map_err(|cause| cause.to_string())? {
            let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
            let binary = map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
            sources.config_maps.insert(name, text.chain(binary).collect());
        }
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for name in secrets {
        if let Some(secret) = api.get_opt(&name).await.map_err(|cause| cause.to_string())? {
            let content = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0));
            sources.secrets.insert(name, content.collect());
        }
    }
    Ok(sources)
}

/// Fills the folders of all volumes, by the volumes' names.
///
/// # Errors
/// What is missing or not known, in words.
pub(super) async fn fill(
    client: &Client,
    pod: &Pod,
    folder: &Path,
    sources: &Sources,
) -> Result<BTreeMap<String, PathBuf>, String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut folders = BTreeMap::new();
    for volume in volumes {
        let own = folder.join("volumes").join(&volume.name);
        let path = if let Some(claim) = &volume.persistent_volume_claim {
            claimed(client, &pod.namespace().unwrap_or_default(), &claim.claim_name).await?
        } else if let Some(host) = &volume.host_path {
            PathBuf::from(&host.path)
        } else {
            own
        };
        folders.insert(volume.name.clone(), path);
    }
    // A configuration file may name a folder by its address.
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let mounts = container.map(|container| Mounts::of(container, &folders)).unwrap_or_default();
    for volume in volumes {
        let path = &folders[&volume.name];
        let unusable = |cause: io::Error| format!("failed to use {}: {cause}", path.display());
        fs::create_dir_all(path).map_err(unusable)?;
        if let Some(mut files) = files(pod, volume, sources)? {
            if volume.config_map.is_some() {
                for file in files.values_mut() {
                    *file = mounts.replace_addresses(file);
                }
            }
            write(path, &files).map_err(unusable)?;
        }
    }
    Ok(folders)
}

/// Names of the ConfigMaps and of the Secrets a pod's volumes and variables refer to.
fn names(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    let Some(spec) = &pod.spec else { return (maps, secrets) };
    for volume in spec.volumes.iter().flatten() {
        maps.extend(volume.config_map.as_ref().map(|map| map.name.clone()));
        secrets.extend(volume.secret.as_ref().and_then(|secret| secret.secret_name.clone()));
        let projected = volume.projected.iter().flat_map(|projected| &projected.sources);
        for source in projected.flatten() {
            maps.extend(source.config_map.as_ref().map(|map| map.name.clone()));
            secrets.extend(source.secret.as_ref().map(|secret| secret.name.clone()));
        }
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for from in container.env_from.iter().flatten() {
            maps.extend(from.config_map_ref.as_ref().map(|map| map.name.clone()));
            secrets.extend(from.secret_ref.as_ref().map(|secret| secret.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            maps.extend(source.config_map_key_ref.as_ref().map(|key| key.name.clone()));
            secrets.extend(source.secret_key_ref.as_ref().map(|key| key.name.clone()));
        }
    }
    for names in [&mut maps, &mut secrets] {
        names.sort_unstable();
        names.dedup();
    }
    (maps, secrets)
}

/// The files a volume consists of, or nothing when the pod itself fills it.
fn files(pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    if let Some(map) = &volume.config_map {
        pick(&mut files, &sources.config_maps, &map.name, map.items.as_deref(), map.optional)?;
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        pick(&mut files, &sources.secrets, name, secret.items.as_deref(), secret.optional)?;
    } else if let Some(fields) = &volume.downward_api {
        downward(&mut files, pod, fields.items.as_deref(), sources)?;
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let items = map.items.as_deref();
                pick(&mut files, &sources.config_maps, &map.name, items, map.optional)?;
            } else if let Some(secret) = &source.secret {
                let items = secret.items.as_deref();
                pick(&mut files, &sources.secrets, &secret.name, items, secret.optional)?;
            } else if let Some(fields) = &source.downward_api {
                downward(&mut files, pod, fields.items.as_deref(), sources)?;
            }
            // Tokens: processes here are not asked to speak to the API as their account.
        }
    } else if volume.empty_dir.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.host_path.is_some()
    {
        return Ok(None);
    } else {
        return Err(format!("volume {} is of a kind toy nodes do not know", volume.name));
    }
    Ok(Some(files))
}

fn pick(
    files: &mut Files,
    contents: &Contents,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> Result<(), String> {
    let optional = optional == Some(true);
    let Some(content) = contents.get(name) else {
        return if optional { Ok(()) } else { Err(format!("{name} not found")) };
    };
    let Some(items) = items else {
        files.extend(content.clone());
        return Ok(());
    };
    for item in items {
        match content.get(&item.key) {
            Some(value) => drop(files.insert(item.path.clone(), value.clone())),
            None if optional => {}
            None => return Err(format!("no key {} in {name}", item.key)),
        }
    }
    Ok(())
}

fn downward(
    files: &mut Files,
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    sources: &Sources,
) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let Some(selector) = &item.field_ref else {
            return Err(format!("{} is not a field of the pod", item.path));
        };
        let value = environment::field(pod, &selector.field_path, sources)
            .ok_or(format!("no field {}", selector.field_path))?;
        files.insert(item.path.clone(), value.into_bytes());
    }
    Ok(())
}

/// The folder behind a bound claim.
async fn claimed(client: &Client, namespace: &str, claim: &str) -> Result<PathBuf, String> {
    let text = |cause: kube::Error| cause.to_string();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let bound = claims.get(claim).await.map_err(text)?.spec.and_then(|spec| spec.volume_name);
    let name = bound.ok_or(format!("claim {claim} is not bound"))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let spec = volumes.get(&name).await.map_err(text)?.spec.unwrap_or_default();
    let local = spec.local.map(|local| local.path).or(spec.host_path.map(|host| host.path));
    local.map(PathBuf::from).ok_or(format!("volume {name} is no folder of this machine"))
}

/// Makes `folder` show exactly `files`. Readers see the old ones or the new ones, never a mixture.
fn write(folder: &Path, files: &Files) -> io::Result<()> {
    let current = folder.join("..data");
    if shows(&current, files) {
        return Ok(());
    }
    let old = fs::read_link(&current).ok();
    let fresh = format!("..{:016x}", rand::random::<u64>());
    for (path, content) in files {
        let path = folder.join(&fresh).join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, content)?;
    }
    fs::create_dir_all(folder.join(&fresh))?;
    let swap = folder.join("..swap");
    symlink(&fresh, &swap)?;
    fs::rename(&swap, &current)?;
    link_tops(folder, files)?;
    old.map_or(Ok(()), |old| fs::remove_dir_all(folder.join(old)))
}

/// One link per file or folder at the top, through `..data`; those without a target go.
fn link_tops(folder: &Path, files: &Files) -> io::Result<()> {
    for path in files.keys() {
        let top = path.split('/').next().unwrap_or(path);
        let link = folder.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().starts_with("..");
        if !own && !entry.path().exists() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn shows(data: &Path, files: &Files) -> bool {
    let same = |(path, content): (&String, &Vec<u8>)| {
        fs::read(data.join(path)).is_ok_and(|found| found == *content)
    };
    data.is_dir() && files.iter().all(same) && count(data) == files.len()
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn seen(folder: &Path) -> Vec<String> {
        let names =
            fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with(".."));
        names.sort_unstable();
        names
    }

    #[test]
    fn a_change_adds_rewrites_and_removes_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        write(path, &files(&[("a", "1"), ("deep/b", "2")])).expect("written");
        assert_eq!(seen(path), ["a", "deep"]);
        write(path, &files(&[("a", "3"), ("c", "4")])).expect("written again");
        assert_eq!(seen(path), ["a", "c"]);
        assert_eq!(fs::read_to_string(path.join("a")).expect("a file"), "3");
    }

    #[test]
    fn unchanged_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let same = files(&[("a", "1")]);
        write(folder.path(), &same).expect("written");
        let before = fs::read_link(folder.path().join("..data")).expect("a link");
        write(folder.path(), &same).expect("nothing to do");
        assert_eq!(fs::read_link(folder.path().join("..data")).expect("a link"), before);
    }

    #[test]
    fn an_empty_map_is_an_empty_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &Files::new()).expect("written");
        assert!(seen(folder.path()).is_empty());
    }
}
