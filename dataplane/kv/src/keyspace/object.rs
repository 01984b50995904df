//! Values that do not fit an entry: growable strings, hashes, lists and sets.

use super::hash::HashObject;
use super::list::ListObject;
use super::raw::Kind;
use super::set::SetObject;

/// A boxed value.
#[derive(Debug, Clone)]
pub enum Object {
    /// A string in a growable buffer.
    Big(Vec<u8>),
    /// Fields with values.
    Hash(HashObject),
    /// A list.
    List(ListObject),
    /// A set.
    Set(SetObject),
}

impl Object {
    /// The kind an entry with this value has.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Big(_) => Kind::Big,
            Object::Hash(_) => Kind::Hash,
            Object::List(_) => Kind::List,
            Object::Set(_) => Kind::Set,
        }
    }

    /// Elements in it, as far as they cost time to free.
    pub fn parts(&self) -> usize {
        match self {
            Object::Big(_) => 1,
            Object::Hash(hash) => hash.len(),
            Object::List(list) => list.nodes(),
            Object::Set(set) => set.len(),
        }
    }

    /// Whether a collection has no element left.
    pub fn is_empty(&self) -> bool {
        match self {
            Object::Big(_) => false,
            Object::Hash(hash) => hash.len() == 0,
            Object::List(list) => list.len() == 0,
            Object::Set(set) => set.len() == 0,
        }
    }

    /// Bytes on the heap behind it.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Object::Big(bytes) => bytes.capacity(),
            Object::Hash(hash) => hash.heap_bytes(),
            Object::List(list) => list.heap_bytes(),
            Object::Set(set) => set.heap_bytes(),
        }
    }
}

/// A whole value on its own, for loading and copying.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string.
    Str(Vec<u8>),
    /// A hash.
    Hash(HashObject),
    /// A list.
    List(ListObject),
    /// A set.
    Set(SetObject),
}

/// A read-only view of a value, for snapshots.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string.
    Str(&'a [u8]),
    /// A hash; `iter` yields fields with values.
    Hash(&'a HashObject),
    /// A list; `iter` yields elements.
    List(&'a ListObject),
    /// A set; `iter` yields members.
    Set(&'a SetObject),
}
