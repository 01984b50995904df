//! Where a container sees its volumes, and where they really are. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;

/// Begin of the address of a folder in a configuration file.
const ADDRESS: &str = "file://";

/// Mount paths of one container, the longest first, each with its folder on this machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Mounts(Vec<(String, String)>);

impl Mounts {
    /// The mounts of a container whose pod has these volumes.
    pub(super) fn of(container: &Container, volumes: &BTreeMap<String, PathBuf>) -> Self {
        let mounted = container.volume_mounts.iter().flatten().filter_map(|mount| {
            let mut folder = volumes.get(&mount.name)?.clone();
            folder.extend(mount.sub_path.as_deref());
            let path = mount.mount_path.trim_end_matches('/').to_owned();
            Some((path, folder.display().to_string()))
        });
        let mut mounts: Vec<_> = mounted.collect();
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(mounts)
    }

    /// The file with the addresses of mounted folders in it replaced: `file://` before a mount path.
    pub(super) fn replace_addresses(&self, content: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(content) else { return content.to_vec() };
        let mut pieces = text.split(ADDRESS);
        let mut replaced = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let found = self.0.iter().find(|(path, _)| leads(piece, path));
            replaced.push_str(ADDRESS);
            match found {
                Some((path, folder)) => {
                    replaced.push_str(folder);
                    replaced.push_str(&piece[path.len()..]);
                }
                None => replaced.push_str(piece),
            }
        }
        replaced.into_bytes()
    }

    /// `text` with every mount path in it replaced. A path counts only as a whole: at the start or
    /// behind something that is no part of a path, and up to a slash or the like.
    pub(super) fn replace(&self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            if !replaced.ends_with(is_path)
                && let Some((path, folder)) = self.0.iter().find(|(path, _)| leads(rest, path))
            {
                // What follows belongs to the path and holds no other.
                let behind = &rest[path.len()..];
                let end = behind.find(|c| !is_path(c)).unwrap_or(behind.len());
                replaced.push_str(folder);
                replaced.push_str(&behind[..end]);
                rest = &behind[end..];
                continue;
            }
            let mut letters = rest.chars();
            replaced.extend(letters.next());
            rest = letters.as_str();
        }
        replaced
    }
}

fn leads(text: &str, path: &str) -> bool {
    let behind = text.strip_prefix(path);
    behind
        .is_some_and(|behind| behind.is_empty() || behind.starts_with(|c| c == '/' || !is_path(c)))
}

/// What a path is written with.
fn is_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object;
    use serde_json::json;

    fn mounts() -> Mounts {
        let container: Container = object(json!({ "name": "main", "volumeMounts": [
            { "name": "data", "mountPath": "/data" },
            { "name": "inner", "mountPath": "/data/inner/" },
            { "name": "data", "mountPath": "/part", "subPath": "a/b" },
        ] }));
        let volumes = [("data", "/real/data"), ("inner", "/real/inner")];
        let volumes = volumes.map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        Mounts::of(&container, &volumes.into())
    }

    #[test]
    fn whole_paths_are_replaced_wherever_they_stand() {
        for (text, wanted) in [
            ("/data", "/real/data"),
            ("/data/x.txt", "/real/data/x.txt"),
            ("--folder=/data", "--folder=/real/data"),
            ("cat /data/x; ls /part/y", "cat /real/data/x; ls /real/data/a/b/y"),
            ("/data/inner/z:/data", "/real/inner/z:/real/data"),
        ] {
            assert_eq!(mounts().replace(text), wanted, "{text}");
        }
    }

    #[test]
    fn addresses_of_mounted_folders_are_replaced_in_files() {
        let file = "to: \"file:///data/a\"\nfrom: \"file:///data\"\nother: \"file:///database\"\n";
        let wanted = "to: \"file:///real/data/a\"\nfrom: \"file:///real/data\"\nother: \"file:///database\"\n";
        let replaced = mounts().replace_addresses(file.as_bytes());
        assert_eq!(String::from_utf8(replaced).expect("text"), wanted);
        assert_eq!(mounts().replace_addresses(b"\xff/data"), b"\xff/data");
    }

    #[test]
    fn what_only_looks_like_a_mount_path_stays() {
        for text in ["/database", "/var/data", "http://host/data", "/data-2", ""] {
            assert_eq!(mounts().replace(text), text);
        }
    }
}
