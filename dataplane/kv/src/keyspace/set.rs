//! Sets: a sorted array while all members are integers and few, an index otherwise.

use super::hasher::Random;
use super::intset::IntSet;
use super::members::Members;
use super::thresholds::Building;
use crate::commands::number::{format_i64, parse_i64};

/// Distinct byte strings.
#[derive(Debug, Clone)]
pub enum SetObject {
    /// Only integers, not too many.
    Ints(IntSet),
    /// Anything.
    Table(Members),
}

impl Default for SetObject {
    fn default() -> Self {
        SetObject::Ints(IntSet::default())
    }
}

impl SetObject {
    /// Number of members.
    pub fn len(&self) -> usize {
        match self {
            SetObject::Ints(ints) => ints.len(),
            SetObject::Table(members) => members.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self {
            SetObject::Ints(ints) => ints.heap_bytes(),
            SetObject::Table(members) => members.heap_bytes(),
        }
    }

    /// The name `OBJECT ENCODING` gives.
    pub fn encoding(&self) -> &'static str {
        match self {
            SetObject::Ints(_) => "intset",
            SetObject::Table(_) => "hashtable",
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            SetObject::Ints(ints) => parse_i64(member).is_some_and(|n| ints.contains(n)),
            SetObject::Table(members) => members.get(member).is_some(),
        }
    }

    /// Adds `member`; false if it was there.
    pub fn insert(&mut self, member: &[u8], building: &Building) -> bool {
        match self {
            SetObject::Table(members) => members.set(member, b""),
            SetObject::Ints(ints) => {
                if let Some(number) = parse_i64(member) {
                    let added = ints.insert(number);
                    let most = building.thresholds.set_max_intset_entries.min(1 << 30);
                    if added && ints.len() > most {
                        self.convert(building);
                    }
                    return added;
                }
                self.convert(building);
                self.insert(member, building)
            }
        }
    }

    fn convert(&mut self, building: &Building) {
        let SetObject::Ints(ints) = self else { return };
        let mut members = Members::new(building.hasher);
        members.reserve(ints.len() + 1);
        for number in ints.iter() {
            members.set(format_i64(&mut [0; 20], number), b"");
        }
        *self = SetObject::Table(members);
    }

    /// Removes `member`; false if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            SetObject::Ints(ints) => parse_i64(member).is_some_and(|n| ints.remove(n)),
            SetObject::Table(members) => members.remove(member),
        }
    }

    /// Calls `each` with every member; stops when it returns false.
    pub fn each(&self, each: &mut dyn FnMut(&[u8]) -> bool) {
        match self {
            SetObject::Ints(ints) => {
                _ = ints.iter().all(|number| each(format_i64(&mut [0; 20], number)));
            }
            SetObject::Table(members) => _ = members.iter().all(|(member, _)| each(member)),
        }
    }

    /// All members, ascending for integers, in no order otherwise.
    pub fn to_vec(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::with_capacity(self.len());
        self.each(&mut |member| {
            all.push(member.to_vec());
            true
        });
        all
    }

    /// A uniformly chosen member.
    pub fn random(&self, random: &mut Random) -> Option<Vec<u8>> {
        match self {
            SetObject::Ints(ints) if ints.is_empty() => None,
            SetObject::Ints(ints) => {
                let number = ints.get(random.below(ints.len()))?;
                Some(format_i64(&mut [0; 20], number).to_vec())
            }
            SetObject::Table(members) => members.random(random).map(|(member, _)| member.to_vec()),
        }
    }

    /// Visits the members a cursor stands for; an integer set is visited whole.
    pub fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8])) -> u64 {
        match self {
            SetObject::Ints(_) => {
                self.each(&mut |member| {
                    each(member);
                    true
                });
                0
            }
            SetObject::Table(members) => members.scan(cursor, &mut |member, _| each(member)),
        }
    }
}
