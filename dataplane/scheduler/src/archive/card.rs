//! What a partition says of itself in its archive, so that a recovery from there goes on with the keys
//! that targets know.
//!
//! Numbers of runs grow along a journal, and a journal that is recovered goes on with the numbers behind
//! the moment it was recovered to, which the engine before may have used as well. So runs up to there
//! keep the name of that engine in their keys, and runs behind have the new one.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// In the folder of the partitions, where it was recovered.
const FILE: &str = "inherited.json";

/// What keys of runs began with in an engine before, and the last run of each partition that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inherited {
    pub name: String,
    /// By partition.
    pub until: Vec<u64>,
}

impl Inherited {
    /// Whether this run was launched, or may have been, under that name.
    pub fn has(&self, partition: u16, run: u64) -> bool {
        self.until.get(usize::from(partition)).is_some_and(|until| run <= *until)
    }
}

/// The same of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Before {
    pub(super) name: String,
    pub(super) until: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Card {
    /// How many partitions there are, and which one this is.
    pub(super) partitions: usize,
    pub(super) partition: u16,
    /// What keys of runs begin with.
    pub(super) name: String,
    /// What they began with before this engine was recovered, the oldest first.
    pub(super) before: Vec<Before>,
}

impl Card {
    pub(super) fn of(
        partition: u16,
        partitions: usize,
        name: &str,
        inherited: &[Inherited],
    ) -> Self {
        let of_it = |from: &Inherited| Before {
            name: from.name.clone(),
            until: from.until.get(usize::from(partition)).copied().unwrap_or(0),
        };
        let before = inherited.iter().map(of_it).collect();
        Self { partitions, partition, name: name.to_owned(), before }
    }

    pub(super) fn to_text(&self) -> String {
        // Names and numbers are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the engine of these cards, one for each partition in their order, leaves to the one that is
/// recovered from it: `last` has the newest run of each partition.
pub(super) fn inherit(cards: &[Card], last: &[u64]) -> Vec<Inherited> {
    let Some(first) = cards.first() else { return vec![] };
    let of_name = |index: usize, name: &str| Inherited {
        name: name.to_owned(),
        until: cards
            .iter()
            .map(|card| card.before.get(index).map_or(0, |before| before.until))
            .collect(),
    };
    let before = first.before.iter().enumerate();
    let before = before.map(|(index, before)| of_name(index, &before.name));
    let last = Inherited { name: first.name.clone(), until: last.to_vec() };
    before.chain([last]).collect()
}

pub(super) fn write(folder: &Path, inherited: &[Inherited]) -> io::Result<()> {
    let text = serde_json::to_vec(inherited).map_err(io::Error::other)?;
    let path = folder.join(FILE);
    fs::write(&path, text)?;
    fs::File::open(&path)?.sync_all()
}

/// What was inherited; nothing where nothing was recovered.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Inherited>> {
    match fs::read(folder.join(FILE)) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inherited_goes_from_engine_to_engine() {
        let cards = |name: &str, inherited: &[Inherited]| -> Vec<Card> {
            (0..2).map(|partition| Card::of(partition, 2, name, inherited)).collect()
        };
        let second = inherit(&cards("a", &[]), &[5, 9]);
        assert_eq!(second, [Inherited { name: "a".into(), until: vec![5, 9] }]);
        let third = inherit(&cards("b", &second), &[7, 9]);
        assert_eq!(third[0], second[0]);
        assert_eq!(third[1], Inherited { name: "b".into(), until: vec![7, 9] });
        assert!(third[0].has(0, 5) && !third[0].has(0, 6) && third[1].has(0, 6));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        write(folder.path(), &third).unwrap();
        assert_eq!(read(folder.path()).unwrap(), third);
    }
}
