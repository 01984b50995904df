//! The files a user names: found, read, and watched for changes.
//!
//! Must not: understand them. A folder stands for the YAML files directly in it, as with
//! `kubectl apply -f`. Watching is by looking: it works on every file system and with every editor,
//! and a few dozen `stat` calls cost nothing.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem};

/// Larger files are no specs.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// More files are a mistake, such as a home folder.
const FILES_MAX: usize = 2_000;

/// A file with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

/// What the user named.
#[derive(Debug, Clone)]
pub struct Sources {
    paths: Vec<PathBuf>,
}

/// Looks of all files at one moment; different when something may have changed.
pub type Fingerprint = Vec<(PathBuf, Option<(u64, i64, i64, u64)>)>;

impl Sources {
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// All files, read.
    pub fn read(&self) -> Result<Vec<SourceFile>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut files = Vec::new();
        for path in &self.paths {
            match list(path) {
                Ok(found) if found.is_empty() => {
                    problems.push(problem(path, "there is no .yaml, .yml or .json file in it"));
                }
                Ok(found) => files.extend(found),
                Err(error) => problems.push(problem(path, format!("failed to read: {error}"))),
            }
        }
        // The same file may have been named twice.
        let mut seen = std::collections::HashSet::new();
        files.retain(|path: &PathBuf| {
            seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone()))
        });
        if files.len() > FILES_MAX {
            let message = format!("{} files are more than the {FILES_MAX} allowed", files.len());
            return Err(vec![problem(&self.paths[0], message)]);
        }
        let mut sources = Vec::new();
        for path in files {
            match read(&path) {
                Ok(text) => sources.push(SourceFile { path, text }),
                Err(message) => problems.push(problem(&path, message)),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }

    /// How all files look now.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut looks = Vec::new();
        for path in &self.paths {
            let files = list(path).unwrap_or_default();
            looks.push((path.clone(), None));
            for file in files.into_iter().take(FILES_MAX) {
                let look = std::fs::metadata(&file).ok().map(|metadata| look(&metadata));
                looks.push((file, look));
            }
        }
        looks
    }
}

fn look(metadata: &Metadata) -> (u64, i64, i64, u64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino())
}

fn list(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let wanted = matches!(extension.as_str(), "yaml" | "yml" | "json");
        if wanted && !name.starts_with('.') && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("failed to read: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes are more than the {FILE_BYTES_MAX} a spec may have"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("failed to read: {error}"))
}

fn problem(file: &Path, message: impl Into<String>) -> Problem {
    Problem {
        file: file.to_owned(),
        place: Place::default(),
        field: String::new(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_yaml_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "c.json", ".hidden.yaml", "d.txt"] {
            std::fs::write(folder.path().join(name), "a: 1\n").unwrap();
        }
        let sources = Sources::new(vec![folder.path().to_owned(), folder.path().join("b.yaml")]);
        let files = sources.read().unwrap();
        let names: Vec<&str> =
            files.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.yml", "b.yaml", "c.json"]);
    }

    #[test]
    fn a_missing_file_and_an_empty_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere.yaml");
        let problems = Sources::new(vec![missing, folder.path().to_owned()]).read().unwrap_err();
        assert!(problems[0].to_string().contains("nowhere.yaml: failed to read"), "{problems:?}");
        assert!(problems[1].message.contains("no .yaml"), "{problems:?}");
    }

    #[test]
    fn every_kind_of_change_shows_in_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "a: 1\n").unwrap();
        let sources = Sources::new(vec![folder.path().to_owned()]);
        let first = sources.fingerprint();
        assert_eq!(first, sources.fingerprint());
        std::fs::write(&file, "a: 10\n").unwrap();
        let second = sources.fingerprint();
        assert_ne!(first, second);
        std::fs::write(folder.path().join("b.yaml"), "").unwrap();
        assert_ne!(second, sources.fingerprint());
        std::fs::remove_file(&file).unwrap();
        assert_ne!(first, sources.fingerprint());
    }
}
