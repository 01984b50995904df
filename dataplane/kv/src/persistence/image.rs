//! Between the machine's values and the items of an RDB stream.

use std::io::{self, Write};

use crate::keyspace::hash::HashObject;
use crate::keyspace::list::{End, ListObject};
use crate::keyspace::object::{Value, ValueRef};
use crate::keyspace::set::SetObject;
use crate::keyspace::thresholds::Building;
use crate::machine::SnapshotSink;
use crate::namespaces::Class;
use crate::rdb::{self, Shape};

/// Writes the durable keys of a snapshot to a stream. Keys that are not journalled are left out:
/// after a restart they are gone either way.
pub(crate) struct Sink<'a, W: Write> {
    pub(crate) writer: &'a mut rdb::Writer<W>,
    pub(crate) failed: Option<io::Error>,
}

impl<W: Write> SnapshotSink for Sink<'_, W> {
    fn entry(
        &mut self,
        db: u16,
        key: &[u8],
        expire_ms: Option<i64>,
        value: ValueRef<'_>,
        class: Class,
    ) {
        if !class.is_durable() || self.failed.is_some() {
            return;
        }
        self.failed = write_entry(self.writer, u32::from(db), key, expire_ms, value).err();
    }
}

fn write_entry<W: Write>(
    writer: &mut rdb::Writer<W>,
    db: u32,
    key: &[u8],
    expires_ms: Option<i64>,
    value: ValueRef<'_>,
) -> io::Result<()> {
    match value {
        ValueRef::Str(text) => writer.string(db, key, expires_ms, text),
        ValueRef::List(list) => {
            writer.collection(db, key, expires_ms, Shape::List, list.len())?;
            list.iter().try_for_each(|element| writer.element(element))
        }
        ValueRef::Set(set) => {
            writer.collection(db, key, expires_ms, Shape::Set, set.len())?;
            let mut result = Ok(());
            set.each(&mut |member| {
                result = writer.element(member);
                result.is_ok()
            });
            result
        }
        ValueRef::Hash(hash) => {
            writer.collection(db, key, expires_ms, Shape::Hash, hash.len())?;
            hash.iter().try_for_each(|(field, value)| {
                writer.element(field)?;
                writer.element(value)
            })
        }
    }
}

/// A value of a stream as the machine keeps it.
pub(crate) fn to_machine(value: rdb::Value, building: &Building) -> Value {
    match value {
        rdb::Value::String(text) => Value::Str(text),
        rdb::Value::List(elements) => {
            let mut list = ListObject::default();
            for element in &elements {
                list.push(End::Right, element, &building.thresholds);
            }
            Value::List(list)
        }
        rdb::Value::Set(members) => {
            let mut set = SetObject::default();
            for member in &members {
                set.insert(member, building);
            }
            Value::Set(set)
        }
        rdb::Value::Hash(fields) => {
            let mut hash = HashObject::default();
            for (field, value) in &fields {
                hash.set(field, value, building);
            }
            Value::Hash(hash)
        }
    }
}
