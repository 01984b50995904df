//! The objects as they were last accepted, and their memory over restarts: names, generations and
//! the time they were first seen.
//!
//! Must not: hold anything that can be found out again; status is made anew each time.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::folder::{Folder, FolderError, read_file, write_file};
use crate::spec::Declaration;

/// Kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An accepted object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub key: Key,
    /// The object with defaults, generation and the time it was first seen; without status.
    pub object: Json,
    /// Where it was declared; none for an engine that exists because something needs it.
    pub source: Option<PathBuf>,
}

impl Stored {
    /// What its own `spec.deletionPolicy` says of its data.
    pub fn fate(&self) -> Fate {
        if self.object["spec"]["deletionPolicy"] == "Delete" { Fate::Deleted } else { Fate::Kept }
    }

    pub fn generation(&self) -> i64 {
        self.object["metadata"]["generation"].as_i64().unwrap_or(0)
    }
}

/// What becomes of an object when a new set is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Created(Key),
    /// With the fields that changed, as `path: old → new`.
    Changed(Key, Vec<String>),
    Removed(Key, Fate),
}

impl Change {
    /// Of which object.
    pub fn key(&self) -> &Key {
        let (Self::Created(key) | Self::Changed(key, _) | Self::Removed(key, _)) = self;
        key
    }
}

/// What becomes of the data of an object that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Kept,
    /// `spec.deletionPolicy` was `Delete`.
    Deleted,
}

/// All accepted objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Objects {
    list: Vec<Stored>,
}

/// The file is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("failed to understand {}: {message}; remove it to start with what the files say", path.display())]
    Broken { path: PathBuf, message: String },
}

impl Objects {
    /// Reads what was accepted last; nothing in a new folder.
    pub fn read(folder: &Folder) -> Result<Self, ObjectsError> {
        let path = folder.state();
        let Some(bytes) = read_file(&path)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes)
            .map_err(|error| ObjectsError::Broken { path, message: error.to_string() })
    }

    pub fn write(&self, folder: &Folder) -> Result<(), FolderError> {
        write_file(&folder.state(), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.list.iter()
    }

    pub fn get(&self, key: &Key) -> Option<&Stored> {
        self.list.iter().find(|stored| stored.key == *key)
    }

    /// The objects by key, for rules that compare with what was before.
    pub fn by_key(&self) -> BTreeMap<Key, Json> {
        self.list.iter().map(|stored| (stored.key.clone(), stored.object.clone())).collect()
    }

    /// The set after `declarations` were accepted, and what is different. A changed spec gets the
    /// next generation.
    pub fn accept(&self, declarations: &[Declaration], now: Timestamp) -> (Self, Vec<Change>) {
        let mut changes = Vec::new();
        let mut list = Vec::new();
        for declaration in declarations {
            let key = declaration.key.clone();
            let mut object = declaration.object.clone();
            let old = self.get(&key);
            let (generation, created) = match old {
                None => {
                    changes.push(Change::Created(key.clone()));
                    (1, json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
                }
                Some(old) => {
                    let differences = differences(&old.object["spec"], &object["spec"]);
                    let step = i64::from(!differences.is_empty());
                    if step > 0 {
                        changes.push(Change::Changed(key.clone(), differences));
                    }
                    let created = old.object["metadata"]["creationTimestamp"].clone();
                    (old.generation() + step, created)
                }
            };
            object["metadata"]["generation"] = json!(generation);
            object["metadata"]["creationTimestamp"] = created;
            list.push(Stored { key, object, source: declaration.source.clone() });
        }
        for old in &self.list {
            if !list.iter().any(|stored: &Stored| stored.key == old.key) {
                changes.push(Change::Removed(old.key.clone(), old.fate()));
            }
        }
        (Self { list }, changes)
    }
}

/// More differences would not be read.
const DIFFERENCES_MAX: usize = 20;

/// Fields that differ, as `spec.path: old → new`.
fn differences(old: &Json, new: &Json) -> Vec<String> {
    let mut found = Vec::new();
    compare("spec", Some(old), Some(new), &mut found);
    found
}

fn compare(path: &str, old: Option<&Json>, new: Option<&Json>, found: &mut Vec<String>) {
    if old == new || found.len() >= DIFFERENCES_MAX {
        return;
    }
    if let (Some(Json::Object(old)), Some(Json::Object(new))) = (old, new) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            compare(&format!("{path}.{name}"), old.get(name), new.get(name), found);
        }
        return;
    }
    let shown = |value: Option<&Json>| value.map_or_else(|| "unset".to_owned(), Json::to_string);
    found.push(format!("{path}: {} → {}", shown(old), shown(new)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, spec: &Json) -> Declaration {
        let key = Key { kind: "K".into(), namespace: "default".into(), name: name.into() };
        let object = json!({"metadata": {"name": name}, "spec": spec});
        Declaration { key, object, source: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_generation_moves_only_with_the_spec_and_survives_a_restart() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        let (first, changes) =
            Objects::default().accept(&[declared("a", &json!({"n": 1}))], at(100));
        assert!(matches!(&changes[..], [Change::Created(_)]));
        first.write(&folder).unwrap();
        let read = Objects::read(&folder).unwrap();
        assert_eq!(read, first);
        let (same, changes) = read.accept(&[declared("a", &json!({"n": 1}))], at(200));
        assert_eq!((same.list[0].generation(), changes.len()), (1, 0));
        let (second, changes) =
            same.accept(&[declared("a", &json!({"n": 2, "m": {"x": 1}}))], at(300));
        let key = second.list[0].key.clone();
        let fields = vec!["spec.m: unset → {\"x\":1}".to_owned(), "spec.n: 1 → 2".to_owned()];
        assert_eq!(changes, [Change::Changed(key, fields)]);
        assert_eq!(second.list[0].generation(), 2);
        let created = &second.list[0].object["metadata"]["creationTimestamp"];
        assert_eq!(created, "1970-01-01T00:01:40Z");
    }

    #[test]
    fn what_is_no_longer_declared_is_removed() {
        let (both, _) = Objects::default()
            .accept(&[declared("a", &json!({})), declared("b", &json!({}))], at(1));
        let (one, changes) = both.accept(&[declared("b", &json!({}))], at(2));
        assert_eq!(one.list.len(), 1);
        assert!(matches!(&changes[..], [Change::Removed(key, Fate::Kept)] if key.name == "a"));
        let doomed = json!({"deletionPolicy": "Delete"});
        let (all, _) = one.accept(&[declared("b", &doomed)], at(3));
        let (_, changes) = all.accept(&[], at(4));
        assert!(matches!(&changes[..], [Change::Removed(_, Fate::Deleted)]));
    }
}
