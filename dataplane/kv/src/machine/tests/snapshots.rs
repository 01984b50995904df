//! Snapshots while keys change.

use std::collections::BTreeMap;

use super::*;
use crate::keyspace::object::{Object, Value, ValueRef};
use crate::machine::snapshot::view;

type Name = (u16, Vec<u8>);

/// Everything a snapshot says, comparable.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) keys: BTreeMap<Name, (Option<i64>, Vec<Vec<u8>>)>,
    values: BTreeMap<Name, Value>,
    pub(super) doubled: usize,
}

fn parts(value: ValueRef<'_>) -> Vec<Vec<u8>> {
    match value {
        ValueRef::Str(bytes) => vec![bytes.to_vec()],
        ValueRef::Hash(hash) => {
            let mut all: Vec<_> = hash.iter().map(|(f, v)| [f, b"=", v].concat()).collect();
            all.sort();
            all
        }
        ValueRef::List(list) => list.iter().map(<[u8]>::to_vec).collect(),
        ValueRef::Set(set) => {
            let mut all = set.to_vec();
            all.sort();
            all
        }
    }
}

impl SnapshotSink for Image {
    fn entry(
        &mut self,
        db: u16,
        key: &[u8],
        expire_ms: Option<i64>,
        value: ValueRef<'_>,
        class: Class,
    ) {
        let name = (db, key.to_vec());
        if class.is_durable() {
            let owned = match value {
                ValueRef::Str(bytes) => Value::Str(bytes.to_vec()),
                ValueRef::Hash(hash) => Value::Hash(hash.clone()),
                ValueRef::List(list) => Value::List(list.clone()),
                ValueRef::Set(set) => Value::Set(set.clone()),
            };
            self.values.insert(name.clone(), owned);
        }
        self.doubled += usize::from(self.keys.insert(name, (expire_ms, parts(value))).is_some());
    }
}

impl Image {
    /// The keys as they are, without a snapshot.
    pub(super) fn take_now(&mut self, machine: &Machine) {
        for (db, database) in machine.databases.iter().enumerate() {
            for entry in database.table.iter() {
                let class = machine.class_of(db as u16, entry.key());
                self.entry(db as u16, entry.key(), entry.expire_ms(), view(entry), class);
            }
        }
    }

    pub(super) fn load_into(&self, machine: &mut Machine) {
        for ((db, name), value) in &self.values {
            let expire_ms = self.keys[&(*db, name.clone())].0;
            assert!(machine.load(*db, name, expire_ms, value.clone()));
        }
    }
}

#[test]
fn a_snapshot_shows_the_moment_it_began() {
    let mut bench = Bench::new();
    for number in 0..1000 {
        bench.run(&format!("set k{number} old"));
    }
    bench.machine.snapshot_begin();
    assert!(bench.machine.is_snapshotting());
    for number in 0..500 {
        bench.run(&format!("set k{number} new"));
        bench.run(&format!("set new{number} new"));
    }
    assert!(bench.machine.snapshot_backlog_bytes() > 0);
    let mut image = Image::default();
    assert!(!bench.machine.snapshot_step(10, &mut image));
    assert_eq!(bench.machine.snapshot_backlog_bytes(), 0);
    bench.run("flushall");
    while !bench.machine.snapshot_step(10, &mut image) {}
    assert_eq!((image.keys.len(), image.doubled), (1000, 0));
    assert!(image.keys.values().all(|(_, value)| value == &[b"old".to_vec()]));
    assert!(!bench.machine.is_snapshotting());
}

#[test]
fn a_snapshot_given_up_leaves_the_next_one_whole() {
    let mut bench = Bench::new();
    for number in 0..300 {
        bench.run(&format!("set k{number} v"));
    }
    bench.machine.snapshot_begin();
    bench.machine.snapshot_step(20, &mut Image::default());
    bench.machine.snapshot_abort();
    bench.run("set another v");
    bench.machine.snapshot_begin();
    let mut image = Image::default();
    while !bench.machine.snapshot_step(7, &mut image) {}
    assert_eq!((image.keys.len(), image.doubled), (301, 0));
}

#[test]
fn loading_replaces_and_refuses_unknown_databases() {
    let mut machine = Machine::new(&MachineOptions::default());
    assert!(machine.load(0, b"a", None, Value::Str(b"1".to_vec())));
    assert!(machine.load(0, b"a", Some(5), Value::Str(b"2".to_vec())));
    assert!(!machine.load(99, b"a", None, Value::Str(b"1".to_vec())));
    assert_eq!((machine.databases()[0].len(), machine.databases()[0].expires()), (1, 1));
    let entry = machine.databases[0].table.iter().next().expect("there is a key");
    assert!(entry.object().is_none_or(|object| !matches!(object, Object::Hash(_))));
    assert_eq!(entry.string(), b"2");
}
