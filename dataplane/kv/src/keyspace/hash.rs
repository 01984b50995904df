//! Hashes: a packed array of field, value, field, value … while small, an index when large.

use super::hasher::Random;
use super::members::Members;
use super::packed::Packed;
use super::thresholds::Building;

/// Fields with values, in pairs.
pub type Pairs<'a> = Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a>;

/// Fields with values.
#[derive(Debug, Clone)]
pub enum HashObject {
    /// Small: fields in order of insertion.
    Packed(Packed),
    /// Large.
    Table(Members),
}

impl Default for HashObject {
    fn default() -> Self {
        HashObject::Packed(Packed::new())
    }
}

impl HashObject {
    /// Number of fields.
    pub fn len(&self) -> usize {
        match self {
            HashObject::Packed(packed) => packed.len() / 2,
            HashObject::Table(members) => members.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match self {
            HashObject::Packed(packed) => packed.heap_bytes(),
            HashObject::Table(members) => members.heap_bytes(),
        }
    }

    /// The name `OBJECT ENCODING` gives.
    pub fn encoding(&self) -> &'static str {
        match self {
            HashObject::Packed(_) => "listpack",
            HashObject::Table(_) => "hashtable",
        }
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            HashObject::Packed(packed) => {
                let mut parts = packed.iter();
                while let Some(name) = parts.next() {
                    let value = parts.next();
                    if name == field {
                        return value;
                    }
                }
                None
            }
            HashObject::Table(members) => members.get(field),
        }
    }

    /// Sets `field`; true if it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], building: &Building) -> bool {
        let longest = building.thresholds.hash_max_listpack_value;
        if field.len() > longest || value.len() > longest {
            self.convert(building);
        }
        let packed = match self {
            HashObject::Table(members) => return members.set(field, value),
            HashObject::Packed(packed) => packed,
        };
        let found = packed.iter().step_by(2).position(|name| name == field);
        if let Some(pair) = found {
            packed.set(pair * 2 + 1, value);
        } else {
            packed.push_back(field);
            packed.push_back(value);
            if packed.len() / 2 > building.thresholds.hash_max_listpack_entries {
                self.convert(building);
            }
        }
        found.is_none()
    }

    fn convert(&mut self, building: &Building) {
        let HashObject::Packed(packed) = self else { return };
        let mut members = Members::new(building.hasher);
        let mut parts = packed.iter();
        while let (Some(field), Some(value)) = (parts.next(), parts.next()) {
            members.set(field, value);
        }
        *self = HashObject::Table(members);
    }

    /// Removes `field`; false if it was not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            HashObject::Packed(packed) => {
                let found = packed.iter().step_by(2).position(|name| name == field);
                if let Some(pair) = found {
                    packed.remove(pair * 2, 2);
                }
                found.is_some()
            }
            HashObject::Table(members) => members.remove(field),
        }
    }

    /// Fields with values: in order of insertion while small, in no order when large.
    pub fn iter(&self) -> Pairs<'_> {
        match self {
            HashObject::Packed(packed) => {
                let fields = packed.iter().step_by(2);
                Box::new(fields.zip(packed.iter().skip(1).step_by(2)))
            }
            HashObject::Table(members) => Box::new(members.iter()),
        }
    }

    /// A uniformly chosen field with its value.
    pub fn random(&self, random: &mut Random) -> Option<(&[u8], &[u8])> {
        match self {
            HashObject::Packed(packed) if packed.is_empty() => None,
            HashObject::Packed(packed) => {
                let mut parts = packed.iter_from(random.below(packed.len() / 2) * 2);
                Some((parts.next()?, parts.next()?))
            }
            HashObject::Table(members) => members.random(random),
        }
    }

    /// Visits the fields a cursor stands for; a small hash is visited whole.
    pub fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], &[u8])) -> u64 {
        match self {
            HashObject::Packed(_) => {
                self.iter().for_each(|(field, value)| each(field, value));
                0
            }
            HashObject::Table(members) => members.scan(cursor, each),
        }
    }
}

impl<'a> IntoIterator for &'a HashObject {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}
